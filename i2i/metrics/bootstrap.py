"""How far metrics would move with other images of the same kind: 95 % intervals by resampling the images at hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.metrics.distribution import (
    LEAST,
    check_features,
    feature_values,
    frechet_distance_of_few,
    kernel_distance_of_all,
)
from i2i.metrics.extractor import Features

LOW, HIGH = 0.025, 0.975
ROWS = 250  # of a side in a replicate, whose time grows with the cube of it
BOUNDS = {
    "fid": (0.0, math.inf),
    "kid": (-math.inf, math.inf),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "inception_score": (1.0, math.inf),
}


class Interval(NamedTuple):
    """The ends of a 95 % interval."""

    low: float
    high: float


def mean_interval(values: Tensor, replicates: int = 1000, seed: int = 0) -> Interval:
    """The percentile interval of the bootstrap for the mean of values (N,) (Efron 1979)."""
    generator, number = torch.Generator().manual_seed(seed), len(values)
    draws = (torch.randint(number, (number,), generator=generator) for _ in range(replicates))
    return _percentiles(torch.stack([values[rows].double().mean() for rows in draws]))


def feature_intervals(
    names: Iterable[str],
    fake: Features,
    real: Features,
    replicates: int = 200,
    seed: int = 0,
    values: dict[str, float] | None = None,
) -> dict[str, Interval]:
    """Intervals about the `feature_values`, which are computed if they are not given, by resampling both sides.

    A replicate has half of the rows of each side, none twice, and at most 250 (Politis and Romano 1994): rows drawn
    twice, as by the plain bootstrap, would look like images that lie very close. Only the spread of the replicates
    about their mean is used, scaled to the numbers of images: what a small number adds to FID is not in its interval.
    FID's is wider than its true spread, by a half or so. Metrics of which there are too few images are left out, and
    those that are the same in every replicate, such as a precision of 0, of whose spread nothing is known.

    Raises:
        ValueError: as `feature_values` does.
    """
    names = tuple(names)
    check_features(names, fake, real)
    centres = feature_values(names, fake, real) if values is None else values
    generator = torch.Generator().manual_seed(seed)
    names = tuple(name for name in names if min(_rows(len(side.features)) for side in (fake, real)) >= LEAST[name])
    found = [_replicate(names, _half(fake, generator), _half(real, generator)) for _ in range(replicates)]
    scale = max(_scale(len(side.features)) for side in (fake, real))
    spreads = {name: [each[name] for each in found] for name in names}
    varied = {name: replicates for name, replicates in spreads.items() if len(set(replicates)) > 1}
    return {name: _about(centres[name], replicates, scale, name) for name, replicates in varied.items()}


def _half(side: Features, generator: torch.Generator) -> Features:
    rows = torch.randperm(len(side.features), generator=generator)[: _rows(len(side.features))]
    return Features(side.features[rows].double(), None if side.probabilities is None else side.probabilities[rows])


def _rows(number: int) -> int:
    return min(number // 2, ROWS)


def _scale(number: int) -> float:
    """Of the deviations of a mean over some of `number` rows from that over all of them to those from the true mean."""
    return math.sqrt(_rows(number) / (number - _rows(number)))


def _replicate(names: tuple[str, ...], fake: Features, real: Features) -> dict[str, float]:
    # The library's FID takes seconds, its KID wants as many of both sides.
    quick = {"fid": frechet_distance_of_few, "kid": kernel_distance_of_all}
    found = {name: measure(fake.features, real.features) for name, measure in quick.items() if name in names}
    return found | feature_values([name for name in names if name not in quick], fake, real)


def _about(centre: float, replicates: list[float], scale: float, name: str) -> Interval:
    found = torch.tensor(replicates, dtype=torch.float64)
    deviations = torch.tensor(_percentiles(found - found.mean()), dtype=torch.float64)
    return Interval(*(centre + scale * deviations).clamp(*BOUNDS[name]).tolist())


def _percentiles(replicates: Tensor) -> Interval:
    # The next replicate outwards: between an infinite PSNR and others there is no number.
    low = replicates.quantile(LOW, interpolation="lower")
    return Interval(low.item(), replicates.quantile(HIGH, interpolation="higher").item())
