"""Resize images to the load size, and crop and mirror them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from i2i.data.batch import ImageError

PREPROCESSING = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")


class Window(NamedTuple):
    """A crop in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Return the crop of `pixels` (H, W, ...)."""
        part = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        return torch.from_numpy(part).flip(1).numpy() if self.mirrored else part  # NumPy takes ten times as long


class Preprocess(NamedTuple):
    """Resizing and cropping to the training size: one of the reference's `--preprocess` choices.

    Sizes are (width, height) in pixels. Without `jitter`, the crop is central instead of random.
    """

    preprocess: str
    load_size: tuple[int, int]
    crop_size: tuple[int, int]
    flip: bool = True
    jitter: bool = True

    def at_least(self) -> tuple[int, int] | None:
        """Return the size below which no image may be decoded at a reduced scale; None requires full resolution."""
        return self.load_size if self.preprocess == "resize_and_crop" else None  # else the size depends on the file's

    def target(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size to which an image of `size` is resized."""
        width, height = size
        if self.preprocess == "resize_and_crop":
            return self.load_size
        if self.preprocess.startswith("scale_width"):
            wanted, least = self.load_size[0], self.crop_size[1]
            return (wanted, height if width == wanted and height >= least else int(max(wanted * height / width, least)))
        return size

    def window(self, size: tuple[int, int], random: np.random.Generator) -> Window:
        """Return the crop of an image of `size`. It always draws the same count of random numbers.

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
    """Resize pixels (H, W, C), or class indices (H, W) with `nearest`, to `size` (width, height); the dtype stays.

    The filter is Pillow's bicubic one, which is antialiased. 8-bit results differ from Pillow's by at most 2, except
    where the filter overshoots: values are clipped between the two passes, which Pillow makes in either order.
    `nearest` takes the pixel under the centre, as Pillow does.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if nearest:
        rows, columns = (
            np.floor((np.arange(new) + 0.5) * (old / new)).astype(np.intp)
            for new, old in zip(size[::-1], (height, width), strict=True)
        )
        return pixels[rows[:, None], columns]
    exact = pixels if pixels.dtype in (np.uint8, np.float32) else pixels.astype(np.float32)
    # channels_last: torch has a vectorised kernel for it.
    image = torch.from_numpy(np.ascontiguousarray(exact))[None].permute(0, 3, 1, 2)
    new = torch.nn.functional.interpolate(image, size[::-1], mode="bicubic", antialias=True)[0]
    out = new.permute(1, 2, 0).contiguous().numpy()
    if pixels.dtype == np.uint16:
        return np.clip(np.rint(out), 0, 65535).astype(np.uint16)
    return out
