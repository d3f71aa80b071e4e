"""Losses of several logit maps: a discriminator may judge an image at more than one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Logits = Tensor | list[Tensor]


def maps_of(logits: Logits) -> list[Tensor]:
    """Return the maps as a list, one for each scale."""
    return [logits] if isinstance(logits, Tensor) else list(logits)


def sum_over_maps(loss: Callable[..., Any], *logits: Logits | None) -> Any:
    """Call `loss` for each map of all `logits`, and sum its results, as pix2pixHD does (arXiv 1711.11585, eq. 3).

    A loss that returns a tuple gives a tuple of sums. None is passed on as it is.
    """
    if not any(isinstance(entry, Sequence) for entry in logits):
        return loss(*logits)
    count = next(len(entry) for entry in logits if isinstance(entry, Sequence))
    results = [loss(*(None if entry is None else entry[scale] for entry in logits)) for scale in range(count)]
    if isinstance(results[0], tuple):
        return tuple(torch.stack(parts).sum() for parts in zip(*results, strict=True))
    return torch.stack(results).sum()


def flattened(logits: Logits) -> Tensor:
    """Return all logits of each image, (N, number of logits); a single map stays as it is."""
    if isinstance(logits, Tensor):
        return logits
    return torch.cat([scale.flatten(1) for scale in logits], dim=1)
