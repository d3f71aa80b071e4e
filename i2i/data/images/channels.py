"""Describe a decoded file, and convert its pixels to the wanted number of channels."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from i2i.errors import UserError

ALPHA = ("drop", "white", "black", "grey")
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, which Pillow's "L" uses too
FITTING = {(1, 3), (3, 1)}  # channels of a file, and those that can be made of them
OPAQUE = {(1, 4), (3, 4)}  # by an alpha channel that hides nothing
FITTING_OF_ALPHA = {(2, 1), (2, 3), (2, 4), (4, 1), (4, 3)}  # where the last channel of the file is alpha
BANDS = ("TIFF", "numpy")  # formats whose channels may be anything, such as a red, green, blue and infrared band
COLOURS = ("CMYK", "YCbCr")  # modes whose channels are not


class Info(NamedTuple):
    """The header of a file: its upright size, channels of a page, kind (uint8, uint16, float32), and more.

    `mode` is Pillow's, or else type and channels ("float32 x 7"); `pages` counts those that could be channels; `alpha`
    tells whether the format calls the last channel alpha; `nodata` is the value of pixels that hold nothing (GDAL).
    """

    width: int
    height: int
    channels: int
    kind: str
    mode: str
    format: str
    pages: int = 1
    alpha: bool = False
    nodata: float | None = None


class ImageFile(Protocol):
    """A file of one family of formats, of which only the header has been read."""

    @property
    def info(self) -> Info:
        """Read the header."""

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The first `pages` pages, upright, as channels: (H, W, C) uint8, uint16 or float32."""

    def labels(self) -> np.ndarray:
        """The first page, upright, as stored: (H, W, C) of whatever type."""


class UnfitError(UserError):
    """A sound file that cannot be used as it is; the message goes on from the file's name."""


def check_channels(info: Info, channels: int) -> None:
    """Raise UnfitError if an image of which `info` is the header cannot be had with `channels`."""
    are_colours = info.format not in BANDS or info.mode in COLOURS
    fitting = FITTING | (OPAQUE if are_colours and info.kind != "float32" else set())
    fitting |= FITTING_OF_ALPHA if info.alpha else set()
    if info.kind == "float32":  # whose white, and so whose full opacity, is not known here
        fitting -= {(2, 4)}
    stored = info.channels
    if stored != channels and (stored, channels) not in fitting:
        raise UnfitError(f"has {stored} channels, {channels} are wanted; --in_channels/--out_channels {stored}")


def to_channels(array: np.ndarray, channels: int, alpha: str = "drop") -> np.ndarray:
    """Return pixels (H, W, C) with 1 (grey), 3 (RGB) or 4 (RGBA) channels, of any that `check_channels` lets pass.

    Of 2 and 4 channels the last is alpha. Grey is ITU-R BT.601; transparent pixels lie on the colour that `alpha`
    names, unless it is "drop".
    """
    if array.shape[2] == channels:
        return array
    if channels == 4:
        return _with_alpha(array)
    if array.shape[2] in (2, 4):
        if alpha != "drop" and array.dtype == np.float32:
            raise UnfitError(f"holds floats with alpha, which cannot lie on {alpha}: --alpha drop leaves it out")
        array = array[:, :, :-1] if alpha == "drop" else _composited(array, alpha)
    if array.shape[2] == channels:
        return array
    return _grey(array) if channels == 1 else np.repeat(array, 3, axis=2)


def _with_alpha(array: np.ndarray) -> np.ndarray:
    opaque = np.full_like(array[:, :, :1], np.iinfo(array.dtype).max)
    colour, alpha = (array[:, :, :1], array[:, :, 1:]) if array.shape[2] == 2 else (array, opaque)
    return np.concatenate([*[colour] * (3 // colour.shape[2]), alpha], axis=2)


def _composited(array: np.ndarray, alpha: str) -> np.ndarray:
    most = np.iinfo(array.dtype).max
    background = {"white": most, "black": 0, "grey": most // 2 + 1}[alpha]
    wide = array.astype(np.uint32)  # the largest sum, 65535 * 65535 + 32767, still fits
    colour, opacity = wide[:, :, :-1], wide[:, :, -1:]
    return ((colour * opacity + background * (most - opacity) + most // 2) // most).astype(array.dtype)


def _grey(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(np.ascontiguousarray(array)).convert("L"))[:, :, None]
    grey = array.astype(np.float64) @ np.array(GREY_WEIGHTS)
    return (grey if array.dtype == np.float32 else np.rint(grey)).astype(array.dtype)[:, :, None]


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) turned and mirrored as the EXIF orientation 1 to 8 says; others mean nothing."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def known_kind(array: np.ndarray) -> np.ndarray:
    """Numbers of any type as uint8, uint16 or float32: truth values as 0 and 255, the first two as they are.

    Raises:
        UnfitError: if some are no numbers.
    """
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype.name in ("uint8", "uint16"):  # of either byte order
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UnfitError("holds values that are no finite numbers; replace them")
    return array


def kind_of(dtype: np.dtype) -> str:
    """Return `known_kind` of a type. Raises UnfitError if it is not numeric."""
    if dtype.kind not in "buif":
        raise UnfitError(f"holds {dtype}, not numbers")
    return {"bool": "uint8", "uint8": "uint8", "uint16": "uint16"}.get(dtype.name, "float32")
