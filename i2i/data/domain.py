"""The meaning of a domain's pixel values: their kind, their range, and conversion to [-1, 1] and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.errors import UserError

VOID = 255  # in a label map, by custom: no class
FULL_RANGE = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}


class Domain(NamedTuple):
    """One image of a sample: its channels, how files hold it, and which values go to -1 and to 1.

    `kind` is uint8, uint16 or float32; `labels`, a map of class indices that becomes one channel a class; or
    `lightness` and `chroma`, the L and the ab of CIE Lab (with ranges of their own, and no file). `alpha` tells whether
    the last channel is transparency. `high` is the number of the last class in files of labels: 255 for masks that hold
    0 and 255.
    """

    channels: int = 3
    kind: str = "uint8"
    low: float = 0.0
    high: float = 255.0
    alpha: bool = False

    @classmethod
    def stored(cls, parts: Sequence[Any]) -> Domain:
        """From a checkpoint; where `alpha` is not told, the last of 2 or 4 channels of whole numbers is alpha."""
        domain = cls(*parts)
        guessed = domain.channels in (2, 4) and domain.kind in FULL_RANGE
        return domain._replace(alpha=guessed) if len(parts) < len(cls._fields) else domain

    @property
    def is_mask(self) -> bool:
        """True for two classes whose numbers in files are 0 and 255."""
        return self.is_labels and (self.channels, self.high) == (2, VOID)

    @property
    def is_labels(self) -> bool:
        """True for label maps, which are neither interpolated nor changed in colour."""
        return self.kind == "labels"

    @property
    def is_picture(self) -> bool:
        """True if an 8-bit PNG holds the values without loss."""
        return self.kind == "uint8" and self.in_png and (self.low, self.high) == FULL_RANGE["uint8"]

    @property
    def in_png(self) -> bool:
        """True if a PNG can have this number of channels."""
        return self.channels in (1, 3) or (self.channels == 4 and self.alpha)

    def of_kind(self, kind: str) -> Domain | None:
        """The same for files of another kind, where files of 8 and 16 bits are mixed; None if no range is known."""
        if kind == self.kind or self.kind not in FULL_RANGE or (self.low, self.high) != FULL_RANGE[self.kind]:
            return self
        return Domain(self.channels, kind, *FULL_RANGE[kind], self.alpha) if kind in FULL_RANGE else None

    def to_tensor(self, pixels: np.ndarray) -> Tensor:
        """Pixels (H, W, C), or class indices (H, W), as (C, H, W): uint8 where [0, 255] is the range, else in [-1, 1].

        Values outside the range are clipped; a class index outside the classes belongs to none of them.
        """
        if self.is_labels:
            classes = np.arange(self.channels)
            return torch.from_numpy((pixels.reshape(*pixels.shape[:2], 1) == classes).astype(np.uint8) * 255).permute(
                2, 0, 1
            )
        if pixels.dtype == np.uint8 and (self.low, self.high) == FULL_RANGE["uint8"]:
            return torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)
        unit = (pixels.astype(np.float32) - self.low) * (2 / (self.high - self.low)) - 1
        return torch.from_numpy(np.clip(unit, -1, 1, dtype=np.float32)).permute(2, 0, 1)


def held_by(pixels: np.ndarray, domain: Domain, where: str) -> Domain:
    """`domain` as an image has it, which may have another depth than the others; `where` that is, for errors.

    Raises:
        ValueError: for floats among files of 8 or 16 bits, whose range is not known, and for a class that is none.
    """
    if domain.is_labels:
        if (beyond := pixels[((pixels < 0) | (pixels >= domain.channels)) & (pixels != VOID)]).size:
            raise UserError(
                f"{where} has class {beyond[0]}, and by --in_classes or --out_classes they go from 0 to "
                f"{domain.channels - 1}"
            )
        return domain
    actual = domain.of_kind(pixels.dtype.name)
    if actual is None:
        raise UserError(
            f"{where} holds {pixels.dtype} where {domain.kind} is expected: --in_range or --out_range tells the range"
        )
    return actual


def classes_of_mask(stored: np.ndarray) -> np.ndarray:
    """Return the class indices (H, W) of a mask that holds 0 and 255; other numbers stay."""
    return np.where(stored == VOID, 1, stored).astype(stored.dtype)


def merged(images: Sequence[Tensor]) -> Tensor:
    """Images (C, H, W) as one, channel after channel: uint8 if they all are, else float in [-1, 1]."""
    if len(images) == 1:
        return images[0]
    if any(image.dtype != torch.uint8 for image in images):
        images = [image.float().div(127.5).sub(1) if image.dtype == torch.uint8 else image for image in images]
    return torch.cat(list(images))
