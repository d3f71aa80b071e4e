"""JPEG, PNG and PPM files, which other decoders than Pillow's read faster, smaller or in full depth.

Time for a photograph of 256 x 256: JPEG 0.2 ms by simplejpeg, 0.35 by Pillow; PNG 0.5 ms by kornia_rs, 1.6 by Pillow;
their pixels are the same. Both libraries may be missing, and where they refuse a file Pillow has the last word, which
lets small damage pass that changes no pixel.
"""

from __future__ import annotations

import importlib
import struct
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
from PIL import Image, ImageFile

from i2i.data.images.channels import Info
from i2i.data.images.pillow import PillowFile, open_header, orientation, pillow_array

PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
JPEG_MODES = {"Gray": "L", "YCbCr": "RGB"}
TURNING = (b"Exif\0", b"http://ns.adobe.com/xap/")  # the starts of what may hold an orientation
KORNIA_MODES = {"L": "mono", "RGB": "rgb", "RGBA": "rgba"}


@cache
def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class JpegFile(PillowFile):
    """A JPEG file, decoded at 1/2, 1/4 or 1/8 of its size if that is enough.

    The decoder then leaves out frequencies, so that a resize of its result to 286 x 286 differs from one of the full
    1024 x 1024 image by 45 to 49 dB (PSNR). Scales between these are no faster.
    """

    @cached_property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return orientation(self.image) if {"exif", "xmp"} & self.image.info.keys() else 1

    def decode(self, at_least: tuple[int, int] | None) -> np.ndarray:
        """The image as it lies in the file, or smaller, but not smaller than `at_least`: (H, W, C)."""
        least = None if at_least is None else _reduced(self.image.size, at_least)
        array = _decode_jpeg(self.content, self.image.mode, least)
        if array is not None:
            return array
        if least is not None:
            self.image.draft(self.image.mode, least)
        return pillow_array(self.image)


class PlainJpegFile:
    """A JPEG file of grey or YCbCr without EXIF or XMP, whose header simplejpeg reads in a tenth of Pillow's time."""

    def __init__(self, content: bytes, width: int, height: int, mode: str) -> None:
        self.content, self.size, self.mode = content, (width, height), mode

    @property
    def info(self) -> Info:
        """Read the header."""
        return Info(*self.size, len(self.mode), "uint8", self.mode, "JPEG")

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The image, or smaller, but not smaller than `at_least`: (H, W, C)."""
        least = None if at_least is None else _reduced(self.size, at_least)
        array = _decode_jpeg(self.content, self.mode, least)
        return self._in_pillow.pixels(at_least, pages) if array is None else array

    def labels(self) -> np.ndarray:
        """The image as stored: (H, W, C)."""
        return self._in_pillow.labels()

    @property
    def _in_pillow(self) -> JpegFile:
        return JpegFile(self.content, open_header(self.content))


def plain_jpeg(content: bytes) -> PlainJpegFile | None:
    """The file with that content if it is a JPEG file that needs nothing of Pillow."""
    library = _optional("simplejpeg")
    if library is None or not content.startswith(b"\xff\xd8") or any(mark in content for mark in TURNING):
        return None
    try:
        height, width, space, _ = library.decode_jpeg_header(content)
    except ValueError:
        return None
    return PlainJpegFile(content, width, height, JPEG_MODES[space]) if space in JPEG_MODES else None


def _reduced(size: tuple[int, int], at_least: tuple[int, int]) -> tuple[int, int] | None:
    """The smallest size by halving, rounded up, that is not below `at_least`; None if `size` is that."""
    for scale in (8, 4, 2):
        width, height = (-(-side // scale) for side in size)
        if width >= at_least[0] and height >= at_least[1]:
            return width, height
    return None


def _decode_jpeg(content: bytes, mode: str, least: tuple[int, int] | None) -> np.ndarray | None:
    library = _optional("simplejpeg")
    if library is None or mode not in ("L", "RGB"):
        return None
    width, height = least or (0, 0)
    try:
        space = "GRAY" if mode == "L" else mode
        return library.decode_jpeg(content, space, min_width=width, min_height=height)
    except ValueError:
        return None


class PngFile(PillowFile):
    """A PNG file, of which Pillow would keep 8 bits a channel."""

    def __init__(self, content: bytes, image: ImageFile.ImageFile) -> None:
        super().__init__(content, image)
        self.bits, self.channels = content[24], PNG_CHANNELS.get(content[25], 0)

    @property
    def info(self) -> Info:
        """Read the header."""
        info = super().info
        if self.bits < 16:
            return info
        alpha = self.channels in (2, 4)
        return info._replace(channels=self.channels, kind="uint16", mode=f"uint16 x {self.channels}", alpha=alpha)

    @cached_property
    def is_plain(self) -> bool:
        """True if the file holds nothing but pixels."""
        return _has_pixels_only(self.content)

    @cached_property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return 1 if self.is_plain else orientation(self.image)

    def decode(self, at_least: tuple[int, int] | None) -> np.ndarray:
        """The image as it lies in the file: (H, W, C)."""
        if self.bits == 16:
            return _decode_deep_png(self.content)
        array = _decode_png(self.content, self.image) if self.is_plain and self.image.mode in KORNIA_MODES else None
        return pillow_array(self.image) if array is None else array

    def labels(self) -> np.ndarray:
        """Palette indices or grey values as stored, upright: (H, W, C)."""
        if self.bits == 16:
            return self.pixels()
        stored = super().labels()
        # Pillow spreads grey of 2 or 4 bits over all 256 values.
        return stored // (255 // (2**self.bits - 1)) if self.channels == 1 and self.bits in (2, 4) else stored


def _has_pixels_only(content: bytes) -> bool:
    """Return True if no chunk of a PNG file has transparency, orientation or frames."""
    position = 33  # behind signature and IHDR
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        keyword = content[position + 8 : position + 11] if name in (b"tEXt", b"zTXt", b"iTXt") else b""
        if name in (b"tRNS", b"eXIf", b"acTL") or keyword in (b"Raw", b"XML"):  # "Raw profile type exif", XMP
            return False
        position += 12 + length
    return True


def _decode_png(content: bytes, image: Image.Image) -> np.ndarray | None:
    library = _optional("kornia_rs.io")
    if library is None:
        return None
    try:
        array = library.decode_image_png_u8(content, image.size[::-1], KORNIA_MODES[image.mode])
        return np.asarray(array).reshape(*image.size[::-1], -1)
    except Exception:  # the type it raises
        return None


def _decode_deep_png(content: bytes) -> np.ndarray:
    import imagecodecs

    array = imagecodecs.png_decode(content)
    return array.reshape(*array.shape[:2], -1)


class PpmFile(PillowFile):
    """A file of netpbm's formats, whose colours Pillow would cut to 8 bits."""

    @property
    def info(self) -> Info:
        """Read the header."""
        return super().info._replace(kind="uint16", mode="uint16 x 3") if self.is_deep else super().info

    @property
    def is_deep(self) -> bool:
        """True for colours of 16 bits."""
        return self.content[:2] in (b"P3", b"P6") and self._most > 255

    @property
    def _most(self) -> int:
        codec, _, _, arguments = cast(Any, self.image.tile[0])
        return 255 if codec == "raw" else arguments[1]

    def decode(self, at_least: tuple[int, int] | None) -> np.ndarray:
        """The image as it lies in the file: (H, W, C)."""
        if not self.is_deep:
            return pillow_array(self.image)
        # Grey keeps its 16 bits in Pillow, and the colours lie in the file as a grey image of three times the width.
        width, height = self.image.size
        kind = b"P2" if self.content[:2] == b"P3" else b"P5"
        header = b"%s %d %d %d\n" % (kind, 3 * width, height, self._most)
        return pillow_array(open_header(header + self.content[self.image.tile[0].offset :])).reshape(height, width, 3)


FILES = {"JPEG": JpegFile, "MPO": JpegFile, "PNG": PngFile, "PPM": PpmFile}
