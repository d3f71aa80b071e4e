"""Random changes on the device, on whole batches, by kornia."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from i2i.data.augment import COLORING, GEOMETRIC, blur_size, colored_channels, is_neutral, matrix, parameter
from i2i.data.batch import Batch
from i2i.data.domain import Domain


def augmented(batch: Batch, domains: tuple[Sequence[Domain], Sequence[Domain]]) -> Batch:
    """The batch with its images of a and b, which are of `domains`, as `changes_a` and `changes_b` say."""
    if batch.a is not None and batch.changes_a is not None:
        batch = dataclasses.replace(batch, a=augment_batch(batch.a, batch.changes_a, domains[0]))
    if batch.b is not None and batch.changes_b is not None:
        batch = dataclasses.replace(batch, b=augment_batch(batch.b, batch.changes_b, domains[1]))
    return batch


def augment_batch(images: Tensor, parameters: Tensor, domains: Sequence[Domain]) -> Tensor:
    """Do what `augment.draw` has drawn for each sample to images (N, C, H, W) in [-1, 1]; their type and format stay.

    Args:
        images: on any device; a channel of a label map holds -1 and 1, and so it does afterwards.
        parameters: (N, P), on the CPU, where they are looked at without waiting for the device.
        domains: whose channels, one after the other, those of the images are.
    """
    drawn = parameters.cpu().numpy()
    parts = images.float().split([domain.channels for domain in domains], dim=1)
    changed = torch.cat([_augment(part, drawn, domain) for part, domain in zip(parts, domains, strict=True)], dim=1)
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return changed.to(images.dtype).contiguous(memory_format=memory_format)


def _augment(images: Tensor, drawn: np.ndarray, domain: Domain) -> Tensor:
    images = _warp(images, drawn, "nearest" if domain.is_labels else "bilinear")
    colored = colored_channels(domain)
    if colored == 0 or is_neutral(drawn, *COLORING):
        return images
    unit = (images[:, :colored] + 1) / 2
    changed = _blur(_recolor(unit, drawn, in_color=domain.channels == 3), drawn)
    return torch.cat([changed * 2 - 1, images[:, colored:]], dim=1)


def _warp(images: Tensor, drawn: np.ndarray, mode: str) -> Tensor:
    if is_neutral(drawn, *GEOMETRIC):
        return images
    from kornia.geometry.transform import warp_affine

    height, width = images.shape[-2:]
    where = _on(images, matrix(drawn, width, height)[:, :2])
    return warp_affine(images, where, (height, width), mode=mode, padding_mode="reflection", align_corners=True)


def _recolor(unit: Tensor, drawn: np.ndarray, in_color: bool) -> Tensor:
    from kornia.enhance import adjust_hue, adjust_saturation_with_gray_subtraction

    brightness, contrast, saturation, hue = (
        _on(unit, parameter(drawn, name)) for name in ("brightness", "contrast", "saturation", "hue")
    )
    # Of kornia's two steps, adjust_contrast and adjust_brightness, the first would clip what the second brings back.
    unit = torch.addcmul((brightness - contrast / 2)[:, None, None, None], unit, (1 + contrast)[:, None, None, None])
    unit = unit.clamp(0, 1)
    if in_color and not is_neutral(drawn, "saturation"):
        unit = adjust_saturation_with_gray_subtraction(unit, 1 + saturation)
    return adjust_hue(unit, hue * (2 * math.pi)) if in_color and not is_neutral(drawn, "hue") else unit


def _blur(unit: Tensor, drawn: np.ndarray) -> Tensor:
    if is_neutral(drawn, "blur"):
        return unit
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d

    # Not gaussian_blur2d, which reads back from the device whether every sigma is positive.
    sigma = _on(unit, parameter(drawn, "blur")).clamp(min=1e-3)[:, None]  # kornia before 0.9 divides by it
    kernel = get_gaussian_kernel1d(blur_size(unit.shape[-1], unit.shape[-2]), sigma)
    return filter2d_separable(unit, kernel, kernel, border_type="reflect")


def _on(images: Tensor, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(images.device, non_blocking=True)
