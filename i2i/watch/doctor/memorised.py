"""Outputs that are training images, which the generator has learnt by heart."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign

NEAR = 0.5  # of the median distance of held-out images to training images; their mean image is at 0.5 to 0.7
ALONE = 0.5  # of the distance to the fifth nearest; without that, what all images are like would be a copy of each
MANY = 0.3  # more of the outputs than of the held-out images are that near
FEWEST = 8  # outputs and held-out images that make a share
JUDGED, CANDIDATES, COARSE = 64, 20, 8  # images of a kind; training images looked at closely; side for the first choice


class ValidationThumbnails(Protocol):
    """Small pictures of what a validation saw, each float (N, C, S, S) in [-1, 1]."""

    @property
    def outputs(self) -> Tensor: ...
    @property
    def truths(self) -> Tensor: ...
    @property
    def training(self) -> Tensor: ...


def memory_signs(thumbnails: ValidationThumbnails) -> tuple[list[Sign], dict[str, float]]:
    """Whether outputs lie much nearer to training images than held-out real images do, and their share for the log."""
    outputs, truths, training = (
        images.float() for images in (thumbnails.outputs, thumbnails.truths, thumbnails.training)
    )
    if min(len(outputs), len(truths)) < FEWEST or len(training) < FEWEST:
        return [], {}
    of_outputs, of_truths = (_distances(images[:JUDGED], training) for images in (outputs, truths))
    near = NEAR * of_truths[:, 0].median()
    copies, chance = _share(of_outputs, near), _share(of_truths, near)
    message = (
        f"{copies:.0%} of the outputs are nearly training images, of held-out real images {chance:.0%}: the generator "
        "gives back what it has learnt by heart."
    )
    advice = "Stop earlier (--patience), or start anew with more images, --augment_preset, --dropout or --diffaugment."
    finding = Finding("memorised", "warning", copies, message, advice)
    return [Sign("", copies - chance > MANY, finding)], {"memorised": copies}


def _share(distances: Tensor, near: Tensor) -> float:
    # As Carlini et al. 2023 (arXiv 2301.13188) tell copies from images that have nothing in particular.
    return ((distances[:, 0] < near) & (distances[:, 0] < ALONE * distances[:, 1])).float().mean().item()


def _distances(images: Tensor, training: Tensor) -> Tensor:
    """Root mean square differences (N, 2) to the nearest and the fifth nearest training image, shifted by a pixel."""
    small, others = (F.adaptive_avg_pool2d(batch, COARSE).flatten(1) for batch in (images, training))
    rows = torch.cdist(small, others).topk(min(CANDIDATES, len(training)), largest=False).indices
    return torch.stack([_nearest(image, training[row]) for image, row in zip(images, rows, strict=True)])


def _nearest(image: Tensor, candidates: Tensor) -> Tensor:
    height, width = image.shape[1] - 2, image.shape[2] - 2
    centre = image[:, 1:-1, 1:-1]
    shifted = [candidates[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    squares = torch.stack([(crop - centre).square().mean(dim=(1, 2, 3)) for crop in shifted])
    return squares.amin(dim=0).sqrt().sort().values[[0, 4]]
