"""TIFF files: through Pillow where it gives the pixels exactly, else by tifffile."""

from __future__ import annotations

import io
import math
import operator
import struct
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from i2i.data.domain import VOID
from i2i.data.images.channels import Info, UnfitError, kind_of, known_kind, upright
from i2i.errors import UserError

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, SAMPLES, FORMAT, ORIENTATION = 258, 277, 339, 274  # tags
# All tags without which the pixels would be others: sizes, bits, compression, what lies where.
NEEDED = {256, 257, BITS, 259, 262, 266, 273, ORIENTATION, SAMPLES, 278, 279, 284, 317, *range(322, 326), 338, FORMAT}
PILLOW_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}
EXTRA_SAMPLES, ALPHAS = 338, {1, 2}  # what channels beyond the colours are, and the values that mean alpha
NODATA = 42113  # GDAL's: the value of pixels that hold nothing, as text
# Where the image lies on the earth: pixel scale, tie points, transformation, and three of GeoTIFF's keys.
GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737)
UNSIGNED = 1
MINISWHITE = 0
PLAIN = {MINISWHITE, 1, 2}  # grey and RGB: how the numbers are meant (photometric interpretation)
YCBCR_OF_JPEG = (6, 7)  # decoded to RGB
# none, LZW, JPEG, deflate (old and new), PackBits, JPEG 2000, LERC, LZMA, Zstandard, WebP: those whose decoders take
# damaged data without a crash. Fax compression, whose decoder does not, is left to Pillow.
COMPRESSIONS = {1, 5, 7, 8, 32773, 32946, 34712, 34887, 34925, 50000, 50001}


def exact_in_pillow(
    content: bytes, bits: Collection[int] = range(9), first_page: bool = False
) -> TiffImagePlugin.TiffImageFile | None:
    """The file as Pillow opens it, if that gives all it holds: one page of unsigned values of so many `bits`.

    With `first_page` it may have more, which are not asked for.
    """
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(content))
        tags = image.tag_v2
        exact = (
            image.mode in PILLOW_MODES
            # Where colours are no plain numbers tifffile has none for them, and nodata is left as it is.
            and (NODATA not in tags or image.mode in ("1", "P", "CMYK", "YCbCr"))
            and set(tags.get(BITS, (1,))) <= set(bits)
            and set(tags.get(FORMAT, (UNSIGNED,))) == {UNSIGNED}
            and tags.get(SAMPLES, 1) == len(image.getbands())
            # Without the tag Pillow takes a fourth channel for alpha.
            and ("A" not in image.getbands() or tags.get(EXTRA_SAMPLES, (0,))[-1] in ALPHAS)
            and (first_page or image.n_frames == 1)
        )
    except Exception:  # it is damaged, or of a kind that Pillow does not know: tifffile has the last word
        return None
    return image if exact else None


@cache
def _tifffile() -> Any:
    import tifffile

    return tifffile


def geographic_tags(content: bytes, width: int, height: int) -> list[tuple[int, int, int, Any, bool]]:
    """The tags that say where an image lies on the earth, as tifffile writes them; none if it is of another size."""
    if not content.startswith(MAGICS):
        return []
    page: Any = _tifffile().TiffFile(io.BytesIO(content)).pages[0]
    if (page.imagewidth, page.imagelength) != (width, height):
        return []
    tags = [page.tags[code] for code in GEOGRAPHIC if code in page.tags]
    return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags]


class TiffFile:
    """A TIFF file of any depth, with any number of channels and pages of full size.

    Pixels that hold nothing, by GDAL's tag, are `fill` in what `pixels` gives.
    """

    def __init__(self, content: bytes, first_page: bool = False, fill: float = 0.0) -> None:
        self.content, self.fill = content, fill
        self.file = _tifffile().TiffFile(io.BytesIO(content))
        if first_page:
            self.pages = [self.file.pages[0]]
            self.page: Any = self.pages[0]
            return
        everything = list(self.file.pages)
        # An overview or a mask of another page is none that could be a channel.
        self.pages = [page for page in everything if not page.subfiletype & 0b101]
        if not self.pages or self._directory(everything[-1])[1] != 0:
            raise UserError("pages of it are missing")
        self.page = self.pages[0]

    @property
    def orientation(self) -> int:
        """The orientation of the image, 1 to 8."""
        return int(self.page.tags.valueof(ORIENTATION, 1))

    @property
    def info(self) -> Info:
        """Read the header. Raises UnfitError for a kind of TIFF file that is not supported."""
        page = self.page
        if page.dtype is None:
            raise UnfitError(f"holds values of {page.bitspersample} bits, of a type that is not known")
        if page.compression not in COMPRESSIONS:
            raise UnfitError(f"is compressed in a way that is not read ({page.compression!s}); use LZW or deflate")
        if page.imagedepth != 1:
            raise UnfitError(f"has pages of {page.imagedepth} slices; save them as channels or as files")
        # A damaged file may have a list of numbers in place of one.
        width, height, channels = map(operator.index, (page.imagewidth, page.imagelength, page.samplesperpixel))
        size = (height, width) if self.orientation > 4 else (width, height)
        alpha = channels in (2, 4) and bool(page.extrasamples) and int(page.extrasamples[-1]) in ALPHAS
        mode = f"{page.dtype} x {channels}"
        return Info(*size, channels, kind_of(page.dtype), mode, "TIFF", len(self.pages), alpha, self.nodata)

    @property
    def nodata(self) -> float | None:
        """The value of pixels that hold nothing, which may be NaN; None if the file names none."""
        text = str(self.page.tags.valueof(NODATA, "")).strip("\0 ")
        try:
            return float(text)
        except ValueError:
            return None

    def hidden(self) -> np.ndarray | None:
        """Return the mask (H, W) of pixels of the first page without data; None if the file has none."""
        if self.nodata is None:
            return None
        return np.logical_or.reduce(self._is_nodata(self._stored(self.page)), axis=2)

    def _is_nodata(self, array: np.ndarray) -> np.ndarray:
        if self.nodata is None or array.dtype.kind == "b":
            return np.zeros(array.shape, bool)
        # A value such as -3.4028234663852886e+38 is meant in the precision of the file.
        value = np.asarray(self.nodata).astype(array.dtype) if array.dtype.kind == "f" else self.nodata
        if self.page.photometric == MINISWHITE and array.dtype.kind == "u":
            value = 2**self.page.bitspersample - 1 - self.nodata  # as the pixels are turned over
        return np.isnan(array) if math.isnan(self.nodata) else np.equal(array, value)

    def _filled(self, page: Any) -> np.ndarray:
        stored = self._stored(page)
        if (hidden := self._is_nodata(stored)).any():
            limits = np.iinfo(stored.dtype) if stored.dtype.kind in "iu" else np.finfo(stored.dtype)
            stored = np.where(hidden, np.clip(self.fill, limits.min, limits.max).astype(stored.dtype), stored)
        return stored

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The first `pages` pages, one after the other as channels: (H, W, C) uint8, uint16 or float32."""
        if any(page.shaped != self.page.shaped or page.dtype != self.page.dtype for page in self.pages[:pages]):
            raise UnfitError("has pages that differ in size or type; --pages first takes the first")
        for page in self.pages[:pages]:
            if page.photometric not in PLAIN and (page.photometric, page.compression) != YCBCR_OF_JPEG:
                raise UnfitError(f"holds colours as {page.photometric.name}, which is not read; save it as RGB")
        return np.concatenate([known_kind(self._filled(page)) for page in self.pages[:pages]], axis=2)

    def labels(self) -> np.ndarray:
        """The first page as stored, with 0 as black: (H, W, C); nodata that is no class number is 255, no class."""
        stored = self._stored(self.page)
        if self.nodata is None or 0 <= self.nodata <= VOID:
            return stored
        return np.where(self._is_nodata(stored), VOID, stored)

    def _stored(self, page: Any) -> np.ndarray:
        self._check(page)
        planes = page.asarray().reshape(page.shaped)[:, 0]  # (separate channels, H, W, interleaved channels)
        if page.photometric == MINISWHITE and planes.dtype.kind == "u":
            planes = 2**page.bitspersample - 1 - planes
        return upright(np.moveaxis(planes, 0, 2).reshape(*planes.shape[1:3], -1), self.orientation)

    def _check(self, page: Any) -> None:
        """Raises ValueError where tifffile would guess what a damaged tag says, or show missing parts as zeros."""
        codes, _ = self._directory(page)
        if any(code in NEEDED and code not in page.tags for code in codes):
            raise UserError("a tag is damaged")
        if not len(page.dataoffsets) == len(page.databytecounts) == math.prod(page.chunked):
            raise UserError("parts of it are missing")

    def _directory(self, page: Any) -> tuple[list[int], int]:
        """The codes of a page's tags, readable or not, and where the next page is said to be, 0 if there is none."""
        layout = self.file.tiff
        (count,) = struct.unpack_from(layout.tagnoformat, self.content, page.offset)
        first = page.offset + layout.tagnosize
        end = first + count * layout.tagsize
        codes = [
            struct.unpack_from(f"{layout.byteorder}H", self.content, entry)[0]
            for entry in range(first, end, layout.tagsize)
        ]
        return codes, struct.unpack_from(layout.offsetformat, self.content, end)[0]
