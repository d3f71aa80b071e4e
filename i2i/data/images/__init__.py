"""Reading image files of any format as pixels or as labels.

Colour profiles (ICC) are left alone: the values are those of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from i2i.data.batch import ImageError
from i2i.data.domain import VOID
from i2i.data.files import read_bytes
from i2i.data.images import arrays, extras, tiff
from i2i.data.images.channels import ALPHA, ImageFile, Info, UnfitError, check_channels, to_channels, upright
from i2i.data.images.fast import FILES, plain_jpeg
from i2i.data.images.pillow import UNREADABLE, PillowFile, open_header, orientation, pillow_array, pillow_info
from i2i.errors import UserError

__all__ = ["ALPHA", "PAGES", "Info", "Reader", "pil_pixels", "readable_extensions"]

PAGES = ("auto", "first")
LOOKED_AT, MOST_LOOKED_AT = 32, 1000  # label maps that tell how classes are numbered
LABELS_WAY_OUT = "save class numbers as a palette or grey PNG"


def readable_extensions() -> frozenset[str]:
    """The file extensions, lower case with the dot, of the formats that can be read."""
    formats = Image.registered_extensions()
    pillow = {extension for extension, name in formats.items() if name in Image.OPEN and name not in UNREADABLE}
    return frozenset(pillow | {".npy", ".npz", ".tif", ".tiff"} | extras.installed_extensions())


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
        """Read the header of a file, without decoding its pixels."""
        with _named(path):
            return self._open(path).info

    def pixels(
        self, path: str, channels: int, at_least: tuple[int, int] | None = None, fill: float = 0.0
    ) -> np.ndarray:
        """An image, upright, with the wanted channels: (H, W, channels) uint8, uint16 or float32.

        One that is much larger than `at_least` (width, height) may come reduced, but not below that size. Pixels that
        hold nothing by the file's own word (GDAL's nodata) are `fill`.
        """
        with _named(path):
            return self._pixels(self._open(path, channels, fill), channels, at_least)

    def hidden(self, path: str) -> np.ndarray | None:
        """Return the mask (H, W) of pixels without data (GDAL's nodata); None if the file has none."""
        with _named(path):
            file = self._open(path)
            return file.hidden() if isinstance(file, tiff.TiffFile) else None

    def halves(
        self,
        path: str,
        channels: tuple[int, int],
        at_least: tuple[int, int] | None = None,
        fills: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[np.ndarray, np.ndarray]:
        """The left and the right half of an image, as `pixels` gives them; `at_least` is the size for each."""
        with _named(path):
            file = self._open(path, max(channels), fills[0])
            width = self._checked(file.info).width
            if width % 2:
                raise UnfitError(
                    f"is {width} pixels wide: side-by-side pairs have an even width; two separate folders of images "
                    "are --dataset_mode unaligned"
                )
            whole = at_least is not None and width % 16 == 0  # at every scale each half is of whole pixels
            both = self._pixels(file, max(channels), (2 * at_least[0], at_least[1]) if at_least and whole else None)
            held, stored = both.shape[2], file.info
            alpha = held in (2, 4) and (stored.alpha or held != stored.channels)  # the file's own, or an opaque one
            for count in channels:
                check_channels(stored._replace(channels=held, alpha=alpha), count)
            left, right = np.split(both, 2, axis=1)
            if fills[0] != fills[1] and file.info.nodata is not None:
                again = self._pixels(self._open(path, max(channels), fills[1]), max(channels), None)
                right = np.split(again, 2, axis=1)[1]
            return to_channels(left, channels[0], self.alpha), to_channels(right, channels[1], self.alpha)

    def _open(self, path: str, channels: int | None = None, fill: float = 0.0) -> ImageFile:
        return _open(read_bytes(path), channels, first_page=self.pages == "first", fill=fill)

    def _pixels(self, file: ImageFile, channels: int, at_least: tuple[int, int] | None) -> np.ndarray:
        info = self._checked(file.info)
        if info.pages > 1 and info.pages * info.channels != channels:
            raise UnfitError(
                f"has {info.pages} pages of {info.channels} channels, {channels} are wanted; "
                f"--in_channels/--out_channels {info.pages * info.channels} reads all, --pages first the first"
            )
        if info.pages == 1:
            check_channels(info, channels)
        return np.ascontiguousarray(to_channels(file.pixels(at_least, info.pages), channels, self.alpha))

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

    def are_masks(self, paths: Sequence[str]) -> bool:
        """Return True if label maps hold only 0 and 255, judged by a few that are not all 0."""
        step = -(-len(paths) // LOOKED_AT) or 1
        seen = 0
        for path in [*paths[::step], *paths[:MOST_LOOKED_AT]]:
            try:
                values = set(np.unique(self.labels(path)).tolist()) - {0}
            except ImageError:  # what is wrong with the file is said when it is loaded
                continue
            if values - {VOID}:
                return False
            seen += bool(values)
            if seen == LOOKED_AT:
                break
        return seen > 0

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
    check_channels(pillow_info(image), channels)
    turned = upright(array, orientation(image))
    return np.ascontiguousarray(to_channels(turned, channels, alpha))


def _open(
    content: bytes,
    channels: int | None = None,
    stored: bool = False,
    first_page: bool = False,
    fill: float = 0.0,
) -> ImageFile:
    """The file with that content; `stored` if its values count, not what they show; or the first of its pages alone."""
    if not content:
        raise UserError("it is empty")
    if content.startswith((arrays.MAGIC, arrays.ZIP_MAGIC)):
        return arrays.ArrayFile(content, channels)
    if content.startswith(tiff.MAGICS):
        # Pillow spreads grey of 2 or 4 bits over all 256 values.
        opened = tiff.exact_in_pillow(content, (1, 8) if stored else range(9), first_page)
        return tiff.TiffFile(content, first_page, fill) if opened is None else PillowFile(content, opened)
    if (jpeg := plain_jpeg(content)) is not None:
        return jpeg
    if content.startswith(extras.EXR_MAGIC):
        return extras.ExrFile(content)
    if extras.is_heic(content):
        return extras.open_heic(content)
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
