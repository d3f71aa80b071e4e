"""Similarity of an image to its target: L1, PSNR, SSIM and MS-SSIM of images (N, C, H, W) in [-1, 1], as (N,)."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.errors import UserError

SSIM_WINDOW = 11  # pixels, also the shortest side of an image
MS_SSIM_SMALLEST = 176  # the shortest side whose fifth scale still holds the window, as torchmetrics computes it


def l1(fake: Tensor, real: Tensor) -> Tensor:
    """Return the mean absolute difference of each image."""
    return (fake - real).abs().mean(dim=(1, 2, 3))


def psnr(fake: Tensor, real: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB; infinite for equal images."""
    return 10 * torch.log10(2.0**2 / (fake - real).square().mean(dim=(1, 2, 3)))


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Return the SSIM (N,) of images (N, C, H, W) in [-1, 1]; differentiable, also under autocast.

    Images are brought to [0, 1]. The window is a Gaussian of 11x11 with sigma 1.5, the constants are K1 = 0.01 and
    K2 = 0.03, and the mean is over all channels and over the windows that lie inside the image (Wang et al. 2004, doi
    10.1109/TIP.2003.819861, eq. 13).

    Raises:
        UserError: for images with a side under 11 pixels.
    """
    from kornia.metrics import ssim as ssim_map

    height, width = fake.shape[-2:]
    if min(width, height) < SSIM_WINDOW:
        raise UserError(f"ssim needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW}, got {width}x{height}: use l1")
    with torch.autocast(fake.device.type, enabled=False):
        values = ssim_map(_unit(fake), _unit(real), SSIM_WINDOW, max_val=1.0, eps=0.0, padding="valid")
    return values.mean(dim=(1, 2, 3)).to(torch.promote_types(fake.dtype, torch.float32))


def ms_ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Return the SSIM at five scales (Wang et al. 2003, doi 10.1109/ACSSC.2003.1292216, eq. 7), by torchmetrics.

    Negative contrast terms count as 0.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure

    return measure(_unit(fake), _unit(real), data_range=1.0, reduction="none").float()


def _unit(images: Tensor) -> Tensor:
    """Return images in [0, 1] in double precision where the device has it.

    A variance is the small difference of two means, of which single precision leaves four digits in bright images;
    TF32 rounds as coarsely as the constants of SSIM.
    """
    return (images.to(torch.float32 if images.device.type == "mps" else torch.float64) + 1) / 2
