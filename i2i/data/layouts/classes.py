"""Images with class labels: class folders, or files in MNIST's format."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import natsort
import numpy as np

from i2i.data.batch import ImageError, Key, Sample
from i2i.data.domain import Domain
from i2i.data.folder import PHASE_FOLDER, class_folders, describe, empty_folders, list_images
from i2i.data.images.channels import Info, check_channels, to_channels
from i2i.data.layouts.base import ImageDataset
from i2i.data.listing import FileTable, shown_files
from i2i.errors import UserError

log = logging.getLogger(__name__)
IDX_PREFIX = {"train": "train", "test": "t10k", "val": "t10k"}


class ClassDataset(ImageDataset):
    """Images of domain b whose label is the index of their class.

    They lie in `<dataroot>/<phase>/<class>/...`, in `<dataroot>/<class>/...`, or in
    `<dataroot>/train-images-idx3-ubyte[.gz]` beside its label file. `empty_classes` are the folders without an image;
    `images` are the pixels (N, H, W) of an MNIST file.
    """

    output_name = "B"
    images: np.ndarray | None = None
    labels: np.ndarray
    empty_classes: Sequence[str] = ()

    def scan(self) -> FileTable:
        idx_file = find_idx(self.root, self.config.phase, "images", 3)
        table = self.table()
        if table is not None:
            table = table.complete([self._column(table)], self.config.dataroot)
            files, names = self._labelled_rows(table)
        elif idx_file is not None:
            files, names = self._read_idx(idx_file)
        else:
            files, names = self._list_folders()
        self.classes = names
        limit = self.config.max_dataset_size
        groups = [] if table is None else table.groups
        if limit is not None and limit < len(self.labels):
            # The first ones of every class, instead of the first class only.
            order, groups = np.argsort(_rank_in_class(self.labels), kind="stable")[:limit], []
            self.labels, files = self.labels[order], [files[i] for i in order]
            self.images = None if self.images is None else self.images[order]
        return FileTable({"B": files}, groups=groups)

    def _labelled_rows(self, rows: FileTable) -> tuple[list[str | None], tuple[str, ...]]:
        if rows.labels is None:
            raise UserError(f"--dataset_mode classes: {self.config.dataroot} has no labels, in a column `label`")
        names = rows.classes or natsort.natsorted(set(rows.labels))
        index = {name: number for number, name in enumerate(names)}
        self.labels = np.array([index[label] for label in rows.labels], np.int64)
        return next(iter(rows.files.values())), tuple(names)

    @staticmethod
    def _column(table: FileTable) -> str:
        return next((name for name in ("B", "image", "A") if table.column(name)), "B")

    def _read_idx(self, path: Path) -> tuple[list[str | None], tuple[str, ...]]:
        labels = find_idx(self.root, self.config.phase, "labels", 1)
        if labels is None:
            expected = path.name.replace("images", "labels").replace("idx3", "idx1")
            raise UserError(f"{path} has no label file beside it: {expected}")
        self.images, self.labels = read_idx(path, 3), read_idx(labels, 1).astype(np.int64)
        if len(self.images) != len(self.labels):
            raise UserError(f"{path} holds {len(self.images)} images, {labels} {len(self.labels)} labels")
        names = tuple(str(label) for label in range(int(self.labels.max()) + 1))
        return [f"{path} (image {number})" for number in range(len(self.images))], names

    def _list_folders(self) -> tuple[list[str | None], tuple[str, ...]]:
        folder, names = class_folders(self.root, self.config.phase)
        if not names:
            there = describe(folder, self.root, self.config.phase, self.config.dataset_mode)
            idx = f"{_idx_prefix(self.config.phase)}-images-idx3-ubyte"
            raise UserError(
                f"--dataset_mode classes: no class folders with images in {folder}, and no file {idx} ({there})"
            )
        self.empty_classes = [name for name in empty_folders(folder) if not PHASE_FOLDER.fullmatch(name)]
        if self.empty_classes:
            log.warning("class folders without an image are no classes: %s", shown_files(self.empty_classes))
        files = [list_images(folder / name, passed_over=self.passed_over) for name in names]
        self.labels = np.repeat(np.arange(len(names)), [len(paths) for paths in files])
        return [path for paths in files for path in paths], tuple(names)

    def subset(self, rows: Mapping[str, Sequence[int]]) -> Self:
        part, chosen = super().subset(rows), np.asarray(rows["B"], np.int64)
        part.labels = self.labels[chosen]
        part.images = None if self.images is None else self.images[chosen]
        return part

    def load(self, key: Key) -> Sample:
        path, (domain,) = self.files[key.item], self.domains[1]
        b = self.image(path, domain, key, "B")
        return Sample(b=b.tensor, label=int(self.labels[key.item]), path_b=path, changes=b.changes)

    def _all_files(self) -> set[str]:
        return super()._all_files() if self.images is None else set()

    def read(self, path: str, domain: Domain, key: Key) -> np.ndarray:
        if self.images is None:
            return super().read(path, domain, key)
        pixels = self.images[key.item][:, :, None].copy()
        try:
            check_channels(Info(pixels.shape[1], pixels.shape[0], 1, "uint8", "", ""), domain.channels)
        except UserError as error:
            raise ImageError(f"{path} {error}") from None
        return self.pipeline.resize(to_channels(pixels, domain.channels, self.config.alpha))


def _idx_prefix(phase: str) -> str:
    return IDX_PREFIX.get(phase, phase)


def find_idx(root: Path, phase: str, kind: str, dimensions: int) -> Path | None:
    """Return the idx file of a phase, such as train-images-idx3-ubyte, train-images.idx3-ubyte or either with .gz."""
    names = [f"{_idx_prefix(phase)}-{kind}{dash}idx{dimensions}-ubyte{end}" for end in ("", ".gz") for dash in "-."]
    return next((root / name for name in names if (root / name).is_file()), None)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read a uint8 array from a file in MNIST's idx format (http://yann.lecun.com/exdb/mnist): magic, sizes, bytes.

    Raises:
        UserError: if the file is damaged, empty, or holds anything but uint8 of `dimensions` dimensions.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise UserError(f"{path} is not an idx file of {dimensions}-dimensional uint8 data")
    sizes = np.frombuffer(content, ">u4", dimensions, 4).tolist()
    if 0 in sizes or len(content) != header + math.prod(sizes):
        shape = "x".join(map(str, sizes))
        raise UserError(f"{path} is damaged: {len(content) - header} bytes of data for a size of {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks
