"""Pairs made from single images while they are loaded: the input of a task follows from its output."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from i2i.data.domain import FULL_RANGE, Domain
from i2i.data.images.channels import to_channels
from i2i.data.transforms import resized
from i2i.errors import UserError

# Linear sRGB to CIE XYZ over the white of D65, transposed; the numbers of kornia and scikit-image.
RGB_TO_XYZ = np.array(
    [[0.412453, 0.212671, 0.019334], [0.357580, 0.715160, 0.119193], [0.180423, 0.072169, 0.950227]], np.float32
) / np.array([0.95047, 1.0, 1.08883], np.float32)
HOLE = (0.25, 0.5)  # sides of a hole, in those of the image
OPAQUE = 0.98  # of full alpha: resizing rounds


@dataclasses.dataclass(frozen=True)
class Derivation:
    """Make pairs (a, b) of images of the domain `image`; b is the image unless a subclass changes that.

    Pixels are (H, W, C), uint8, uint16 or float32, and a and b are as high and wide as the image.
    """

    image: Domain
    scale: int
    takes: ClassVar[tuple[int, ...]] = ()  # the channels that images may have; empty: any

    @property
    def input_channels(self) -> int:
        """Return the number of channels to read of a file that goes to `input`."""
        return self.image.channels

    def domains(self) -> tuple[Domain, Domain]:
        """Those of a and b."""
        return self.image, self.image

    def pair(self, pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The pair that an image becomes; what is left to chance comes from `random`."""
        return self.input(pixels), pixels

    def input(self, pixels: np.ndarray) -> np.ndarray:
        """a of an image that is an input already, of `input_channels`."""
        raise NotImplementedError


class Colorization(Derivation):
    """a is the L and b the ab of CIE Lab, as L / 50 - 1 and ab / 110 (Zhang et al. 2016, the reference's scales)."""

    takes = (3,)

    def domains(self) -> tuple[Domain, Domain]:
        return Domain(1, "lightness", -1, 1), Domain(2, "chroma", -1, 1)

    def pair(self, pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        lab = rgb_to_lab(_unit(pixels, self.image))
        return lab[:, :, :1] / 50 - 1, lab[:, :, 1:] / 110

    def input(self, pixels: np.ndarray) -> np.ndarray:
        lab = rgb_to_lab(_unit(pixels, self.image))
        return lab[:, :, :1] / 50 - 1


class Grey(Derivation):
    """a is the image in shades of grey."""

    takes = (1, 3, 4)

    def domains(self) -> tuple[Domain, Domain]:
        return self.image._replace(channels=1, alpha=False), self.image

    def input(self, pixels: np.ndarray) -> np.ndarray:
        return to_channels(pixels, 1)


class Edges(Derivation):
    """a has the image's edges in black on white, 8 bits (Canny 1986; blurred by sigma 1, thresholds 100 and 200)."""

    takes = (1, 3, 4)
    input_channels = 1  # a drawing

    def domains(self) -> tuple[Domain, Domain]:
        return Domain(1), self.image

    def pair(self, pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        smooth = cv2.GaussianBlur(self.input(to_channels(pixels, 1)), (0, 0), 1.0)
        return 255 - cv2.Canny(smooth, 100, 200)[:, :, None], pixels

    def input(self, pixels: np.ndarray) -> np.ndarray:
        return pixels if pixels.dtype == np.uint8 else (_unit(pixels, self.image) * 255).round().astype(np.uint8)


class Downscale(Derivation):
    """a is the image `scale` times smaller and enlarged again, both bicubic; the shrinking is antialiased."""

    def pair(self, pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        height, width = pixels.shape[:2]
        small = resized(pixels, (max(1, round(width / self.scale)), max(1, round(height / self.scale))))
        return resized(small, (width, height)), pixels

    def input(self, pixels: np.ndarray) -> np.ndarray:
        """The small image `pixels` enlarged `scale` times."""
        height, width = pixels.shape[:2]
        return resized(pixels, (width * self.scale, height * self.scale))


class Inpainting(Derivation):
    """a is the image with a rectangle cut out at random, and its alpha channel: mid-range and transparent in the hole.

    A side of the hole is 25 to 50 % of the image's (after Pathak et al. 2016).
    """

    @property
    def input_channels(self) -> int:
        if self.image.kind not in FULL_RANGE:
            return self.image.channels  # files of floats have no alpha
        return 4 if self.image.channels == 1 else self.image.channels + 1  # any other can be had as RGBA

    def domains(self) -> tuple[Domain, Domain]:
        return self.image._replace(channels=self.image.channels + 1, alpha=True), self.image

    def pair(self, pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        height, width = pixels.shape[:2]
        rows, columns = _stretch(height, random), _stretch(width, random)
        hole = np.zeros((height, width, 1), bool)
        hole[rows, columns] = True
        return self._cut(pixels, hole), pixels

    def input(self, pixels: np.ndarray) -> np.ndarray:
        """The image of `pixels` with a hole wherever it is not opaque: resizing mixes hidden colours into a rim."""
        if pixels.shape[2] == self.image.channels:
            return self._cut(pixels, np.zeros((*pixels.shape[:2], 1), bool))
        opaque = _range(pixels, self.image)[1]
        return self._cut(to_channels(pixels[:, :, :-1], self.image.channels), pixels[:, :, -1:] < OPAQUE * opaque)

    def _cut(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        low, high = _range(pixels, self.image)
        kind = pixels.dtype.type
        filled = np.where(hole, kind((low + high) / 2), pixels)
        return np.concatenate([filled, np.where(hole, kind(low), kind(high))], axis=2)


BY_NAME: dict[str, type[Derivation]] = {
    "colorization": Colorization,
    "grey": Grey,
    "edges": Edges,
    "downscale": Downscale,
    "inpainting": Inpainting,
}
DERIVATIONS = ("none", *BY_NAME)


def derivation(name: str, scale: int, image: Domain) -> Derivation:
    """The derivation `name` of images of the domain `image`.

    Raises:
        ValueError: if it takes no images of so many channels.
    """
    made = BY_NAME[name](image, scale)
    if made.takes and image.channels not in made.takes:
        raise UserError(
            f"--derive {name} takes images of {' or '.join(map(str, made.takes))} channels, not {image.channels}"
        )
    return made


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (H, W, 3) in [0, 1] as CIE Lab under D65, float32: L in [0, 100], a and b within +-108.

    cv2's own looks L up in a coarse table and errs by up to 0.2, more than a step of 8 bits.
    """
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear.astype(np.float32) @ RGB_TO_XYZ
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 4 / 29), 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


def lab_to_rgb(lightness: Tensor, chroma: Tensor) -> Tensor:
    """The two halves of a colorization (N, 1, H, W) and (N, 2, H, W) as RGB (N, 3, H, W), all in [-1, 1]."""
    from kornia.color import lab_to_rgb as kornia_lab_to_rgb

    return kornia_lab_to_rgb(torch.cat([(lightness + 1) * 50, chroma * 110], dim=1)) * 2 - 1


def _stretch(length: int, random: np.random.Generator) -> slice:
    """From where to where a hole goes along a side of `length` pixels."""
    size = max(1, round(length * random.uniform(*HOLE)))
    start = int(random.integers(length - size + 1))
    return slice(start, start + size)


def _unit(pixels: np.ndarray, image: Domain) -> np.ndarray:
    """Pixels of a domain in [0, 1], float32."""
    low, high = _range(pixels, image)
    return np.clip((pixels.astype(np.float32) - low) / (high - low), 0, 1)


def _range(pixels: np.ndarray, image: Domain) -> tuple[float, float]:
    actual = image.of_kind(pixels.dtype.name) or image
    return actual.low, actual.high
