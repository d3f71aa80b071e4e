"""Distances of images, by their features and by their pixels."""

from __future__ import annotations

import torch
from torch import Tensor

PIXEL_BATCH = 500


def diversity(features: Tensor, groups: Tensor) -> float:
    """The mean distance between two features (N, D) of the same group (N,), as a mean over the groups."""
    return torch.stack([torch.pdist(features[groups == group]).mean() for group in groups.unique()]).mean().item()


def nearest(images: Tensor, training: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The L2 distances (N,) of images or features to the nearest of `training`, and its rows (N,).

    Images are uint8 (N, C, H, W), which are scaled to [0, 1], features float (N, D).
    """
    others = _vectors(training, device)
    # The table of distances is made of products, which are too coarse to show a copy: its distance is taken again.
    rows = torch.cat([torch.cdist(_vectors(part, device), others).argmin(dim=1) for part in images.split(PIXEL_BATCH)])
    rows = rows.cpu()
    return (_vectors(images, "cpu") - _vectors(training[rows], "cpu")).norm(dim=1), rows


def _vectors(rows: Tensor, device: torch.device | str) -> Tensor:
    vectors = rows.to(device).flatten(1)
    return vectors.float() / 255 if rows.dtype == torch.uint8 else vectors
