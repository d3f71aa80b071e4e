"""Metrics of an image and its truth, one value an image.

L1, SSIM and LPIPS equal the distances of these names that a model trains with. MS-SSIM is torchmetrics'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.lpips import LPIPS, check_lpips_size
from i2i.metrics.ssim import check_ssim_size, ssim

MS_SSIM_SMALLEST = 176  # from where on the window fits into the fifth scale, as torchmetrics counts


def paired_values(names: Iterable[str], fake: Tensor, real: Tensor, lpips: LPIPS | None = None) -> dict[str, Tensor]:
    """Compare images (N, C, H, W) in [-1, 1] one by one with their truth; gives values (N,) on the CPU by name.

    `names` are the paired ones of `METRICS`; `lpips` needs its network. The PSNR of equal images is infinite, and so is
    a mean with it: where that may be, take the median, or the PSNR of the mean square.

    Raises:
        ValueError: for images of different sizes or channels, or that are too small for a metric.
    """
    names = tuple(names)
    if fake.shape != real.shape:
        raise UserError(f"paired metrics compare images of one size, not {_shape(fake)} with {_shape(real)}")
    if "lpips" in names and lpips is None:
        raise UserError("lpips needs its network: give lpips=load_lpips()")
    check_paired(names, fake.shape[-1], fake.shape[-2], lpips.net if lpips else "alex")
    with torch.no_grad(), torch.autocast(fake.device.type, enabled=False):  # a training may be around
        values = {name: PAIRED[name](fake.float(), real.float()) for name in names if name in PAIRED}
        if lpips is not None and "lpips" in names:
            values["lpips"] = lpips(fake, real)
    return {name: values[name].cpu() for name in names}


def check_paired(names: Iterable[str], width: int, height: int, lpips_net: str = "alex") -> None:
    """Raise ValueError for images that are too small for one of the metrics `names`."""
    names = tuple(names)
    if "ssim" in names:
        check_ssim_size(width, height)
    if "ms_ssim" in names and min(width, height) < MS_SSIM_SMALLEST:
        smallest = f"{MS_SSIM_SMALLEST}x{MS_SSIM_SMALLEST}"
        raise UserError(f"ms_ssim needs images of at least {smallest}, got {width}x{height}: use ssim for these")
    if "lpips" in names:
        check_lpips_size(lpips_net, width, height)


def _l1(fake: Tensor, real: Tensor) -> Tensor:
    return (fake - real).abs().mean(dim=(1, 2, 3))


def _psnr(fake: Tensor, real: Tensor) -> Tensor:
    return 10 * torch.log10(2.0**2 / (fake - real).square().mean(dim=(1, 2, 3)))


def _ms_ssim(fake: Tensor, real: Tensor) -> Tensor:
    """SSIM at five scales (Wang et al. 2003, doi 10.1109/ACSSC.2003.1292216, eq. 7); negative contrasts count as 0."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    # In double precision TF32, whose rounding is as large as the constants of SSIM, does not matter.
    exact = torch.float32 if fake.device.type == "mps" else torch.float64
    unit_fake, unit_real = ((images.to(exact) + 1) / 2 for images in (fake, real))
    return multiscale_structural_similarity_index_measure(
        unit_fake, unit_real, data_range=1.0, reduction="none"
    ).float()


PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": _l1, "psnr": _psnr, "ssim": ssim, "ms_ssim": _ms_ssim}


def _shape(images: Tensor) -> str:
    count, channels, height, width = images.shape
    return f"{count} of {width}x{height} in {channels} channel{'s' * (channels > 1)}"
