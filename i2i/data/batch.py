"""What travels from the data to the models: keys, samples, batches, and what the data tells a model about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.data.domain import Domain
from i2i.errors import UserError

ON_DEVICE = ("a", "b", "label")  # the fields of a batch that go to the device, and all that are tensors
TENSORS = (*ON_DEVICE, "changes_a", "changes_b")
ALIGNMENT = 64  # bytes, for vector instructions


class ImageError(UserError):
    """A file that cannot be used as an image; the message names the file and the way out."""


class OptionError(ImageError):
    """What is wrong with the options, found out at an image: another image would not do either."""


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
    a: tuple[Domain, ...] = ()  # the images whose channels, one after the other, are those of a; empty: one of 8 bits
    b: tuple[Domain, ...] = ()

    @property
    def domains(self) -> tuple[tuple[Domain, ...], tuple[Domain, ...]]:
        """What the images of a and of b hold."""
        return self.a or (Domain.stored((self.in_channels,)),), self.b or (Domain.stored((self.out_channels,)),)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return self._asdict() | {name: [tuple(domain) for domain in getattr(self, name)] for name in "ab"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """From what `as_dict` gave; what older checkpoints lack are images of 8 bits."""
        domains = {name: tuple(Domain.stored(parts) for parts in values.get(name, ())) for name in "ab"}
        plain = {"image_size": tuple(values["image_size"]), "classes": tuple(values["classes"])}
        return cls(**{**values, **plain, **domains})


@dataclasses.dataclass
class Sample:
    """One item: images (C, H, W) of domain a and b, uint8 or float in [-1, 1], a class index, the files; each optional.

    `changes_a` and `changes_b` are what an augmentation on the device is to do to the images, see `augment.draw`;
    `kind` is that of the file of a: uint8, uint16 or float32.
    """

    a: Tensor | None = None
    b: Tensor | None = None
    label: int | None = None
    path_a: str | None = None
    path_b: str | None = None
    changes_a: Tensor | None = None
    changes_b: Tensor | None = None
    kind: str = "uint8"
    skipped: tuple[str, ...] = ()

    @property
    def shapes(self) -> list[torch.Size]:
        """The shapes of the images that it has: samples go into one batch if theirs are equal."""
        return [image.shape for image in (self.a, self.b) if image is not None]


@dataclasses.dataclass
class Batch:
    """Images (N, C, H, W), uint8 or float out of the loader and float in [-1, 1] after `to`; labels (N,) int64; files.

    `changes_a` and `changes_b` are (N, parameters); `kinds` and `skipped`, the messages about unusable files in whose
    place a sample stands, have an entry for every sample.
    """

    a: Tensor | None = None
    b: Tensor | None = None
    label: Tensor | None = None
    changes_a: Tensor | None = None
    changes_b: Tensor | None = None
    paths_a: tuple[str, ...] = ()
    paths_b: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    skipped: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return next(len(field) for field in (self.a, self.b, self.label) if field is not None)

    def image(self, domain: str) -> Tensor:
        """The images of domain "a" or "b". Raises ValueError if the batch has none."""
        images: Tensor | None = getattr(self, domain)
        if images is None:
            raise UserError(f"the model needs images of domain {domain}, which this --dataset_mode does not give")
        return images

    def labels(self) -> Tensor:
        """The class indices. Raises ValueError if the batch has none."""
        if self.label is None:
            raise UserError("the model needs labels, which --dataset_mode classes gives")
        return self.label

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that it has, by the names of their fields."""
        named = {name: getattr(self, name) for name in TENSORS}
        return {name: value for name, value in named.items() if value is not None}

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Batch:
        """A copy on `device`, uint8 images normalised to [-1, 1]; `changes_a` and `changes_b` stay on the CPU."""
        beside = torch.device(device).type == "cuda"  # whose batches lie in page-locked memory
        tensors = {
            name: value.to(device if name in ON_DEVICE else "cpu", non_blocking=beside, copy=value.dtype != torch.uint8)
            for name, value in self.tensors().items()
        }
        images = {name: normalise(tensors[name], dtype) for name in "ab" if name in tensors}
        return dataclasses.replace(self, **(tensors | images))  # type: ignore[arg-type]

    def pin_memory(self) -> Batch:
        """A page-locked copy, which the DataLoader asks for ahead of a copy to a GPU."""
        pinned = {name: value.pin_memory() for name, value in self.tensors().items()}
        return dataclasses.replace(self, **pinned)  # type: ignore[arg-type]


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 to float in [-1, 1], float images as they are; contiguous, or in channels_last where a GPU prefers that."""
    if images.dtype == torch.uint8 and images.device.type == "cpu" and dtype == torch.float32:
        return _normalised_by_numpy(images)
    images = images if images.is_cuda else images.contiguous()
    return images.to(dtype).div_(127.5).sub_(1) if images.dtype == torch.uint8 else images.to(dtype)


def _normalised_by_numpy(images: Tensor) -> Tensor:
    # The same numbers, an image after the other, each of which fits into the processor's cache, and in this thread
    # alone: beside workers that load images torch's threads would wait for each other, at ten times the cost.
    normalised = np.empty(images.shape, np.float32)
    for image, pixels in zip(normalised, images.numpy(), strict=True):
        np.divide(np.ascontiguousarray(pixels), np.float32(127.5), out=image)
        image -= 1
    return torch.from_numpy(normalised)


def collate(
    samples: Sequence[Sample | ImageError], memory: Callable[[int], Tensor] | None = None
) -> Batch | ImageError:
    """Stack samples to a batch, in one piece of `memory` if something gives that for a number of bytes.

    A problem is returned: raised in a worker it would arrive as a traceback.
    """
    for sample in samples:
        if isinstance(sample, ImageError):
            return sample
    good = [sample for sample in samples if isinstance(sample, Sample)]
    try:
        images = {"a": _rows([s.a for s in good], [s.path_a for s in good])}
        images["b"] = _rows([s.b for s in good], [s.path_b for s in good])
    except ImageError as error:
        return error
    labels = [torch.tensor(s.label) for s in good if s.label is not None]
    changes = {
        name: [getattr(s, name) for s in good if getattr(s, name) is not None] for name in ("changes_a", "changes_b")
    }
    rows = images | {"label": labels} | changes
    stacked = _stacked({name: tensors for name, tensors in rows.items() if tensors}, memory or _fresh)
    return Batch(
        **{name: value.permute(0, 3, 1, 2) if name in images else value for name, value in stacked.items()},
        paths_a=tuple(s.path_a for s in good if s.path_a is not None),
        paths_b=tuple(s.path_b for s in good if s.path_b is not None),
        kinds=tuple(s.kind for s in good),
        skipped=tuple(s.skipped for s in good),
    )


def _rows(images: Sequence[Tensor | None], paths: Sequence[str | None]) -> list[Tensor]:
    """The images (H, W, C), in which form they come from files; all uint8 or all float."""
    present = [image for image in images if image is not None]
    if not present:
        return []
    for image, path in zip(present, paths, strict=True):
        if image.shape != present[0].shape:
            raise ImageError(
                f"{path} is {image.shape[2]}x{image.shape[1]} and {paths[0]} is {present[0].shape[2]}x"
                f"{present[0].shape[1]}: images of one batch share a size; use --batch_size 1 or "
                "--preprocess resize_and_crop"
            )
    if len({image.dtype for image in present}) > 1:
        present = [normalise(image) for image in present]
    return [image.permute(1, 2, 0) for image in present]


def _stacked(rows: Mapping[str, Sequence[Tensor]], memory: Callable[[int], Tensor]) -> dict[str, Tensor]:
    """Each list of tensors as one, all of them side by side in one piece of memory."""
    sizes = {name: len(tensors) * tensors[0].nbytes for name, tensors in rows.items()}
    starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes.values())]).tolist()
    held, stacked = memory(starts[-1]), {}
    for (name, tensors), start in zip(rows.items(), starts, strict=False):
        out = held[start : start + sizes[name]].view(tensors[0].dtype).view(len(tensors), *tensors[0].shape)
        stacked[name] = torch.stack(tuple(tensors), out=out)
    return stacked


def _fresh(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8)
