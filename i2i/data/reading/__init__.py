"""Reading image files of any format as pixels or as labels.

Colour profiles (ICC) are left alone: the values are those of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from i2i.data.batch import ImageError
from i2i.data.files import read_bytes
from i2i.data.reading import arrays, tiff
from i2i.data.reading.channels import ALPHA, ImageFile, Info, UnfitError, check_channels, to_channels, upright
from i2i.data.reading.fast import FILES, plain_jpeg
from i2i.data.reading.pillow import UNREADABLE, PillowFile, open_header, orientation, pillow_array

__all__ = ["ALPHA", "PAGES", "Info", "Reader", "pil_pixels", "readable_extensions"]

PAGES = ("auto", "first")
LABELS_WAY_OUT = "save class numbers as a palette or grey PNG"


def readable_extensions() -> frozenset[str]:
    """The file extensions, lower case with the dot, of the formats that can be read."""
    formats = Image.registered_extensions()
    pillow = {extension for extension, name in formats.items() if name in Image.OPEN and name not in UNREADABLE}
    return frozenset(pillow | {".npy", ".npz", ".tif", ".tiff"})


@dataclass(frozen=True)
class Reader:
    """Reads image files; which format one has is told by its content.

    `alpha` says what becomes of transparency where no fourth channel is wanted, `pages` what becomes of the pages of a
    TIFF file; images with more than `max_pixels` are refused before they are decoded. All methods raise ImageError,
    naming the file, if it is missing, damaged, no image, too large, or does not fit.
    """

    alpha: str = "drop"
    pages: str = "auto"
    max_pixels: int = 2**27

    def info(self, path: str) -> Info:
        """What the header of a file says; the pixels are not decoded."""
        with _named(path):
            return _open(read_bytes(path)).info

    def pixels(self, path: str, channels: int, at_least: tuple[int, int] | None = None) -> np.ndarray:
        """An image, upright, with the wanted channels: (H, W, channels) uint8, uint16 or float32.

        One that is much larger than `at_least` (width, height) may come reduced, but not below that size.
        """
        with _named(path):
            file = _open(read_bytes(path), channels)
            info = self._checked(file.info)
            pages = info.pages if self.pages == "auto" else 1
            if pages > 1 and pages * info.channels != channels:
                raise UnfitError(
                    f"has {pages} pages of {info.channels} channels, {channels} are wanted; "
                    f"--in_channels/--out_channels {pages * info.channels} reads all, --pages first the first"
                )
            if pages == 1:
                check_channels(info.channels, info.kind, channels)
            return np.ascontiguousarray(to_channels(file.pixels(at_least, pages), channels, self.alpha))

    def labels(self, path: str) -> np.ndarray:
        """A label map, upright: the palette indices or grey values as stored, (H, W) uint8, uint16 or int32."""
        with _named(path):
            file = _open(read_bytes(path), 1, stored=True)
            info = self._checked(file.info)
            if info.channels != 1 and info.mode not in ("1", "L", "P"):  # these may be transparent besides
                raise UnfitError(f"is no label map: it has {info.channels} channels; {LABELS_WAY_OUT}")
            array = file.labels()
            if array.dtype.kind not in "bui":
                raise UnfitError(f"is no label map: it holds {array.dtype}, not whole numbers; {LABELS_WAY_OUT}")
            kind = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16"}.get(array.dtype.name, "int32")
            return np.ascontiguousarray(array[:, :, 0], kind)

    def _checked(self, info: Info) -> Info:
        if info.width * info.height > self.max_pixels:
            raise UnfitError(f"has {info.width} x {info.height} pixels, more than --max_pixels {self.max_pixels}")
        if info.width * info.height == 0:
            raise UnfitError("has no pixels")
        return info


def pil_pixels(image: Image.Image, channels: int, alpha: str = "drop") -> np.ndarray:
    """An opened Pillow image, upright, with the wanted channels: (H, W, channels) uint8, uint16 or float32.

    Raises:
        ValueError: if it has another number of channels, which cannot become that.
    """
    array = pillow_array(image)
    check_channels(array.shape[2], array.dtype.name, channels)
    turned = upright(array, orientation(image))
    return np.ascontiguousarray(to_channels(turned, channels, alpha))


def _open(content: bytes, channels: int | None = None, stored: bool = False) -> ImageFile:
    """The file with that content; `stored` if its values count, not what they show."""
    if not content:
        raise ValueError("it is empty")
    if content.startswith((arrays.MAGIC, arrays.ZIP_MAGIC)):
        return arrays.ArrayFile(content, channels)
    if content.startswith(tiff.MAGICS):
        # Pillow spreads grey of 2 or 4 bits over all 256 values.
        opened = tiff.exact_in_pillow(content, (1, 8) if stored else range(9))
        return tiff.TiffFile(content) if opened is None else PillowFile(content, opened)
    if (jpeg := plain_jpeg(content)) is not None:
        return jpeg
    image = open_header(content)
    return FILES.get(str(image.format), PillowFile)(content, image)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Whatever goes wrong, as one line that begins with the file."""
    try:
        yield
    except ImageError:
        raise
    except UnfitError as error:
        raise ImageError(f"{path} {error}") from None
    except Exception as error:  # there is hardly a type that the readers do not raise on a damaged file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.split("\n")[0].replace(f" {str(path)!r}", "")
        raise ImageError(f"{path} cannot be read as an image ({reason})") from None
