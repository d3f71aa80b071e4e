"""Augment single images in the worker processes, with albumentations."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2i.data.augment import COLORING, GEOMETRIC, blur_size, colored_channels, is_neutral, matrix, parameter
from i2i.data.domain import FULL_RANGE, Domain
from i2i.errors import UserError


def augment(pixels: np.ndarray, parameters: np.ndarray, domain: Domain) -> np.ndarray:
    """Apply what `augment.draw` has drawn to pixels (H, W, C), or to the class indices (H, W) of a label map.

    Shape and dtype stay. Colours are clipped to the range of `domain`.
    """
    colored = colored_channels(domain)
    if not domain.is_labels and (domain.low, domain.high) != FULL_RANGE.get(domain.kind):
        # The device gets clipped values as well.
        pixels = np.clip(pixels, domain.low, domain.high).astype(pixels.dtype, copy=False)
    pixels = _warp(pixels, parameters, nearest=domain.is_labels)
    if colored == 0 or is_neutral(parameters, *COLORING):
        return pixels
    span = domain.high - domain.low
    unit = (pixels[..., :colored].astype(np.float32) - domain.low) / span
    changed = _blur(_recolor(unit, parameters, in_color=domain.channels == 3), parameters) * span + domain.low
    if pixels.dtype != np.float32:
        changed = np.rint(changed)
    return np.concatenate([changed.astype(pixels.dtype), pixels[..., colored:]], axis=-1)


def _warp(pixels: np.ndarray, parameters: np.ndarray, nearest: bool) -> np.ndarray:
    if is_neutral(parameters, *GEOMETRIC):
        return pixels
    _keep_offline()
    import cv2
    from albumentations.augmentations.geometric.functional import warp_affine

    height, width = pixels.shape[:2]
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    where = matrix(parameters, width, height)
    return warp_affine(pixels, where, interpolation, 0, cv2.BORDER_REFLECT_101, (height, width))


def _recolor(unit: np.ndarray, parameters: np.ndarray, in_color: bool) -> np.ndarray:
    _keep_offline()
    from albumentations.augmentations.pixel.functional import adjust_hue_torchvision, adjust_saturation_torchvision

    brightness, contrast, saturation, hue = (
        float(parameter(parameters, name)) for name in ("brightness", "contrast", "saturation", "hue")
    )
    # albucore's multiply_add is ten times slower on floats.
    unit = np.clip(unit * np.float32(1 + contrast) + np.float32(brightness - contrast / 2), 0, 1)
    if in_color and saturation:
        unit = adjust_saturation_torchvision(unit, 1 + saturation)
    return adjust_hue_torchvision(unit, hue) if in_color and hue else unit


def _blur(unit: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    if is_neutral(parameters, "blur"):
        return unit
    import cv2

    height, width, channels = unit.shape
    side = blur_size(width, height)
    sigma = float(parameter(parameters, "blur"))
    blurred = cv2.GaussianBlur(unit, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(height, width, channels)


def _keep_offline() -> None:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for updates


class UserPipeline:
    """An albumentations pipeline that the user has saved as YAML; it changes all images of a sample alike."""

    def __init__(self, path: str | Path) -> None:
        """Load the pipeline. Raises UserError if the file is missing or holds no pipeline."""
        _keep_offline()
        import albumentations

        self.path = path
        try:
            loaded: Any = albumentations.load(path, data_format="yaml")
        except Exception as error:  # it raises almost any type on files of other content
            raise UserError(
                f"--augment_file {path} cannot be used: {_reason(error)}; expected is what "
                'albumentations.save(pipeline, path, data_format="yaml") writes'
            ) from None
        self.pipeline = albumentations.Compose([loaded])

    def __call__(self, images: Sequence[np.ndarray], are_labels: Sequence[bool], seed: int) -> list[np.ndarray]:
        """Return changed images (H, W, C) and label maps (H, W), all of one size; `seed` alone decides the changes.

        Raises:
            UserError: if the pipeline fails on the images, or changes their dtype or channels.
        """
        kinds = ["mask" if is_labels else "image" for is_labels in are_labels]
        names = _names(kinds)
        given = dict(zip(names, images, strict=True))
        given.setdefault("image", np.zeros((*images[0].shape[:2], 3), np.uint8))  # the size is read from it
        self.pipeline.add_targets(dict(zip(names, kinds, strict=True)))
        # set_random_seed would give every step a generator with the same seed.
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            changed = self.pipeline(**given)
        except Exception as error:  # every transform raises its own types
            raise UserError(f"--augment_file {self.path} fails on the images: {_reason(error)}") from None
        return self._checked([changed[name] for name in names], images)

    def _checked(self, changed: Sequence[Any], images: Sequence[np.ndarray]) -> list[np.ndarray]:
        for new, old in zip(changed, images, strict=True):
            kinds = [f"{image.dtype} {tuple(image.shape[2:])}" for image in (new, old)]
            if kinds[0] != kinds[1]:
                raise UserError(
                    f"--augment_file {self.path} makes {kinds[0]} of {kinds[1]} (type and channels): leave out what "
                    "normalises, converts to tensors or changes the channels"
                )
        return list(changed)


def _names(kinds: Sequence[str]) -> list[str]:
    names = [f"{kind}_{number}" for number, kind in enumerate(kinds)]
    if "image" in kinds:
        names[kinds.index("image")] = "image"
    return names


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing or unknown"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split("For further information")[0].split())
