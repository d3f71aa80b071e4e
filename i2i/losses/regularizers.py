"""Penalties on a discriminator."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Compute the mean of (|gradient| - 1)^2 between real and fake (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    The gradient is that of the discriminator's summed logits at one random point a sample on the line from `real` to
    `fake`, both (N, C, H, W) and taken as constants; its norm is taken over C, H and W. Unweighted, differentiable
    with respect to the discriminator's weights. Raises ValueError for images of different sizes.
    """
    if real.shape[1:] != fake.shape[1:]:
        sizes = " and ".join(f"{images.shape[-1]}x{images.shape[-2]}" for images in (real, fake))
        raise ValueError(f"a gradient penalty needs images of one size, not {sizes}: use --preprocess resize_and_crop")
    # In full precision: the square of a gradient in half precision underflows.
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.detach(), fake.detach().to(real.dtype)
        position = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
        between = torch.lerp(real, fake, position).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
