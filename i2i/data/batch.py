"""The types that travel from files to models: sample keys, samples, batches, and the description of the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from i2i.data.domain import Domain
from i2i.errors import UserError

ALIGNMENT = 64  # bytes, for vector instructions


class ImageError(UserError):
    """A file cannot be used as an image; the message names the file and what to do."""


class OptionError(ImageError):
    """An option is wrong, which only shows when an image is loaded; no other image would load either."""


class Key(NamedTuple):
    """The epoch and index of a sample. Its random choices depend on the seed and the key only."""

    epoch: int
    item: int


class DataSpec(NamedTuple):
    """The properties of the data that a model is built for and that a checkpoint stores.

    `image_size` is (width, height). `a` and `b` describe the images whose channels are concatenated to a and to b;
    empty means one 8-bit image.
    """

    in_channels: int = 3
    out_channels: int = 3
    image_size: tuple[int, int] = (256, 256)
    classes: tuple[str, ...] = ()
    a: tuple[Domain, ...] = ()
    b: tuple[Domain, ...] = ()

    @property
    def domains(self) -> tuple[tuple[Domain, ...], tuple[Domain, ...]]:
        """Return the domains of the images of a and of b."""
        return self.a or (Domain.stored((self.in_channels,)),), self.b or (Domain.stored((self.out_channels,)),)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return self._asdict() | {name: [tuple(domain) for domain in getattr(self, name)] for name in "ab"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """Build a spec from `as_dict`. Checkpoints of early versions have no `a` and `b`: their images had 8 bits."""
        domains = {name: tuple(Domain.stored(parts) for parts in values.get(name, ())) for name in "ab"}
        plain = {"image_size": tuple(values["image_size"]), "classes": tuple(values["classes"])}
        return cls(**{**values, **plain, **domains})


@dataclasses.dataclass
class Sample:
    """One item of a data set; every field is optional.

    Attributes:
        a, b: images (C, H, W), uint8 or float in [-1, 1].
        label: a class index.
        extras: further tensors by name, such as a mask (C, H, W) or a text vector (D,). Like a and b, uint8 (C, H, W)
            tensors are images, which `Batch.to` converts to [-1, 1].
        path_a, path_b: the files.
        changes: the augmentation (P,) that is left to the device, by the name of the tensor; see `augment.draw`.
        kind: the pixel type of the file of a: uint8, uint16 or float32.
        skipped: the error messages of unusable samples that this one replaces.
    """

    a: Tensor | None = None
    b: Tensor | None = None
    label: int | None = None
    path_a: str | None = None
    path_b: str | None = None
    extras: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    changes: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    kind: str = "uint8"
    skipped: tuple[str, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """Return a, b and the extras by name, as far as there are any."""
        images = {"a": self.a, "b": self.b}
        return {name: image for name, image in images.items() if image is not None} | self.extras

    @property
    def shapes(self) -> list[torch.Size]:
        """Return the shapes of all tensors. Samples of equal shapes fit into one batch."""
        return [tensor.shape for tensor in self.tensors().values()]


@dataclasses.dataclass
class Batch:
    """Samples stacked along the first dimension.

    Attributes:
        a, b: images (N, C, H, W), uint8 or float; after `to` float in [-1, 1].
        label: class indices (N,), int64.
        extras: further tensors (N, ...) by name.
        changes: the augmentation (N, P) that is left to the device, by the name of the tensor.
        paths_a, paths_b: the files.
        kinds: the pixel type of the file of a, for each sample.
        skipped: for each sample, the error messages of unusable samples that it replaces.
    """

    a: Tensor | None = None
    b: Tensor | None = None
    label: Tensor | None = None
    extras: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    changes: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    paths_a: tuple[str, ...] = ()
    paths_b: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    skipped: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def image(self, domain: str) -> Tensor:
        """Return the images of domain "a" or "b". Raises UserError if the batch has none."""
        images: Tensor | None = getattr(self, domain)
        if images is None:
            raise UserError(f"the model needs images of domain {domain}, which this --dataset_mode does not give")
        return images

    def labels(self) -> Tensor:
        """Return the class indices. Raises UserError if the batch has none."""
        if self.label is None:
            raise UserError("the model needs labels, which --dataset_mode classes gives")
        return self.label

    def extra(self, name: str) -> Tensor:
        """Return a further tensor by name. Raises UserError if the batch has none of that name."""
        if name not in self.extras:
            raise UserError(f"the model needs the tensor {name!r}, which this --dataset_mode does not give")
        return self.extras[name]

    def tensors(self) -> dict[str, Tensor]:
        """Return a, b, the label and the extras by name, as far as there are any."""
        named = {"a": self.a, "b": self.b, "label": self.label}
        return {name: tensor for name, tensor in named.items() if tensor is not None} | self.extras

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Batch:
        """Return a copy on `device`: uint8 images normalised to [-1, 1], floats as `dtype`, integers as they are."""
        on_cuda = torch.device(device).type == "cuda"  # whose batches lie in page-locked memory
        moved = {
            # A copy, as the memory of a loaded batch is used again; `normalise` copies uint8 images.
            name: tensor.to(device, non_blocking=on_cuda, copy=tensor.dtype != torch.uint8 or tensor.ndim != 4)
            for name, tensor in self.tensors().items()
        }
        return with_tensors(self, {name: _in_dtype(tensor, dtype) for name, tensor in moved.items()})

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory. The DataLoader calls this before batches are copied to a GPU."""
        return with_tensors(self, {name: tensor.pin_memory() for name, tensor in self.tensors().items()})


Item = TypeVar("Item", Sample, Batch)


def with_tensors(item: Item, tensors: Mapping[str, Tensor | None]) -> Item:
    """Return a copy of a sample or batch in which `tensors` replace those of the same names; None removes one."""
    fields = {name: tensor for name, tensor in tensors.items() if name in ("a", "b", "label")}
    extras = item.extras | {name: tensor for name, tensor in tensors.items() if name not in fields}
    present = {name: tensor for name, tensor in extras.items() if tensor is not None}
    return dataclasses.replace(item, extras=present, **fields)  # type: ignore[arg-type]


def _in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.ndim == 4 and (tensor.dtype == torch.uint8 or tensor.is_floating_point()):
        return normalise(tensor, dtype)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert uint8 images to [-1, 1]; floats only change their type. On the CPU the result is contiguous."""
    if images.dtype == torch.uint8 and images.device.type == "cpu" and dtype == torch.float32:
        return _normalised_by_numpy(images)
    images = images if images.is_cuda else images.contiguous()
    return images.to(dtype).div_(127.5).sub_(1) if images.dtype == torch.uint8 else images.to(dtype)


def _normalised_by_numpy(images: Tensor) -> Tensor:
    # Image by image, each of which fits into the processor's cache, and in one thread: torch's threads would compete
    # with the workers that load images, which takes ten times as long. The results are equal.
    normalised = np.empty(images.shape, np.float32)
    for image, pixels in zip(normalised, images.numpy(), strict=True):
        np.divide(np.ascontiguousarray(pixels), np.float32(127.5), out=image)
        image -= 1
    return torch.from_numpy(normalised)


def _empty(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8)


def collate(samples: Sequence[Sample | ImageError], allocate: Callable[[int], Tensor] = _empty) -> Batch | ImageError:
    """Stack samples to a batch, in one piece of memory of the size in bytes that `allocate` is called with.

    Return the first ImageError if there is one, or if the images differ in size: raised in a worker process, it would
    reach the user as a traceback.
    """
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, ImageError):
            return sample
        good.append(sample)
    try:
        tensors = [sample.tensors() for sample in good]
        rows = {name: _rows(good, name, [named[name] for named in tensors]) for name in tensors[0]}
    except ImageError as error:
        return error
    if good[0].label is not None:
        rows["label"] = [torch.tensor(sample.label) for sample in good]
    stacked = _stacked(rows, allocate)
    return Batch(
        a=stacked.pop("a", None),
        b=stacked.pop("b", None),
        label=stacked.pop("label", None),
        extras=stacked,
        changes={name: np.stack([sample.changes[name] for sample in good]) for name in good[0].changes},
        paths_a=tuple(sample.path_a for sample in good if sample.path_a is not None),
        paths_b=tuple(sample.path_b for sample in good if sample.path_b is not None),
        kinds=tuple(sample.kind for sample in good),
        skipped=tuple(sample.skipped for sample in good),
    )


def _rows(samples: Sequence[Sample], name: str, tensors: list[Tensor]) -> list[Tensor]:
    """Return the tensors called `name` in one dtype; images as (H, W, C), as they come from files."""
    for sample, tensor in zip(samples, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            path, first = (s.path_b if name == "b" else s.path_a or s.path_b for s in (sample, samples[0]))
            raise ImageError(_size_message(name, (path, tensor), (first, tensors[0])))
    if len({tensor.dtype for tensor in tensors}) > 1:
        tensors = [normalise(tensor) for tensor in tensors]
    return [tensor.permute(1, 2, 0) for tensor in tensors] if tensors[0].ndim == 3 else tensors


def _stacked(rows: Mapping[str, Sequence[Tensor]], allocate: Callable[[int], Tensor]) -> dict[str, Tensor]:
    starts, end = {}, 0
    for name, tensors in rows.items():
        starts[name] = end
        end += -(-len(tensors) * tensors[0].nbytes // ALIGNMENT) * ALIGNMENT
    memory, stacked = allocate(end), {}
    for name, tensors in rows.items():
        first = tensors[0]
        out = memory[starts[name] : starts[name] + len(tensors) * first.nbytes].view(first.dtype)
        batch = torch.stack(tuple(tensors), out=out.view(len(tensors), *first.shape))
        stacked[name] = batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch
    return stacked


def _size_message(name: str, one: tuple[str | None, Tensor], other: tuple[str | None, Tensor]) -> str:
    shown = [
        f"{path} is {tensor.shape[2]}x{tensor.shape[1]}"
        if tensor.ndim == 3
        else f"{name!r} of {path} has shape {tuple(tensor.shape)}"
        for path, tensor in (one, other)
    ]
    return (
        f"{shown[0]} and {shown[1]}: images of one batch share a size; use --batch_size 1 or "
        "--preprocess resize_and_crop"
    )
