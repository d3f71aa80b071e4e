"""95 % confidence intervals of metrics, by resampling the images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.metrics import METRICS
from i2i.metrics.compute import feature_values
from i2i.metrics.distribution import Features

LOW, HIGH = 0.025, 0.975
ROWS = 250  # images of each side in a replicate; the time of a replicate grows with the cube of it


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def mean_interval(values: Tensor, replicates: int = 1000, seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of the mean of values (N,) (Efron 1979)."""
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
    """Return intervals around the `feature_values`, which are computed unless given, by subsampling both sides.

    Each replicate draws half of the rows of each side, at most 250, without replacement (Politis and Romano 1994): rows
    drawn twice, as in the ordinary bootstrap, would look like very similar images. Only the deviations of the
    replicates from their mean are used, scaled to the full number of images; the bias of FID for few images is not
    included. The interval of FID is about 1.5 times too wide. Metrics are left out if a replicate has too few images
    for them, or if all replicates are equal, such as a precision of 0.

    Raises:
        UserError: as `feature_values` does.
    """
    names = tuple(names)
    centres = feature_values(names, fake, real) if values is None else values
    generator = torch.Generator().manual_seed(seed)
    fewest = min(_rows(len(side.features)) for side in (fake, real))
    names = tuple(name for name in names if fewest >= METRICS[name].min_images)
    found = [_replicate(names, _half(fake, generator), _half(real, generator)) for _ in range(replicates)]
    scale = max(_scale(len(side.features)) for side in (fake, real))
    spreads = {name: [each[name] for each in found] for name in names}
    return {name: _around(centres[name], drawn, scale, name) for name, drawn in spreads.items() if len(set(drawn)) > 1}


def _half(side: Features, generator: torch.Generator) -> Features:
    rows = torch.randperm(len(side.features), generator=generator)[: _rows(len(side.features))]
    return Features(side.features[rows].double(), None if side.probabilities is None else side.probabilities[rows])


def _rows(number: int) -> int:
    return min(number // 2, ROWS)


def _scale(number: int) -> float:
    # A mean of some rows deviates from that of all rows; this scales it to the deviation of the latter from the truth.
    return math.sqrt(_rows(number) / (number - _rows(number)))


def _replicate(names: tuple[str, ...], fake: Features, real: Features) -> dict[str, float]:
    # The library's FID takes seconds, and its KID needs equal numbers of images.
    return {name: (METRICS[name].replicate or METRICS[name].compute)(fake, real) for name in names}  # type: ignore[misc]


def _around(centre: float, replicates: list[float], scale: float, name: str) -> Interval:
    found = torch.tensor(replicates, dtype=torch.float64)
    deviations = torch.tensor(_percentiles(found - found.mean()), dtype=torch.float64)
    return Interval(*(centre + scale * deviations).clamp(*METRICS[name].bounds).tolist())


def _percentiles(replicates: Tensor) -> Interval:
    # Take the next replicate outwards: one cannot interpolate between an infinite PSNR and a finite one.
    low = replicates.quantile(LOW, interpolation="lower")
    return Interval(low.item(), replicates.quantile(HIGH, interpolation="higher").item())
