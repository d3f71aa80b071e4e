"""SSIM, for the metric and for the distance of the same name alike."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.errors import UserError

SSIM_WINDOW = 11  # pixels, also the smallest side of an image


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Return the SSIM (N,) of images (N, C, H, W) in [-1, 1]; differentiable, also under autocast.

    Images are brought to [0, 1]. The window is a Gaussian of 11x11 with sigma 1.5, the constants are K1 = 0.01 and
    K2 = 0.03, and the mean is over all channels and over the windows that lie inside the image (Wang et al. 2004, doi
    10.1109/TIP.2003.819861, eq. 13).

    Raises:
        UserError: for images with a side under 11 pixels.
    """
    from kornia.metrics import ssim as ssim_map

    check_ssim_size(fake.shape[-1], fake.shape[-2])
    # A variance is the small difference of two means, of which single precision leaves four digits in bright images.
    exact = torch.float32 if fake.device.type == "mps" else torch.float64
    with torch.autocast(fake.device.type, enabled=False):
        unit_fake, unit_real = ((images.to(exact) + 1) / 2 for images in (fake, real))
        values = ssim_map(unit_fake, unit_real, SSIM_WINDOW, max_val=1.0, eps=0.0, padding="valid")
    return values.mean(dim=(1, 2, 3)).to(torch.promote_types(fake.dtype, torch.float32))


def check_ssim_size(width: int, height: int) -> None:
    """Raise UserError for images that are smaller than the window."""
    if min(width, height) < SSIM_WINDOW:
        smallest = f"{SSIM_WINDOW}x{SSIM_WINDOW}"
        raise UserError(f"ssim needs images of at least {smallest}, got {width}x{height}: use l1 for these")
