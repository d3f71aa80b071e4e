"""Find the generated pictures among samples, and the real ones to compare them with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Outputs(NamedTuple):
    """Outputs of a generator, float (N, C, H, W) in [-1, 1], with their inputs and real images of the same kind."""

    label: str  # fake_B ...; empty where images are made of classes
    images: Tensor
    inputs: Tensor | None = None
    targets: Tensor | None = None
    paired: bool = False  # whether image i was to become target i
    classes: tuple[str, ...] = ()  # of which as many images each lie one after the other


def outputs_of(pictures: Mapping[str, Tensor]) -> list[Outputs]:
    """The generators' pictures among those that a model shows, by their labels."""
    if "real_A" not in pictures and "real_B" not in pictures:
        return [Outputs("", torch.cat(list(pictures.values())), classes=tuple(pictures))]
    paired = "rec_A" not in pictures
    made = [("fake_B", "real_A", "real_B", paired), ("fake_A", "real_B", "real_A", False)]
    return [
        Outputs(label, pictures[label], pictures.get(source), pictures.get(target), pairs)
        for label, source, target, pairs in made
        if label in pictures
    ]


def grey(images: Tensor) -> Tensor:
    """The mean of the colours, (N, H, W), without what is transparency."""
    return images[:, : 3 if images.shape[1] >= 3 else 1].float().mean(dim=1)


def contrast(images: Tensor) -> Tensor:
    """The standard deviation over an image's pixels, as a mean over its channels, (N,)."""
    some = images[:, :, ::3, ::3]  # enough, and 3 is no period of what upsampling leaves behind
    return some.float().flatten(2).std(dim=2, correction=0).mean(dim=1)


def diversity(images: Tensor, side: int = 8) -> float:
    """The mean absolute difference of two of the images at `side` x `side`; not a number for a single one."""
    small = torch.nn.functional.adaptive_avg_pool2d(images.float(), side).flatten(1)
    return torch.pdist(small, p=1).mean().item() / small.shape[1]
