"""From a tensor back to the numbers of a file of its domain's kind, and into that file."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.atomic import temporary_beside
from i2i.data.domain import FULL_RANGE, VOID, Domain
from i2i.errors import UserError

PALETTE_SIZE = 256


class Encoding(NamedTuple):
    """Encoding of 8-bit pictures: png or jpg, with its compression level or quality."""

    format: str = "png"
    png_level: int = 1  # of zlib, 0 to 9
    jpeg_quality: int = 95

    def suffix(self, channels: int) -> str:
        """Return the suffix of a picture's file; JPEG has no transparency."""
        return ".png" if channels == 4 else f".{self.format}"


DEFAULT = Encoding()


def denormalise(image: Tensor, domain: Domain) -> np.ndarray:
    """Pixels (H, W, C) of the domain's kind and range from (C, H, W) in [-1, 1]; of labels the class indices (H, W).

    Integers are rounded; values outside [-1, 1] are clipped.
    """
    if domain.is_labels:
        return class_maps(image[None])[0].cpu().numpy()
    values = image.detach().cpu().double().numpy()
    pixels = (np.clip(values, -1, 1).transpose(1, 2, 0) + 1) / 2 * (domain.high - domain.low) + domain.low
    if domain.kind not in FULL_RANGE:
        return pixels.astype(np.float32)
    return np.clip(np.rint(pixels), *FULL_RANGE[domain.kind]).astype(domain.kind)


def classes_of(images: Tensor) -> Tensor:
    """The classes (N, H, W) of label maps (N, C, H, W), the likeliest; `VOID` where every channel denies its own."""
    likeliest, classes = images.detach().max(dim=1)
    return classes.masked_fill_(likeliest <= -1, VOID) if images.shape[1] <= VOID else classes


def class_maps(images: Tensor) -> Tensor:
    """`classes_of` in the integers of their files: of 8 bits, above 256 classes of 16."""
    return classes_of(images).to(torch.uint8 if images.shape[1] <= PALETTE_SIZE else torch.uint16)


def file_suffix(domain: Domain) -> str:
    """Return the suffix of files of `write_image`: .png, or .tif for what a PNG cannot hold."""
    in_png = domain.is_labels or (domain.kind in FULL_RANGE and domain.in_png)
    return ".png" if in_png else ".tif"


def write_image(image: Tensor, path: Path, domain: Domain, encoding: Encoding = DEFAULT) -> Path:
    """Write (C, H, W) in [-1, 1] to `path` with the suffix of its kind added, never seen half written; gives that path.

    8 and 16 bits of 1 or 3 channels, or 4 with alpha, are PNG, labels a PNG with a palette (above 256 classes: 16 bits
    of grey; masks: 0 and 255), and floats and other numbers of channels TIFF.
    """
    return write_pixels(denormalise(image, domain), path, domain, encoding)


def write_pixels(pixels: np.ndarray, path: Path, domain: Domain, encoding: Encoding = DEFAULT) -> Path:
    """`write_image` of what `denormalise` gave."""
    suffix = file_suffix(domain)
    if suffix == ".tif":
        content = _tiff(pixels)
    elif domain.is_mask:
        content = _png(stored_mask(pixels), encoding.png_level)
    else:
        write = _palette_png if domain.is_labels and pixels.dtype == np.uint8 else _png
        content = write(pixels, encoding.png_level)
    return _replaced(path.with_name(path.name + suffix), content)


def stored_mask(classes: np.ndarray) -> np.ndarray:
    """Return the numbers 0 and 255 that files of masks hold for the classes 0 and 1."""
    return np.where(classes == 1, VOID, 0).astype(np.uint8)


def write_geotiff(pixels: np.ndarray, path: Path, tags: Sequence[Any]) -> Path:
    """Write (H, W) or (H, W, C) of any type to `path` with .tif added, with geographic tags; gives that path."""
    return _replaced(path.with_name(path.name + ".tif"), _tiff(pixels, tags))


def write_picture(pixels: np.ndarray, path: Path, encoding: Encoding = DEFAULT) -> Path:
    """Write (H, W, 1, 3 or 4) uint8 to `path` with its suffix added, never seen half written; gives that path."""
    suffix = encoding.suffix(pixels.shape[2])
    content = _png(pixels, encoding.png_level) if suffix == ".png" else _jpeg(pixels, encoding.jpeg_quality)
    return _replaced(path.with_name(path.name + suffix), content)


def _replaced(path: Path, content: bytes) -> Path:
    temporary = temporary_beside(path, owner=f"{os.getpid()}-")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def class_colours(count: int) -> np.ndarray:
    """Distinct colours (count, 3) uint8 of classes: the colour map of PASCAL VOC, in which class 0 is black."""
    index, colours = np.arange(count), np.zeros((count, 3), np.uint8)
    for bit in range(24):
        colours[:, bit % 3] |= ((index >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


def _png(pixels: np.ndarray, level: int) -> bytes:
    import cv2  # in its own way, which is of level 1, it takes half of Pillow's time for files as small

    return _encoded(pixels, ".png", [] if level == 1 else [cv2.IMWRITE_PNG_COMPRESSION, level])


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    import cv2

    return _encoded(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(pixels: np.ndarray, suffix: str, parameters: list[int]) -> bytes:
    import cv2

    orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    ordered = cv2.cvtColor(pixels, orders[channels]) if channels in orders else pixels
    try:
        done, content = cv2.imencode(suffix, ordered, parameters)
    except cv2.error:
        done = False
    if not done:
        height, width = pixels.shape[:2]
        ways_out = "use smaller images" if suffix == ".png" else "use --format png, or smaller images"
        raise UserError(f"{width}x{height} pixels are more than a {suffix[1:]} file can hold; {ways_out}")
    return content.tobytes()


def _palette_png(indices: np.ndarray, level: int) -> bytes:
    picture, content = Image.fromarray(indices), io.BytesIO()
    picture.putpalette(class_colours(PALETTE_SIZE).tobytes())
    picture.save(content, "PNG", compress_level=level)
    return content.getvalue()


def _tiff(pixels: np.ndarray, tags: Sequence[Any] = ()) -> bytes:
    import tifffile

    pixels = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
    content = io.BytesIO()
    photometric = "rgb" if pixels.shape[2:] == (3,) else "minisblack"
    tifffile.imwrite(content, pixels, photometric=photometric, planarconfig="contig", metadata=None, extratags=tags)
    return content.getvalue()
