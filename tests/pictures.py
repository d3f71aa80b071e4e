"""Small image files and data sets for the tests of the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import Batch, DataConfig, ImageDataset, build_dataset
from i2i.data.batch import normalise

needs_data = pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset: no real data")
REAL = Path(os.environ.get("I2I_TEST_DATA", "")) / "data"
EXACT: dict[str, Any] = {"preprocess": "none", "flip": False, "num_threads": 0}


def dataset(root: Path, mode: str, seed: int = 0, **options: Any) -> ImageDataset:
    """Build a data set that neither resizes nor mirrors images, unless `options` say so."""
    return build_dataset(DataConfig(**{"dataroot": str(root), "dataset_mode": mode} | EXACT | options), seed)


def coordinates(width: int, height: int) -> np.ndarray:
    """Return an image (H, W, 3) in which red is the column and green is the row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return a random image (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    """Write an array (H, W) or (H, W, C) with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def numbered(folder: Path, count: int, first: int = 0, size: int = 4) -> list[Path]:
    """Write `count` grey files; the value of the pixels is the number of the file."""
    names = [(number, folder / f"{number}.png") for number in range(first, first + count)]
    return [save(path, np.full((size, size, 3), number, np.uint8)) for number, path in names]


def numbers(images: torch.Tensor | None) -> list[int]:
    """Return the numbers of images that `numbered` wrote, from uint8 or [-1, 1]."""
    assert images is not None
    return ((normalise(images)[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def equal(first: Batch, second: Batch) -> bool:
    """Return True if two batches hold the same images, labels and files."""
    fields = [(first.a, second.a), (first.b, second.b), (first.label, second.label)]
    same = all(one is other or (one is not None and torch.equal(one, other)) for one, other in fields)  # type: ignore[arg-type]
    return same and first.paths_a == second.paths_a and first.paths_b == second.paths_b
