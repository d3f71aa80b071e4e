"""Arrays that numpy has saved: `.npy`, and `.npz` with one array or one called "image"."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from numpy.lib import format as numpy_format

from i2i.data.images.channels import Info, UnfitError, kind_of, known_kind

MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
NAMES = ("image", "arr_0")  # in a file with several arrays, which of them; numpy calls an unnamed one arr_0


class ArrayFile:
    """An array (H, W), (H, W, C) or (C, H, W): the last if only so it has the `channels` that are wanted.

    With neither axis of that length, or if none are wanted, the shorter one holds the channels.
    """

    def __init__(self, content: bytes, channels: int | None = None) -> None:
        self.content = content
        with self._stream() as stream:
            self.shape, self.dtype = _header(stream)
        if len(self.shape) not in (2, 3):
            raise UnfitError(f"holds an array of shape {self.shape}; images are (H, W), (H, W, C) or (C, H, W)")
        self.channels_first = len(self.shape) == 3 and _first(self.shape, channels)

    @property
    def info(self) -> Info:
        """Read the header."""
        shape = (*self.shape[1:], self.shape[0]) if self.channels_first else (*self.shape, 1)[:3]
        height, width, channels = shape
        return Info(width, height, channels, kind_of(self.dtype), f"{self.dtype.name} x {channels}", "numpy")

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The array as (H, W, C) uint8, uint16 or float32."""
        return known_kind(self.labels())

    def labels(self) -> np.ndarray:
        """The array as stored: (H, W, C)."""
        with self._stream() as stream:
            array = numpy_format.read_array(stream, allow_pickle=False)
        if array.ndim == 2:
            array = array[:, :, None]
        return np.moveaxis(array, 0, 2) if self.channels_first else array

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        if not self.content.startswith(ZIP_MAGIC):
            yield io.BytesIO(self.content)
            return
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive, archive.open(_member(archive.namelist())) as stream:
            yield stream


def _first(shape: tuple[int, ...], channels: int | None) -> bool:
    if channels in (shape[0], shape[2]):
        return shape[2] != channels
    return shape[0] < shape[2]


def _member(names: list[str]) -> str:
    arrays = [name for name in names if name.endswith(".npy")]
    for name in arrays if len(arrays) == 1 else [f"{name}.npy" for name in NAMES]:
        if name in arrays:
            return name
    found = ", ".join(name.removesuffix(".npy") for name in arrays) or "none"
    raise UnfitError(f'holds several arrays or none ({found}); call the image "image"')


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = numpy_format.read_magic(stream)
    read = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype
