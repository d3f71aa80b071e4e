"""From a tensor back to the numbers of a file of its domain's kind, and into that file."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from i2i.data.domain import FULL_RANGE, VOID, Domain

PALETTE_SIZE = 256
FAST = 1  # zlib's level: encodes a PNG about four times as fast as Pillow's default of 6


def denormalise(image: Tensor, domain: Domain) -> np.ndarray:
    """Pixels (H, W, C) of the domain's kind and range from (C, H, W) in [-1, 1]; of labels the class indices (H, W).

    Integers are rounded; values outside [-1, 1] are clipped.
    """
    if domain.is_labels:
        classes = classes_of(image[None])[0].cpu().numpy()
        return classes.astype(np.uint8 if len(image) <= PALETTE_SIZE else np.uint16)
    values = image.detach().cpu().double().numpy()
    pixels = (np.clip(values, -1, 1).transpose(1, 2, 0) + 1) / 2 * (domain.high - domain.low) + domain.low
    if domain.kind not in FULL_RANGE:
        return pixels.astype(np.float32)
    return np.clip(np.rint(pixels), *FULL_RANGE[domain.kind]).astype(domain.kind)


def classes_of(images: Tensor) -> Tensor:
    """The classes (N, H, W) of label maps (N, C, H, W), the likeliest; `VOID` where every channel denies its own."""
    likeliest, classes = images.detach().max(dim=1)
    return classes.masked_fill_(likeliest <= -1, VOID) if images.shape[1] <= VOID else classes


def file_suffix(domain: Domain) -> str:
    """Of the files that `write_image` makes: .png, or .tif for what a PNG cannot hold."""
    in_png = domain.is_labels or (domain.kind in FULL_RANGE and domain.channels in (1, 3, 4))
    return ".png" if in_png else ".tif"


def write_image(image: Tensor, path: Path, domain: Domain) -> Path:
    """Write (C, H, W) in [-1, 1] to `path` with the suffix of its kind added, never seen half written; gives that path.

    8 and 16 bits of 1, 3 or 4 channels are PNG, labels a PNG with a palette (above 256 classes: 16 bits of grey), and
    floats and other numbers of channels TIFF.
    """
    target = path.with_name(path.name + file_suffix(domain))
    temporary = path.with_name(f".{target.name}.tmp")
    try:
        temporary.write_bytes(_encoded(denormalise(image, domain), domain))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def class_colours(count: int) -> np.ndarray:
    """Distinct colours (count, 3) uint8 of classes: the colour map of PASCAL VOC, in which class 0 is black."""
    index, colours = np.arange(count), np.zeros((count, 3), np.uint8)
    for bit in range(24):
        colours[:, bit % 3] |= ((index >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return colours


def _encoded(pixels: np.ndarray, domain: Domain) -> bytes:
    pixels = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
    if file_suffix(domain) == ".tif":
        return _tiff(pixels)
    return _png(pixels, has_palette=domain.is_labels and pixels.dtype == np.uint8)


def _png(pixels: np.ndarray, has_palette: bool) -> bytes:
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        return _png_of_16_bit_colours(pixels)
    picture = Image.fromarray(pixels)
    if has_palette:
        picture.putpalette(class_colours(PALETTE_SIZE).tobytes())
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=FAST)
    return content.getvalue()


def _png_of_16_bit_colours(pixels: np.ndarray) -> bytes:
    import cv2  # Pillow has no such images

    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    return cv2.imencode(".png", cv2.cvtColor(pixels, order), [cv2.IMWRITE_PNG_COMPRESSION, FAST])[1].tobytes()


def _tiff(pixels: np.ndarray) -> bytes:
    import tifffile

    content = io.BytesIO()
    photometric = "rgb" if pixels.shape[2:] == (3,) else "minisblack"
    tifffile.imwrite(content, pixels, photometric=photometric, planarconfig="contig", metadata=None)
    return content.getvalue()
