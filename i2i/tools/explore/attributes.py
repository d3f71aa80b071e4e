"""Attributes that are measured on pictures of light strokes on a dark ground."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

THRESHOLD = 0.5  # brightness from which on a pixel belongs to the strokes


def brightness(images: Tensor) -> Tensor:
    """(N, H, W) in [0, 1], the mean over the channels of images (N, C, H, W) in [-1, 1]."""
    return (images.mean(dim=1) + 1) / 2


def ink(images: Tensor) -> Tensor:
    """Mean brightness (N) in [0, 1]."""
    return brightness(images).mean(dim=(1, 2))


def slant(images: Tensor) -> Tensor:
    """Return the slant of strokes to the right (N), in degrees: the shear angle of their second moments.

    Upright strokes have 0 and a slash 45. Brightness is the mass; without any the slant is 0.
    """
    mass = brightness(images).double()
    down, right = (torch.arange(side, dtype=mass.dtype, device=mass.device) for side in mass.shape[1:])
    total = mass.sum(dim=(1, 2)).clamp_min(1e-12)[:, None]
    down = down - (mass.sum(dim=2) @ down)[:, None] / total
    right = right - (mass.sum(dim=1) @ right)[:, None] / total
    mixed = torch.einsum("nhw,nh,nw->n", mass, down, right)
    vertical = torch.einsum("nhw,nh->n", mass, down.square())
    return torch.rad2deg(torch.atan(-mixed / vertical.clamp_min(1e-12))).float()


def width(images: Tensor) -> Tensor:
    """Columns (N) from the first with a stroke to the last."""
    return _extent((brightness(images) > THRESHOLD).any(dim=1))


def height(images: Tensor) -> Tensor:
    """Rows (N) from the first with a stroke to the last."""
    return _extent((brightness(images) > THRESHOLD).any(dim=2))


def _extent(is_inked: Tensor) -> Tensor:
    """Return the number of places from the first true one to the last in lines (N, L), 0 if there is none."""
    before, after = is_inked.cumsum(dim=1), is_inked.flip(1).cumsum(dim=1).flip(1)
    return ((before > 0) & (after > 0)).sum(dim=1).float()


ATTRIBUTES: dict[str, Callable[[Tensor], Tensor]] = {"ink": ink, "slant": slant, "width": width, "height": height}


def measured(images: Tensor) -> Tensor:
    """Every attribute of images: (N, len(ATTRIBUTES))."""
    return torch.stack([attribute(images) for attribute in ATTRIBUTES.values()], dim=1)
