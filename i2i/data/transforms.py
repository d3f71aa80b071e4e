"""From a file's pixels to the training size: an antialiased resize, then random crop and flip by albumentations."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.data.batch import ImageError

PREPROCESSING = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")


class Preprocess:
    """The reference's `--preprocess` choices; every random choice comes from the seed given with the image.

    The resize is Pillow's bicubic, which widens its kernel when it shrinks (antialiasing), as the reference uses it.
    Sizes are (width, height) in pixels.
    """

    def __init__(
        self, preprocess: str, load_size: tuple[int, int], crop_size: tuple[int, int], flip: bool = True
    ) -> None:
        self.preprocess, self.load_size, self.crop_size, self.flip = preprocess, load_size, crop_size, flip
        self.crops = "crop" in preprocess
        self.pipeline = self._build() if self.crops or flip else None

    def _build(self) -> Any:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for updates when imported
        import albumentations

        width, height = self.crop_size
        steps: list[Any] = [albumentations.RandomCrop(height, width)] if self.crops else []
        steps += [albumentations.HorizontalFlip(p=0.5)] if self.flip else []
        return albumentations.Compose(steps, additional_targets={"partner": "image"})

    def __call__(self, image: Image.Image, seed: int, partner: Image.Image | None = None) -> tuple[Tensor, ...]:
        """uint8 (C, H, W) of `image`, and of `partner`, which gets the same size and the same geometry.

        Raises:
            ImageError: if the image is smaller than the crop.
        """
        images = [self.resize(picture) for picture in (image, partner) if picture is not None]
        arrays = [_channels_last(picture) for picture in images]
        if self.crops:
            self._check_size(images[0])
        if self.pipeline is not None:
            # Not set_random_seed, which gives each step a generator of its own with one and the same seed: whether
            # an image is flipped would then follow from where it was cropped.
            self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
            names = ("image", "partner")[: len(arrays)]
            out = self.pipeline(**dict(zip(names, arrays, strict=True)))
            arrays = [out[name] for name in names]
        return tuple(torch.from_numpy(np.array(array.transpose(2, 0, 1), order="C")) for array in arrays)

    def resize(self, image: Image.Image) -> Image.Image:
        """The deterministic part: what `--load_size` asks for."""
        if self.preprocess == "resize_and_crop":
            return _resize(image, self.load_size)
        if self.preprocess.startswith("scale_width"):
            width, crop_height = self.load_size[0], self.crop_size[1]
            if image.width == width and image.height >= crop_height:
                return image
            return _resize(image, (width, int(max(width * image.height / image.width, crop_height))))
        return image

    def _check_size(self, image: Image.Image) -> None:
        width, height = self.crop_size
        if image.width < width or image.height < height:
            raise ImageError(
                f"the image is {image.width}x{image.height}, smaller than the crop of {width}x{height}; "
                "use a smaller --crop_size, or --preprocess resize_and_crop"
            )


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _channels_last(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array
