"""Penalties on a discriminator."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Compute the mean of (|gradient| - 1)^2 between real and fake (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    The gradient is that of the discriminator's summed logits at one random point a sample on the line from `real` to
    `fake`, both (N, C, H, W) and taken as constants; its norm is taken over C, H and W. Unweighted, differentiable
    with respect to the discriminator's weights.
    """
    position = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    between = torch.lerp(real.detach(), fake.detach(), position).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
