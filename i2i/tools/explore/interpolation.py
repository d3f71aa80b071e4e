"""From one image of a generator to another, by way of those whose latents and classes lie between."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from i2i.config import check_choice, check_range, option
from i2i.data.images.sheets import grid, save_png
from i2i.errors import UserError, file_errors
from i2i.tools.explore.animation import write_gif, write_mp4
from i2i.tools.explore.sampler import Sampler, SourceConfig

PARALLEL = 1e-4  # radians between vectors below which an arc is as good as straight


def linear(start: Tensor, end: Tensor, at: Tensor) -> Tensor:
    """Points (T, L) of the straight line from `start` (L) to `end` (L), at the fractions `at` (T)."""
    return torch.lerp(start, end, at[:, None])


def spherical(start: Tensor, end: Tensor, at: Tensor) -> Tensor:
    """Points (T, L) of the arc from `start` (L) to `end` (L), which keeps the length of vectors that are equally long.

    Shoemake 1985 (Animating rotation with quaternion curves); White 2016 (arXiv 1609.04468): Gaussian noise lies near a
    sphere, and the points of a straight line inside it, where the generator has never been.
    """
    angle = torch.acos(torch.cosine_similarity(start, end, dim=0).clamp(-1, 1))
    if not PARALLEL < angle < math.pi - PARALLEL:
        return linear(start, end, at)
    weights = torch.stack([((1 - at) * angle).sin(), (at * angle).sin()], dim=1) / angle.sin()
    return weights @ torch.stack([start, end])


PATHS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"linear": linear, "spherical": spherical}


@dataclasses.dataclass(frozen=True)
class InterpolationConfig:
    """Between which images, in how many steps, and how fast."""

    start: tuple[str, ...] = option((), "first image of each row: CLASS:SEED, or CLASS for seed 0", aliases=("--from",))
    end: tuple[str, ...] = option((), "last image of each row", aliases=("--to",))
    steps: int = option(16, "images of a row, both ends among them")
    path: str | None = option(
        None, "of the latents (default: linear where they are learned, spherical for noise)", choices=tuple(PATHS)
    )
    fps: int = option(12, "images a second of the animations")
    out: str | None = option(None, "folder of the results (default: ./results/RUN/interpolate)", path=True)

    def __post_init__(self) -> None:
        if not self.start or len(self.start) != len(self.end):
            raise UserError(f"--from has {len(self.start)} images and --to {len(self.end)}: give both, equally many")
        check_range("steps", self.steps, 2)
        check_range("fps", self.fps, 1, 50)  # a GIF counts hundredths of a second, and no viewer shows single ones
        if self.path is not None:
            check_choice("path", self.path, tuple(PATHS))


def between(sampler: Sampler, start: str, end: str, steps: int, path: str | None = None) -> Tensor:
    """Images (steps, C, H, W) in [-1, 1] from the one that `start` names to that of `end`, such as "3:1" and "8:1".

    Latents go along `path`, by default the arc for noise and the line for learned latents, and classes are mixed.

    Raises:
        ValueError: if a name is none of the run's images.
    """
    ends = [sampler.seed(start), sampler.seed(end)]
    latents, weights = sampler.latents(ends), sampler.class_weights(ends)
    at = torch.linspace(0, 1, steps, device=latents.device)
    follow = PATHS[path or ("linear" if sampler.generator.maps_noise else "spherical")]
    return sampler.images(
        follow(latents[0], latents[1], at), None if weights is None else linear(weights[0], weights[1], at)
    )


def interpolate(source: SourceConfig, config: InterpolationConfig) -> str:
    """Write strip.png, a row for each pair, and interpolation.gif and .mp4, there and back; tells where.

    Raises:
        ValueError: if an end names no image of the run.
    """
    sampler = Sampler.from_config(source)
    pairs = list(zip(config.start, config.end, strict=True))
    rows = torch.stack([between(sampler, *pair, config.steps, config.path) for pair in pairs])  # (R, T, C, H, W)
    folder = source.results(config.out, "interpolate")
    strip = grid(rows.flatten(0, 1), config.steps, row_labels=[f"{a} - {b}" for a, b in pairs])
    columns = math.ceil(math.sqrt(len(pairs)))
    there = [grid(images, columns) for images in rows.unbind(dim=1)]
    frames = [*there, *there[-2:0:-1]]
    with file_errors("--out", folder):
        save_png(strip, folder / "strip.png")
        write_gif(frames, folder / "interpolation.gif", config.fps)
        written = write_mp4(frames, folder / "interpolation.mp4", config.fps)
    missing = "" if written else "\nno MP4: this build of OpenCV has no encoder for it; the GIF shows the same"
    return f"{len(pairs)} rows of {config.steps} images, strip and animations: {folder}{missing}"
