"""What travels from the data to the models: keys, samples, batches, and what the data tells a model about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ImageError(ValueError):
    """A file that cannot be used as an image; the message names the file and the way out."""


class Key(NamedTuple):
    """Which sample: the random choices of a sample depend on the seed and on this alone."""

    epoch: int
    item: int


class DataSpec(NamedTuple):
    """What a model has to know about its data, and what a checkpoint keeps of it."""

    in_channels: int = 3
    out_channels: int = 3
    image_size: tuple[int, int] = (256, 256)  # width, height
    classes: tuple[str, ...] = ()


@dataclasses.dataclass
class Sample:
    """One item: uint8 images (C, H, W) of domain a and b, a class index, the files; each optional."""

    a: Tensor | None = None
    b: Tensor | None = None
    label: int | None = None
    path_a: str | None = None
    path_b: str | None = None
    skipped: tuple[str, ...] = ()

    @property
    def shapes(self) -> list[torch.Size]:
        """The shapes of the images that it has: samples go into one batch if theirs are equal."""
        return [image.shape for image in (self.a, self.b) if image is not None]


@dataclasses.dataclass
class Batch:
    """Images (N, C, H, W), uint8 out of the loader and float in [-1, 1] after `to`; labels (N,) int64; file names."""

    a: Tensor | None = None
    b: Tensor | None = None
    label: Tensor | None = None
    paths_a: tuple[str, ...] = ()
    paths_b: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return next(len(field) for field in (self.a, self.b, self.label) if field is not None)

    def image(self, domain: str) -> Tensor:
        """The images of domain "a" or "b". Raises ValueError if the batch has none."""
        images: Tensor | None = getattr(self, domain)
        if images is None:
            raise ValueError(f"the model needs images of domain {domain}, which this --dataset_mode does not give")
        return images

    def labels(self) -> Tensor:
        """The class indices. Raises ValueError if the batch has none."""
        if self.label is None:
            raise ValueError("the model needs labels, which --dataset_mode classes gives")
        return self.label

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Batch:
        """Move to `device` and normalise uint8 images to [-1, 1] there."""

        def image(value: Tensor | None) -> Tensor | None:
            return None if value is None else normalise(value.to(device, non_blocking=True), dtype)

        label = None if self.label is None else self.label.to(device, non_blocking=True)
        return dataclasses.replace(self, a=image(self.a), b=image(self.b), label=label)

    def pin_memory(self) -> Batch:
        """Page-locked copies, which the DataLoader asks for ahead of a copy to a GPU."""
        fields = {"a": self.a, "b": self.b, "label": self.label}
        pinned = {name: value.pin_memory() for name, value in fields.items() if value is not None}
        return dataclasses.replace(self, **pinned)  # type: ignore[arg-type]


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 to float in [-1, 1]; float images pass as they are."""
    return images.to(dtype).div_(127.5).sub_(1) if images.dtype == torch.uint8 else images.to(dtype)


def collate(samples: Sequence[Sample | ImageError]) -> Batch | ImageError:
    """Stack samples to a batch. A problem is returned: raised in a worker it would arrive as a traceback."""
    for sample in samples:
        if isinstance(sample, ImageError):
            return sample
    good = [sample for sample in samples if isinstance(sample, Sample)]
    try:
        return Batch(
            a=_stack([s.a for s in good], [s.path_a for s in good]),
            b=_stack([s.b for s in good], [s.path_b for s in good]),
            label=None if good[0].label is None else torch.tensor([s.label for s in good]),
            paths_a=tuple(s.path_a for s in good if s.path_a is not None),
            paths_b=tuple(s.path_b for s in good if s.path_b is not None),
            skipped=tuple(message for s in good for message in s.skipped),
        )
    except ImageError as error:
        return error


def _stack(images: Sequence[Tensor | None], paths: Sequence[str | None]) -> Tensor | None:
    present = [image for image in images if image is not None]
    if not present:
        return None
    for image, path in zip(present, paths, strict=True):
        if image.shape != present[0].shape:
            raise ImageError(
                f"{path} is {image.shape[2]}x{image.shape[1]} and {paths[0]} is {present[0].shape[2]}x"
                f"{present[0].shape[1]}: images of one batch share a size; use --batch_size 1 or "
                "--preprocess resize_and_crop"
            )
    return torch.stack(present)
