"""GAN objectives: what the generator and the discriminator minimise, as pairs of functions of logits of any shape."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class GeneratorLoss(Protocol):
    def __call__(self, fake: Tensor, real: Tensor | None = None) -> Tensor: ...


class DiscriminatorLoss(Protocol):
    def __call__(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]: ...


class Objective(NamedTuple):
    """A pair of losses and what the discriminator needs besides.

    `discriminator` gives the losses on real and on fake images apart, neither halved. `gradient_penalty` is the weight
    of that penalty, `weight_clip` the bound to which the discriminator's weights are clipped after each of its steps.
    """

    generator: GeneratorLoss
    discriminator: DiscriminatorLoss
    gradient_penalty: float = 0.0
    weight_clip: float | None = None


def vanilla_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute -log D(fake), the non-saturating loss (Goodfellow et al. 2014, arXiv 1406.2661, section 3)."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def vanilla_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute -log D(real) and -log(1 - D(fake)) (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1)."""
    real_loss = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return real_loss, F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def lsgan_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute (D(fake) - 1)^2 (Mao et al. 2017, arXiv 1611.04076, eq. 9 without its half)."""
    return F.mse_loss(fake, torch.ones_like(fake))


def lsgan_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute (D(real) - 1)^2 and D(fake)^2 (Mao et al. 2017, arXiv 1611.04076, eq. 9 without its halves)."""
    return F.mse_loss(real, torch.ones_like(real)), F.mse_loss(fake, torch.zeros_like(fake))


def hinge_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute max(0, 1 - D(real)) and max(0, 1 + D(fake)) (Lim & Ye 2017, arXiv 1705.02894)."""
    return F.relu(1 - real).mean(), F.relu(1 + fake).mean()


def critic_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute -D(fake) (Arjovsky et al. 2017, arXiv 1701.07875, algorithm 1), also the generator's part of hinge."""
    return -fake.mean()


def critic_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute -D(real) and D(fake) (Arjovsky et al. 2017, arXiv 1701.07875, eq. 3)."""
    return -real.mean(), fake.mean()


# weight_clip: Arjovsky et al. 2017, algorithm 1; gradient_penalty: Gulrajani et al. 2017, arXiv 1704.00028, section 4
GAN_OBJECTIVES: dict[str, Objective] = {
    "vanilla": Objective(vanilla_generator, vanilla_discriminator),
    "lsgan": Objective(lsgan_generator, lsgan_discriminator),
    "hinge": Objective(critic_generator, hinge_discriminator),
    "wgan": Objective(critic_generator, critic_discriminator, weight_clip=0.01),
    "wgangp": Objective(critic_generator, critic_discriminator, gradient_penalty=10.0),
}
