"""From a file's pixels to the training size: an antialiased resize, and the window that all images of a pair share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from i2i.data.batch import ImageError

PREPROCESSING = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")


class Window(NamedTuple):
    """Which part of an image is taken, in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """That part of `pixels` (H, W, ...), mirrored by torch, which takes a tenth of NumPy's time to copy it."""
        part = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        return torch.from_numpy(part).flip(1).numpy() if self.mirrored else part


class Preprocess:
    """The reference's `--preprocess` choices. Sizes are (width, height) in pixels.

    `jitter` off takes the middle in place of a random crop.
    """

    def __init__(
        self,
        preprocess: str,
        load_size: tuple[int, int],
        crop_size: tuple[int, int],
        flip: bool = True,
        jitter: bool = True,
    ) -> None:
        self.preprocess, self.load_size, self.crop_size = preprocess, load_size, crop_size
        self.flip, self.jitter = flip, jitter

    @property
    def at_least(self) -> tuple[int, int] | None:
        """The size below which no image may be decoded at a reduced scale; None if it has to be decoded in full."""
        return self.load_size if self.preprocess == "resize_and_crop" else None  # other sizes follow from the file's

    def target(self, size: tuple[int, int]) -> tuple[int, int]:
        """What an image of `size` is resized to."""
        width, height = size
        if self.preprocess == "resize_and_crop":
            return self.load_size
        if self.preprocess.startswith("scale_width"):
            wanted, least = self.load_size[0], self.crop_size[1]
            return (wanted, height if width == wanted and height >= least else int(max(wanted * height / width, least)))
        return size

    def window(self, size: tuple[int, int], random: np.random.Generator) -> Window:
        """The part of an image of `size` that is taken; draws the same numbers whatever the options.

        Raises:
            ImageError: if the image is smaller than the crop.
        """
        place, mirrored = random.random(2), bool(random.random() < 0.5) and self.flip
        width, height = self.crop_size if "crop" in self.preprocess else size
        if size[0] < width or size[1] < height:
            raise ImageError(
                f"the image is {size[0]}x{size[1]}, smaller than the crop of {width}x{height}; "
                "use a smaller --crop_size, or --preprocess resize_and_crop"
            )
        room = (size[0] - width + self.jitter, size[1] - height + self.jitter)
        left, top = (int(share * free) for share, free in zip(place if self.jitter else (0.5, 0.5), room, strict=True))
        return Window(left, top, width, height, mirrored)


def resized(pixels: np.ndarray, size: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """Pixels (H, W, C), or (H, W) class indices with `nearest`, at `size` (width, height), in their own type.

    The filter is the bicubic one of Pillow, which widens where it shrinks (antialiasing). For 8 bits the result is
    Pillow's, give or take one or two, but where it overshoots: that is clipped between the two passes, and Pillow makes
    them in either order. `nearest` takes the pixel under the centre, as Pillow does.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if nearest:
        rows, columns = (_centres(new, old) for new, old in zip(size[::-1], (height, width), strict=True))
        return pixels[rows[:, None], columns]
    exact = pixels if pixels.dtype in (np.uint8, np.float32) else pixels.astype(np.float32)
    # In channels_last memory, strides and all, for which torch has a vectorised kernel for 8 bits.
    image = torch.from_numpy(np.ascontiguousarray(exact))[None].permute(0, 3, 1, 2)
    new = torch.nn.functional.interpolate(image, size[::-1], mode="bicubic", antialias=True)[0]
    out = new.permute(1, 2, 0).contiguous().numpy()
    if pixels.dtype == np.uint16:
        return np.clip(np.rint(out), 0, 65535).astype(np.uint16)
    return out


def _centres(new: int, old: int) -> np.ndarray:
    return np.floor((np.arange(new) + 0.5) * (old / new)).astype(np.intp)
