"""Directions in a generator's latents that change one thing, shown as traversals and saved."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.config import check_choice, check_range, option
from i2i.data.images.sheets import grid, save_png
from i2i.errors import UserError, file_errors
from i2i.tools.explore.attributes import ATTRIBUTES, measured
from i2i.tools.explore.fitting import deviations, fit, sefa
from i2i.tools.explore.sampler import Sampler, Seed, SourceConfig

METHODS = ("sefa", "fitted")
COUNT, SAMPLES = 5, 2000  # unless given
MEASURED = 100  # samples whose attributes are measured along a direction


@dataclasses.dataclass(frozen=True)
class DirectionsConfig:
    """Options of the directions, the samples to find them on, and the pictures of them."""

    method: str = option(
        "sefa", "sefa: what the generator amplifies most; fitted: along which an attribute grows", choices=METHODS
    )
    count: int | None = option(None, f"directions of --method sefa (default: {COUNT})")
    attribute: tuple[str, ...] | None = option(
        None, "to fit, of light strokes on a dark ground (default: all)", choices=tuple(ATTRIBUTES)
    )
    table: str | None = option(
        None, "CSV file with columns class, seed and value: an attribute that people judged", path=True
    )
    samples: int | None = option(None, f"images that attributes are fitted on (default: {SAMPLES})")
    label: str | None = option(None, "class to fit on and to show (default: all are fitted on, the first is shown)")
    seeds: tuple[int, ...] = option((0,), "the images that are moved along the directions")
    span: float = option(3.0, "how far, in standard deviations of the latents")
    steps: int = option(7, "images of a row")
    out: str | None = option(None, "folder of the results (default: ./results/RUN/directions_METHOD)", path=True)

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        for name in self.attribute or ():
            check_choice("attribute", name, tuple(ATTRIBUTES))
        for name, least in (("count", 1), ("samples", 50), ("steps", 2), ("span", 0)):
            check_range(name, getattr(self, name), least)
        for seed in self.seeds:
            check_range("seeds", seed, 0)
        if self.method == "sefa":
            self._refuse("attribute", "table", why="is what --method fitted fits to")
        else:
            self._refuse("count", why="is of --method sefa; fitted gives one direction for each attribute")
        if self.table is not None:
            self._refuse("attribute", "samples", why="goes without --table, which says what is fitted on which images")

    def _refuse(self, *names: str, why: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise UserError(f"--{name} {why}")


class LatentSamples(NamedTuple):
    """Images by name, their latents (N, L), and the attributes (N) of them that are known."""

    seeds: list[Seed]
    latents: Tensor
    values: dict[str, np.ndarray]

    @property
    def labels(self) -> Tensor:
        """The numbers of their classes (N), 0 where there are none."""
        return torch.tensor([seed.label or 0 for seed in self.seeds], device=self.latents.device)


class Directions(NamedTuple):
    """Unit vectors (K, L), their names, and the standard deviations (K) of latents along them."""

    names: list[str]
    vectors: Tensor
    deviations: Tensor

    def moved(self, number: int, latents: Tensor, at: Tensor) -> Tensor:
        """Latents (N, L) moved along one direction by `at` (T) standard deviations: (N, T, L)."""
        return latents[:, None] + at[:, None] * self.deviations[number] * self.vectors[number]

    def save(self, path: Path) -> None:
        """Write them as NumPy's .npz: names, directions, deviations."""
        np.savez(path, names=self.names, directions=self.vectors.cpu(), deviations=self.deviations.cpu())


def directions(source: SourceConfig, config: DirectionsConfig) -> str:
    """Find directions, write traversal.png and directions.npz, and tell what is known of them.

    Raises:
        ValueError: for a class that the run does not know, a table that cannot be read or fitted, or truncation 0.
    """
    if source.truncation == 0:
        raise UserError("--truncation 0 leaves one latent a class: there is nothing to move along a direction")
    sampler = Sampler.from_config(source)
    chosen = [None] if not sampler.classes else list(range(len(sampler.classes)))
    if config.label is not None:
        chosen = [sampler.class_number(config.label)]
    found, report = _found(sampler, config, chosen)
    folder = source.results(config.out, f"directions_{config.method}")
    with file_errors("--out", folder):
        found.save(folder / "directions.npz")
    shown = [Seed(chosen[0], seed) for seed in config.seeds]
    at = torch.linspace(-config.span, config.span, config.steps)
    rows = [traversal(sampler, found, number, shown, at) for number in range(len(found.names))]
    labels = [f"{name} {seed}" if len(shown) > 1 else name for name in found.names for seed in config.seeds]
    with file_errors("--out", folder):
        save_png(grid(torch.cat(rows).flatten(0, 1), len(at), _axis(at), labels), folder / "traversal.png")
    return "\n".join([*report, f"traversal.png, directions.npz: {folder}"])


def traversal(sampler: Sampler, found: Directions, number: int, seeds: Sequence[Seed], at: Tensor) -> Tensor:
    """Images (N, T, C, H, W) of `seeds` moved along a direction by `at` (T) standard deviations."""
    latents, weights = sampler.latents(seeds), sampler.class_weights(seeds)
    moved = found.moved(number, latents, at.to(latents.device)).flatten(0, 1)
    repeated = None if weights is None else weights.repeat_interleave(len(at), dim=0)
    return sampler.images(moved, repeated).unflatten(0, (len(seeds), len(at)))


def _found(sampler: Sampler, config: DirectionsConfig, chosen: Sequence[int | None]) -> tuple[Directions, list[str]]:
    """The directions, and what to say of them."""
    count = config.samples or SAMPLES
    seeds = [Seed(chosen[row % len(chosen)], row // len(chosen)) for row in range(count + MEASURED)]
    names, fresh = seeds[:count], seeds[count:]
    if config.method == "sefa":
        vectors = sefa(sampler.generator.latent_weights(), config.count or COUNT)
        return _scaled([str(number + 1) for number in range(len(vectors))], vectors, _drawn(sampler, names)), []
    if config.table is not None:
        samples = read_table(sampler, Path(config.table))
    else:
        samples = _with_attributes(sampler, _drawn(sampler, names), config.attribute or tuple(ATTRIBUTES))
    arrays = samples.latents.cpu().numpy(), samples.labels.cpu().numpy()
    fits = {name: fit(name, *arrays, values) for name, values in samples.values.items()}
    vectors = torch.from_numpy(np.stack([fitted.direction for fitted in fits.values()])).to(samples.latents)
    found = _scaled(list(fits), vectors, samples)
    report = []
    for number, (name, fitted) in enumerate(fits.items()):
        quality = f"R2 {fitted.r2:.3f}, correlation {fitted.correlation:.3f}"
        report.append(f"{name}: {quality} within classes, on {fitted.held_out} samples that were held out")
        report += _measured_along(sampler, found, number, _drawn(sampler, fresh), config)
    return found, report


def _scaled(names: list[str], vectors: Tensor, samples: LatentSamples) -> Directions:
    vectors = vectors.to(samples.latents)
    return Directions(names, vectors, deviations(vectors, samples.latents, samples.labels))


def _drawn(sampler: Sampler, seeds: list[Seed]) -> LatentSamples:
    return LatentSamples(seeds, sampler.latents(seeds), {})


def _with_attributes(sampler: Sampler, samples: LatentSamples, attributes: Sequence[str]) -> LatentSamples:
    batches = sampler.batches(samples.latents, sampler.class_weights(samples.seeds))
    columns = torch.cat([measured(images) for images in batches]).unbind(dim=1)
    values = {name: column.numpy() for name, column in zip(ATTRIBUTES, columns, strict=True) if name in attributes}
    return samples._replace(values=values)


def _measured_along(
    sampler: Sampler, found: Directions, number: int, samples: LatentSamples, config: DirectionsConfig
) -> Iterator[str]:
    """A table of the attributes' means over samples that are moved along a direction."""
    at = torch.linspace(-config.span, config.span, config.steps)
    images = traversal(sampler, found, number, samples.seeds, at)
    means = measured(images.flatten(0, 1)).unflatten(0, images.shape[:2]).mean(dim=0)
    yield "  " + " ".join([f"{'moved by':8}", *(f"{place:>8}" for place in _axis(at))])
    for name, column in zip(ATTRIBUTES, means.T.tolist(), strict=True):
        yield "  " + " ".join([f"{name:8}", *(f"{value:8.3f}" for value in column)])


def _axis(at: Tensor) -> list[str]:
    return [f"{place:+g}" if place else "0" for place in (round(place, 2) for place in at.tolist())]


def read_table(sampler: Sampler, path: Path) -> LatentSamples:
    """The images that a CSV file names by columns `class` (unless unconditional) and `seed`, with numbers in `value`.

    Raises:
        ValueError: if it cannot be read, lacks a column, or names something else; tells the line.
    """
    columns = ("class", "seed", "value") if sampler.classes else ("seed", "value")
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--table {path} cannot be read ({error})") from None
    if not rows or any(row.get(name) is None for row in rows for name in columns):
        raise UserError(f"--table {path}: every row has a value in each of the columns {', '.join(columns)}")
    seeds, values = [], []
    for line, row in enumerate(rows, start=2):
        try:
            seeds.append(sampler.seed(":".join(row[name].strip() for name in columns[:-1])))
            values.append(_finite(row["value"]))
        except ValueError as error:
            raise UserError(f"--table {path}, line {line}: {error}") from None
    return LatentSamples(seeds, sampler.latents(seeds), {path.stem: np.array(values)})


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise UserError(f"value {text!r} is no finite number")
    return value
