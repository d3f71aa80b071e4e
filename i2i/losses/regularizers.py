"""Penalties on a discriminator's gradient with respect to images."""

from collections.abc import Callable

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.losses.maps import Logits, maps_of


def check_one_size(what: str, real: Tensor, fake: Tensor) -> None:
    """Raise ValueError where images (N, C, H, W) differ in size, which `what` cannot compare."""
    if real.shape[1:] != fake.shape[1:]:
        sizes = " and ".join(f"{images.shape[-1]}x{images.shape[-2]}" for images in (real, fake))
        raise UserError(f"{what} needs images of one size, not {sizes}: use --preprocess resize_and_crop")


def gradient_penalty(discriminator: Callable[[Tensor], Logits], real: Tensor, fake: Tensor) -> Tensor:
    """Compute the mean of (|gradient| - 1)^2 between real and fake (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    The gradient is that of the discriminator's summed logits at one random point a sample on the line from `real` to
    `fake`, both (N, C, H, W) and taken as constants; its norm is taken over C, H and W. Unweighted, differentiable
    with respect to the discriminator's weights. Raises ValueError for images of different sizes.
    """
    check_one_size("a gradient penalty", real, fake)
    real, fake = real.detach(), fake.detach().to(real.dtype)
    position = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    gradient = _image_gradient(discriminator, torch.lerp(real, fake, position))
    return (gradient.norm(dim=1) - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Logits], real: Tensor) -> Tensor:
    """Compute the mean of |gradient|^2 at real images (Mescheder et al. 2018, arXiv 1801.04406, eq. 9).

    The gradient is that of the discriminator's summed logits at `real` (N, C, H, W), taken as constants; its norm is
    taken over C, H and W. Without the paper's weight of gamma / 2, differentiable with respect to the discriminator's
    weights.
    """
    return _image_gradient(discriminator, real).square().sum(dim=1).mean()


def _image_gradient(discriminator: Callable[[Tensor], Logits], images: Tensor) -> Tensor:
    """Give the gradient of the summed logits for every image, (N, C * H * W), differentiable once more."""
    # In full precision: the square of a gradient in half precision underflows.
    with torch.autocast(images.device.type, enabled=False):
        images = images.detach().requires_grad_()
        summed = torch.stack([logits.sum() for logits in maps_of(discriminator(images))]).sum()
        (gradient,) = torch.autograd.grad(summed, images, create_graph=True)
    return gradient.flatten(1)
