"""Measure the pixels of one image, and of a pair."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

DESCRIPTOR = 32  # width and height of what is kept of an image, to compare it to others
WORKING = 128  # width and height at which the images of a pair are laid over each other
STRONG = WORKING * WORKING * 95 // 100  # rank of the gradient from which on all count alike
REACH = 16  # how far apart they are looked for, in pixels of that size
SMALLEST_SHIFT, LEAST_AGREEMENT, LEAST_GAIN, LEAST_CLEARNESS = 2.5, 0.25, 0.15, 6.0
MOST_LEVELS = 40  # values of an image that may be a map of classes
FLAT = 1.0  # the standard deviation in steps of 8 bits below which an image shows nothing
TINT = 3  # the difference between channels, in steps of 8 bits, that may come from JPEG


class View(NamedTuple):
    """One image as it is: its size, its values as the file has them, and what it takes to compare it to others.

    `mean` and `std` are estimates from a part of the pixels; `picture` and `edges` are uint8 (32, 32), grey and its
    gradients; `classes` are the indices that a label map has, `levels` the values of a grey image of 8 bits with few.
    """

    width: int
    height: int
    kind: str
    low: float
    high: float
    mean: float
    std: float
    flat: bool
    coloured: bool
    phash: int
    sha: str
    picture: np.ndarray
    edges: np.ndarray
    classes: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()


def view(pixels: np.ndarray, hidden: np.ndarray | None = None) -> View:
    """The view of an image (H, W, C), or of class indices (H, W).

    Values are those of the pixels that are not `hidden` (H, W), unless all are.
    """
    height, width = pixels.shape[:2]
    eight_bit = stretched(pixels)
    grey = grey_of(eight_bit)
    values = pixels if hidden is None or hidden.all() else pixels[~hidden]
    mean, std = _mean_and_std(_thinned(pixels) if hidden is None else values)
    return View(
        width,
        height,
        pixels.dtype.name,
        low=float(values.min()),
        high=float(values.max()),
        mean=mean,
        std=std,
        flat=_mean_and_std(grey)[1] < FLAT,
        coloured=_is_coloured(eight_bit),
        phash=_phash(grey),
        sha=hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest() + f" {pixels.shape}",
        picture=_shrunk(grey, DESCRIPTOR),
        edges=_shrunk(stretched(edges_of(grey))[:, :, 0], DESCRIPTOR),
        classes=tuple(np.unique(pixels).tolist()) if pixels.ndim == 2 else (),
        levels=_levels(pixels),
    )


def _levels(pixels: np.ndarray) -> tuple[int, ...]:
    if pixels.ndim == 2 or pixels.dtype != np.uint8 or _is_coloured(pixels):
        return ()
    found = np.flatnonzero(np.bincount(pixels[:, :, 0].ravel(), minlength=256)).tolist()
    return tuple(found) if len(found) <= MOST_LEVELS else ()


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W) or (H, W, C) as uint8 (H, W, C): those of 8 bits as they are, of others the range that they use."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float32))
    low, high = values.min(), values.max()
    return ((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C) as grey (H, W); of other images than RGB the mean of the channels."""
    import cv2

    if pixels.shape[2] in (3, 4):
        return cv2.cvtColor(np.ascontiguousarray(pixels[:, :, :3]), cv2.COLOR_RGB2GRAY)
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels.mean(axis=2).astype(np.uint8)


def edges_of(grey: np.ndarray) -> np.ndarray:
    """The magnitudes of the gradients of grey pixels, float32 (128, 128), the strongest alike."""
    import cv2

    small = _shrunk(grey, WORKING).astype(np.float32)
    across, down = (cv2.Sobel(small, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    magnitude = np.hypot(across, down)
    return cv2.GaussianBlur(np.minimum(magnitude, np.partition(magnitude.ravel(), STRONG)[STRONG]), (0, 0), 0.5)


def shift_between(first: np.ndarray, second: np.ndarray) -> tuple[float, float] | None:
    """Return the shift of the second image's structure from the first's, as fractions of width and height.

    Takes pixels (H, W, C). None where they lie on each other, or where that cannot be told for certain: the gradients
    have to agree well at one place, clearly better there than elsewhere and than where they lie now.
    """
    import cv2

    window = cv2.createHanningWindow((WORKING, WORKING), cv2.CV_32F)
    spectra = [np.fft.rfft2(_unit(edges_of(grey_of(stretched(image))), window)) for image in (first, second)]
    agreement = np.fft.fftshift(np.fft.irfft2(spectra[0].conj() * spectra[1], s=(WORKING, WORKING)))
    middle = WORKING // 2
    near = agreement[middle - REACH : middle + REACH + 1, middle - REACH : middle + REACH + 1]
    row, column = (int(place) - REACH for place in np.unravel_index(near.argmax(), near.shape))
    best, here = near.max(), near[REACH, REACH]
    clear = best >= max(LEAST_AGREEMENT, here + LEAST_GAIN, LEAST_CLEARNESS * agreement.std())
    return (column / WORKING, row / WORKING) if clear and np.hypot(row, column) >= SMALLEST_SHIFT else None


def _unit(edges: np.ndarray, window: np.ndarray) -> np.ndarray:
    weighted = (edges - edges.mean()) * window
    return weighted / max(float(np.linalg.norm(weighted)), 1e-6)


def _thinned(pixels: np.ndarray) -> np.ndarray:
    """At least 16,384 pixels where there are so many, evenly spread: enough for what does not turn on a single one."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / 2**14) ** 0.5))
    return pixels[::step, ::step]


def _mean_and_std(pixels: np.ndarray) -> tuple[float, float]:
    import cv2

    mean, std = cv2.meanStdDev(np.ascontiguousarray(pixels).reshape(-1, 1).astype(np.float32, copy=False))
    return float(mean[0, 0]), float(std[0, 0])


def _is_coloured(pixels: np.ndarray) -> bool:
    if pixels.shape[2] not in (3, 4):
        return pixels.shape[2] > 4
    red, green, blue = np.moveaxis(_thinned(pixels)[:, :, :3].astype(np.int16), 2, 0)
    return bool(np.abs(red - green).max() > TINT or np.abs(blue - green).max() > TINT)


def _phash(grey: np.ndarray) -> int:
    import imagehash
    from PIL import Image

    return int(str(imagehash.phash(Image.fromarray(grey))), 16)


def _shrunk(grey: np.ndarray, size: int) -> np.ndarray:
    import cv2

    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
