"""Sets of images to evaluate, each image as uint8 RGB or grey: image files, or images of a data set."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from i2i.data import ImageDataset, ImageError, Key
from i2i.data.batch import normalise
from i2i.data.domain import classes_of_mask
from i2i.data.folder import list_images
from i2i.data.images import Reader
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.listing import shown_files
from i2i.data.transforms import resized
from i2i.errors import UserError, file_errors
from i2i.results import listed_pictures

# How test.py names its pictures, and the role of each label by the label of the generated pictures.
LABELLED = re.compile(r"(.+)_((?:real|fake|rec)_[AB]|real|fake|truth)")
ROLES = {
    "fake_B": {"generated": "fake_B", "real": "real_B", "input": "real_A", "restored": "rec_A"},
    "fake_A": {"generated": "fake_A", "real": "real_A", "input": "real_B", "restored": "rec_B"},
    "fake": {"generated": "fake", "real": "truth", "input": "real"},
}
PICTURES = (".png", ".jpg")  # preferred to files of the same stem in other formats, which hold raw numbers


class ImageSet(Protocol):
    """A sequence of images: uint8 (1 or 3, H, W), of any sizes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class ImageFiles:
    """Images in files. 16-bit images are rounded to 8 bits, and transparency is dropped.

    Raises ImageError for a file that cannot be read, or that holds floats, whose range is unknown.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths, self.reader = list(paths), Reader()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        pixels = self.reader.pixels(path, 1 if self.reader.info(path).channels <= 2 else 3)
        if pixels.dtype == np.float32:
            raise ImageError(f"{path} holds floats, whose range is unknown: use files of 8 or 16 bits")
        if pixels.dtype == np.uint16:
            pixels = np.rint(pixels / 257).astype(np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    @property
    def smallest(self) -> tuple[int, int]:
        """The smallest width and the smallest height of all images."""
        found = [self.reader.info(path) for path in self.paths]
        return min(info.width for info in found), min(info.height for info in found)

    @property
    def formats(self) -> list[str]:
        """The formats of the files, such as "png"."""
        return sorted({os.path.splitext(path)[1].lower().removeprefix(".") for path in self.paths})


class LabelMapFiles:
    """Label maps in files: class indices (H, W), int64. With `num_classes` 2, masks may hold 0 and 255."""

    def __init__(self, paths: Sequence[str], num_classes: int = 0) -> None:
        self.paths, self.reader = list(paths), Reader()
        self.are_masks = num_classes == 2 and self.reader.are_masks(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        stored = self.reader.labels(self.paths[index])
        return torch.from_numpy(classes_of_mask(stored) if self.are_masks else stored).long()


class DatasetImages:
    """The images of `side` "a" or "b" of a data set, rendered as RGB or grey.

    Raises ImageError for an image that cannot be used.
    """

    def __init__(self, dataset: ImageDataset, side: str, rows: Sequence[int] | None = None) -> None:
        self.dataset, self.label = dataset, f"real_{side.upper()}"
        self.rows = range(len(dataset)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        sample = self.dataset[Key(0, self.rows[index])]
        if isinstance(sample, ImageError):
            raise sample
        images = {"real_A": sample.a, "real_B": sample.b}
        batches = {label: normalise(image[None]) for label, image in images.items() if image is not None}
        return to_uint8(displayed(batches, *self.dataset.domains)[self.label])[0, :3]


class SelectedImages:
    """Some images of another set, in any order and with repetitions."""

    def __init__(self, source: ImageSet, rows: Sequence[int]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[self.rows[index]]


class ResizedImages:
    """The images of another set, resized to one size (width, height) each."""

    def __init__(self, source: ImageSet, sizes: Sequence[tuple[int, int]]) -> None:
        self.source, self.sizes = source, sizes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        return resized_to(self.source[index], self.sizes[index])


def resized_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (C, H, W) uint8 to `size` (width, height), by the bicubic filter that data sets use."""
    return torch.from_numpy(resized(image.permute(1, 2, 0).numpy(), size)).permute(2, 0, 1)


def as_rgb(image: Tensor) -> Tensor:
    """Expand a grey image (1, H, W) to (3, H, W); return an RGB image as it is."""
    return image.expand(3, -1, -1)


class ImageSetSummary(NamedTuple):
    """The sizes (width, height) of all images of a set, whether any is RGB, and a digest of all pixels."""

    sizes: list[tuple[int, int]]
    has_colours: bool
    digest: str

    @property
    def shown_sizes(self) -> str:
        """The only size, or the smallest and the largest, as text."""
        ordered = sorted(set(self.sizes), key=lambda size: size[0] * size[1])
        return " to ".join(f"{width}x{height}" for width, height in dict.fromkeys((ordered[0], ordered[-1])))


def summarize(images: ImageSet) -> ImageSetSummary:
    """Read every image of a set and summarize them. Raises ImageError for the first that cannot be read."""
    content, sizes, has_colours = hashlib.sha256(), [], False
    for index in range(len(images)):
        image = images[index]
        channels, height, width = image.shape
        sizes.append((width, height))
        has_colours |= channels == 3
        content.update(repr(tuple(image.shape)).encode())
        content.update(image.permute(1, 2, 0).contiguous().numpy().data)
    return ImageSetSummary(sizes, has_colours, content.hexdigest()[:16])


def readable_images(images: ImageSet, rows: Iterable[int] | None = None) -> Iterator[tuple[int, Tensor]]:
    """Yield (index, image) for those of `rows`, by default all, that can be read."""
    for index in range(len(images)) if rows is None else rows:
        try:
            image = images[index]
        except ImageError:
            continue
        yield index, image


@file_errors("a folder of images")
def find_images(folder: str | Path, role: str) -> dict[str, str]:
    """Return the image files below `folder` by name, without the label that test.py adds to a name.

    If the folder holds several kinds of pictures of test.py, return those of `role`: generated, real, input or
    restored. In a results folder with a record, only pictures that its last run listed count.

    Raises:
        UserError: if there are none.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder of images")
    stems = _by_stem(folder)
    labels = _labels(stems)
    if not labels and stems:
        return stems
    label = next(iter(labels)) if len(labels) == 1 else _roles(labels).get(role)
    found = {stem.removesuffix(f"_{label}"): path for stem, path in stems.items() if stem.endswith(f"_{label}")}
    if not found:
        there = f"{', '.join(sorted(labels))}, and nothing {role}" if labels else "none"
        raise UserError(f"{folder}: images are expected, there are {there}")
    return found


def has_role(folder: str | Path, role: str) -> bool:
    """Return True if `folder` holds generated pictures of test.py together with those of `role`."""
    labels = _labels(_by_stem(folder))
    return _roles(labels).get(role) in labels


def _labels(stems: Iterable[str]) -> set[str]:
    """Return the labels of pictures of test.py; nothing if any file is not named like one."""
    matches = [LABELLED.fullmatch(stem) for stem in stems]
    return {match[2] for match in matches if match} if all(matches) else set()


def _roles(labels: set[str]) -> dict[str, str]:
    return next((roles for label, roles in ROLES.items() if label in labels), {})


def _by_stem(folder: str | Path) -> dict[str, str]:
    if (listed := listed_pictures(Path(folder))) is not None:
        images = listed[0].items()
        return {
            f"{unicodedata.normalize('NFC', name)}_{label}": path
            for name, pictures in images
            for label, path in pictures.items()
        }
    found: dict[str, str] = {}
    for path in list_images(folder):
        stem, suffix = os.path.splitext(Path(os.path.relpath(path, folder)).as_posix())
        name = unicodedata.normalize("NFC", stem)
        if name not in found or suffix.lower() in PICTURES:
            found[name] = path
    return found


def common_names(files: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """Return the names of `files` in order, which have to be those of `others`.

    Raises:
        UserError: if a name is missing on either side; lists the files.
    """
    for some, rest in ((files, others), (others, files)):
        if lone := [path for name, path in some.items() if name not in rest]:
            example = next(iter(rest.values()), "none")
            raise UserError(
                f"{len(lone):,} images have no partner of the same name (among files such as {example}): "
                f"{shown_files(lone, 5)}; --paired no, with metrics of sets such as kid, needs no partners"
            )
    return list(files)
