"""Sets of images that are judged: files, or samples of a data set, each as 8 bits RGB or grey."""

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
from i2i.data.folder import list_images
from i2i.data.images import Reader
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.listing import shown_files
from i2i.data.transforms import resized
from i2i.errors import UserError, file_errors
from i2i.results import listed_pictures

# What test.py calls its pictures: the generated ones, and what belongs to them.
LABELLED = re.compile(r"(.+)_((?:real|fake|rec)_[AB]|real|fake|truth)")
ROLES = {
    "fake_B": {"generated": "fake_B", "real": "real_B", "input": "real_A", "restored": "rec_A"},
    "fake_A": {"generated": "fake_A", "real": "real_A", "input": "real_B", "restored": "rec_B"},
    "fake": {"generated": "fake", "real": "truth", "input": "real"},
}
PICTURES = (".png", ".jpg")  # come before files of the same name, which hold numbers that no picture can


class Pictures(Protocol):
    """Images by number: uint8 (1 or 3, H, W), of any size."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class Files:
    """Image files; 16 bits are rounded to 8, and transparency is left out.

    Raises ImageError for a file that cannot be read, or holds floats, whose range it does not say.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths, self.reader = list(paths), Reader()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        pixels = self.reader.pixels(path, 1 if self.reader.info(path).channels <= 2 else 3)
        if pixels.dtype == np.float32:
            raise ImageError(f"{path} holds floats, whose black and white nobody knows; judge files of 8 or 16 bits")
        if pixels.dtype == np.uint16:
            pixels = np.rint(pixels / 257).astype(np.uint8)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    @property
    def smallest(self) -> tuple[int, int]:
        """The least width and height among them."""
        found = [self.reader.info(path) for path in self.paths]
        return min(info.width for info in found), min(info.height for info in found)

    @property
    def formats(self) -> list[str]:
        """Which formats of files there are, by their names' ends."""
        return sorted({os.path.splitext(path)[1].lower().removeprefix(".") for path in self.paths})


class Samples:
    """The images `a` or `b` of a data set, as they are shown. Raises ImageError for one that cannot be used."""

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


class Rows:
    """Some images of another set, in any order, and any of them several times."""

    def __init__(self, source: Pictures, rows: Sequence[int]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[self.rows[index]]


class Fitted:
    """Images resized to sizes (width, height), one for each."""

    def __init__(self, source: Pictures, sizes: Sequence[tuple[int, int]]) -> None:
        self.source, self.sizes = source, sizes

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        return at_size(self.source[index], self.sizes[index])


def at_size(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image (C, H, W) uint8 at `size` (width, height), by the bicubic filter that the data is resized with."""
    return torch.from_numpy(resized(image.permute(1, 2, 0).numpy(), size)).permute(2, 0, 1)


def coloured(image: Tensor) -> Tensor:
    """An image (1 or 3, H, W) as (3, H, W), grey in all channels."""
    return image.expand(3, -1, -1)


class Survey(NamedTuple):
    """What a set holds: widths and heights, whether any image has colours, and the digest of all pixels."""

    sizes: list[tuple[int, int]]
    has_colours: bool
    digest: str

    @property
    def shown_sizes(self) -> str:
        """The size, or the smallest and the largest."""
        ordered = sorted(set(self.sizes), key=lambda size: size[0] * size[1])
        return " to ".join(f"{width}x{height}" for width, height in dict.fromkeys((ordered[0], ordered[-1])))


def survey(pictures: Pictures) -> Survey:
    """Look at every image of a set. Raises ImageError for the first that cannot be read."""
    content, sizes, has_colours = hashlib.sha256(), [], False
    for index in range(len(pictures)):
        image = pictures[index]
        channels, height, width = image.shape
        sizes.append((width, height))
        has_colours |= channels == 3
        content.update(repr(tuple(image.shape)).encode())
        content.update(image.permute(1, 2, 0).contiguous().numpy().data)
    return Survey(sizes, has_colours, content.hexdigest()[:16])


def readable(pictures: Pictures, rows: Iterable[int] | None = None) -> Iterator[tuple[int, Tensor]]:
    """Those of `rows`, or of all, that can be read, with their numbers."""
    for index in range(len(pictures)) if rows is None else rows:
        try:
            image = pictures[index]
        except ImageError:
            continue
        yield index, image


@file_errors("a folder of images")
def find_images(folder: str | Path, role: str) -> dict[str, str]:
    """Image files below `folder` by name, without what test.py adds to it.

    Of a folder with all its pictures they are those of `role`: generated, real, input or restored. Of a results folder
    of test.py with a record they are those that its last run listed.

    Raises:
        ValueError: if there are none.
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


def holds(folder: str | Path, role: str) -> bool:
    """Whether `folder` has pictures as test.py writes them, and those of `role` beside the generated ones."""
    labels = _labels(_by_stem(folder))
    return _roles(labels).get(role) in labels


def _labels(stems: Iterable[str]) -> set[str]:
    """How the names of pictures of test.py end; nothing if any of them is none."""
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


def partners(files: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """The names that both have, in the order of the first.

    Raises:
        ValueError: if any has no partner; lists them.
    """
    if lone := [path for name, path in files.items() if name not in others]:
        raise UserError(_without_partner(lone, others))
    if lone := [path for name, path in others.items() if name not in files]:
        raise UserError(_without_partner(lone, files))
    return list(files)


def _without_partner(lone: Sequence[str], others: Mapping[str, str]) -> str:
    example = next(iter(others.values()), "none")
    return (
        f"{len(lone):,} images have no partner of the same name (among such as {example}): {shown_files(lone, 5)}; "
        "--paired no, and metrics of sets such as kid, need none"
    )
