"""Compute metrics of the registry by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.distribution import Features
from i2i.metrics.lpips import BACKBONES, LPIPS


def paired_values(names: Iterable[str], fake: Tensor, real: Tensor, lpips: LPIPS | None = None) -> dict[str, Tensor]:
    """Compare images (N, C, H, W) in [-1, 1] with their targets; return values (N,) on the CPU by metric.

    `names` are metrics of the kinds "paired" and "cycle"; "lpips" needs its network. The PSNR of equal images is
    infinite, and so is a mean that includes it.

    Raises:
        UserError: for images of different sizes or channels, or that are too small for a metric.
    """
    names = tuple(names)
    if fake.shape != real.shape:
        raise UserError(f"paired metrics compare images of one size, not {_shape(fake)} with {_shape(real)}")
    if "lpips" in names and lpips is None:
        raise UserError("lpips needs its network: give lpips=load_lpips()")
    check_image_size(names, fake.shape[-1], fake.shape[-2], lpips.net if lpips else "alex")
    values = {}
    with torch.no_grad(), torch.autocast(fake.device.type, enabled=False):  # training may have enabled both
        for name in names:
            compute = METRICS[name].compute or lpips
            assert compute is not None
            values[name] = compute(fake.float(), real.float()).cpu()
    return values


def check_image_size(names: Iterable[str], width: int, height: int, lpips_net: str = "alex") -> None:
    """Raise UserError if images are too small for one of the metrics."""
    for name in names:
        smallest = BACKBONES[lpips_net].smallest if name == "lpips" else METRICS[name].min_size
        if min(width, height) < smallest:
            network = f" with --lpips_net {lpips_net}" if name == "lpips" else ""
            raise UserError(
                f"{name}{network} needs images of at least {smallest}x{smallest}, got {width}x{height}: leave it out, "
                "or use larger images"
            )


def feature_values(names: Iterable[str], fake: Features, real: Features) -> dict[str, float]:
    """Return metrics of the kind "features" by name.

    Raises:
        UserError: if there are too few images, or no class probabilities, for one of them.
    """
    values = {}
    for name in names:
        metric = METRICS[name]
        for side, found in (("generated", len(fake.features)), ("real", len(real.features))):
            if found < metric.min_images:
                raise UserError(f"{name} needs at least {metric.min_images} images, there are {found} {side} ones")
        if metric.needs_classes and fake.probabilities is None:
            raise UserError(f"{name} needs a classifier; this --inception network gives features only")
        assert metric.compute is not None
        values[name] = metric.compute(fake, real)
    return values


def label_values(names: Iterable[str], confusion: Tensor) -> dict[str, float]:
    """Return metrics of the kind "labels" from pixel counts (K, K + 1), or (N, K, K + 1) of several images."""
    counts = confusion.reshape(-1, *confusion.shape[-2:]).sum(dim=0).double()
    return {name: METRICS[name].compute(counts) for name in names}  # type: ignore[misc]


def _shape(images: Tensor) -> str:
    count, channels, height, width = images.shape
    return f"{count} of {width}x{height} in {channels} channel{'s' * (channels > 1)}"
