"""Choose parts of a data set: a held-out split, and a few images spread over it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

import numpy as np

from i2i.data.layouts.base import ImageDataset
from i2i.errors import UserError


def split(dataset: ImageDataset, fraction: float, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """Return the training part and the held-out part, which has `fraction` of the images.

    File names and the seed decide which images are held out, so images added later change the choice little. The
    fraction holds for every class, and for each of two unpaired sets.

    Raises:
        UserError: if one part would be empty.
    """
    held = _rows(dataset, lambda files: _held_out(files, dataset.labels, fraction, seed))
    kept = {name: np.setdiff1d(range(len(dataset.columns.files[name])), rows).tolist() for name, rows in held.items()}
    for name, files in dataset.columns.files.items():
        if not held[name] or not kept[name]:
            raise UserError(
                f"--val_fraction {fraction:g}: of {len(files)} images {len(held[name])} are held out and "
                f"{len(kept[name])} left to train on; use another fraction, or more images"
            )
    return dataset.subset(kept), dataset.subset(held)


def spread(dataset: ImageDataset, size: int) -> ImageDataset:
    """Return at most `size` images at equal distances, from every class in proportion; of unpaired sets, of each."""
    order = None if dataset.labels is None else np.argsort(dataset.labels, kind="stable")

    def chosen(files: Sequence[str]) -> list[int]:
        rows = np.arange(min(size, len(files))) * len(files) // min(size, len(files))
        return (rows if order is None else np.sort(order[rows])).tolist()

    return dataset.subset(_rows(dataset, chosen))


def _rows(dataset: ImageDataset, choose: Callable[[Sequence[str]], list[int]]) -> dict[str, list[int]]:
    columns: dict[str, list[str]] = dataset.columns.files  # type: ignore[assignment]
    if dataset.is_paired:
        return dict.fromkeys(columns, choose(dataset.files))
    return {name: choose(files) for name, files in columns.items()}


def _held_out(files: Sequence[str], labels: np.ndarray | None, fraction: float, seed: int) -> list[int]:
    shared = os.path.commonpath([os.path.dirname(path) for path in files])
    ranks = [_rank(path[len(shared) :].replace(os.sep, "/"), seed) for path in files]
    classes = np.zeros(len(files), np.int64) if labels is None else labels
    members = [np.flatnonzero(classes == label).tolist() for label in np.unique(classes)]
    chosen = [sorted(rows, key=ranks.__getitem__)[: round(len(rows) * fraction)] for rows in members]
    return sorted(row for rows in chosen for row in rows)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape"), digest_size=8).digest()
