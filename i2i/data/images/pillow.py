"""Files in any format that Pillow knows."""

from __future__ import annotations

import io
import struct
from functools import cached_property

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from i2i.data.images.channels import Info, known_kind, upright

# Pillow registers these only to identify or to hand them to other programs.
UNREADABLE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
ORIENTATION = 0x0112  # the EXIF tag


def open_header(content: bytes) -> ImageFile.ImageFile:
    """An image of which Pillow has read the header, whatever its size.

    `Image.open` refuses large images by a limit that is global; here the caller has one of its own.

    Raises:
        UnidentifiedImageError: if the content is no image in a format that Pillow reads.
    """
    stream, prefix = io.BytesIO(content), content[:16]
    for register in (Image.preinit, Image.init):
        register()
        for name in Image.ID:
            factory, accept = Image.OPEN[name]
            accepted = not accept or accept(prefix)
            if name in UNREADABLE or not accepted or isinstance(accepted, str):  # a text says what is not installed
                continue
            try:
                stream.seek(0)
                return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # which to `Image.open` too mean another format
                continue
    raise UnidentifiedImageError("its header is damaged, or its format not known")


class PillowFile:
    """A file that Pillow decodes as it is."""

    def __init__(self, content: bytes, image: ImageFile.ImageFile) -> None:
        self.content, self.image = content, image

    @property
    def info(self) -> Info:
        """Read the header."""
        info = pillow_info(self.image)
        return info._replace(width=info.height, height=info.width) if self.orientation > 4 else info

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The image, upright: (H, W, C); it may come smaller, though not smaller than `at_least` (width, height)."""
        if at_least is not None and self.orientation > 4:
            at_least = at_least[::-1]
        return upright(self.decode(at_least), self.orientation)

    def labels(self) -> np.ndarray:
        """Palette indices or grey values as stored, upright: (H, W, C)."""
        return upright(with_channels(np.array(self.image)), self.orientation)

    def decode(self, at_least: tuple[int, int] | None) -> np.ndarray:
        """The image as it lies in the file: (H, W, C)."""
        return pillow_array(self.image)

    @cached_property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8."""
        return orientation(self.image)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; Pillow itself rotates TIFF files when it loads them."""
    return 1 if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)


def pillow_info(image: Image.Image) -> Info:
    """Read the header of an opened image, before rotation."""
    mode = plain_mode(image)
    kind = {"I;16": "uint16", "I": "float32", "F": "float32"}.get(mode, "uint8")
    bands, alpha = Image.getmodebands(mode), mode in ("LA", "RGBA")
    return Info(*image.size, bands, kind, image.mode, str(image.format), alpha=alpha)


def plain_mode(image: Image.Image) -> str:
    """The mode that holds all of the image, without palette or print colours: L, LA, RGB, RGBA, I;16, I or F."""
    if image.mode == "I" and image.format == "PPM":
        return "I;16"  # Pillow makes room for 32 bits and uses 16
    if image.mode[0] in "IF":
        return image.mode[:4]
    if image.has_transparency_data:
        return "LA" if image.mode in ("LA", "La") else "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def pillow_array(image: Image.Image) -> np.ndarray:
    """An opened image as it lies in the file: (H, W, C) uint8, uint16 or float32."""
    mode = plain_mode(image)
    if mode == "I;16":
        return with_channels(np.array(image).astype(np.uint16))
    if mode in ("I", "F"):
        return known_kind(with_channels(np.array(image)))
    return with_channels(np.array(image if image.mode == mode else image.convert(mode)))


def with_channels(array: np.ndarray) -> np.ndarray:
    """(H, W, C) of (H, W) or (H, W, C)."""
    return array.reshape(*array.shape[:2], -1)
