"""Augment whole batches on the device, with kornia."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from i2i.data.augment import COLORING, GEOMETRIC, blur_size, colored_channels, is_neutral, matrix, parameter
from i2i.data.batch import Batch, with_tensors
from i2i.data.domain import Domain


def augmented(batch: Batch, domains: Mapping[str, Sequence[Domain]]) -> Batch:
    """Return the batch with `batch.changes` applied; `domains` tells what the channels of each tensor hold."""
    if not batch.changes:
        return batch
    tensors = batch.tensors()
    changed = {name: augment_batch(tensors[name], drawn, domains[name]) for name, drawn in batch.changes.items()}
    return with_tensors(batch, changed)


def augment_batch(images: Tensor, parameters: np.ndarray, domains: Sequence[Domain]) -> Tensor:
    """Apply what `augment.draw` has drawn to images (N, C, H, W) in [-1, 1]; dtype and memory format stay.

    Args:
        images: on any device. Channels of label maps hold -1 and 1 before and after.
        parameters: (N, P), on the CPU, where reading them does not wait for the device.
        domains: the images whose channels, one after the other, are those of `images`.
    """
    parts = images.float().split([domain.channels for domain in domains], dim=1)
    changed = torch.cat(
        [_augment(part, parameters, domain) for part, domain in zip(parts, domains, strict=True)], dim=1
    )
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
    # kornia's adjust_contrast would clip values that its adjust_brightness brings back into the range.
    unit = torch.addcmul((brightness - contrast / 2)[:, None, None, None], unit, (1 + contrast)[:, None, None, None])
    unit = unit.clamp(0, 1)
    if in_color and not is_neutral(drawn, "saturation"):
        unit = adjust_saturation_with_gray_subtraction(unit, 1 + saturation)
    return adjust_hue(unit, hue * (2 * math.pi)) if in_color and not is_neutral(drawn, "hue") else unit


def _blur(unit: Tensor, drawn: np.ndarray) -> Tensor:
    if is_neutral(drawn, "blur"):
        return unit
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d

    # Not gaussian_blur2d, which waits for the device to check that every sigma is positive.
    sigma = _on(unit, parameter(drawn, "blur")).clamp(min=1e-3)[:, None]  # kornia before 0.9 divides by it
    kernel = get_gaussian_kernel1d(blur_size(unit.shape[-1], unit.shape[-2]), sigma)
    return filter2d_separable(unit, kernel, kernel, border_type="reflect")


def _on(images: Tensor, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(images.device, non_blocking=True)
