"""GAN objectives: what the generator and the discriminator minimise, as pairs of functions of logits of any shape."""

import math
from functools import partial
from typing import NamedTuple, Protocol, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.config import check_choice
from i2i.errors import UserError


class GeneratorLoss(Protocol):
    def __call__(self, fake: Tensor, real: Tensor | None = None) -> Tensor: ...


class DiscriminatorLoss(Protocol):
    def __call__(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]: ...


class Objective(NamedTuple):
    """A pair of losses and what the discriminator needs besides.

    `discriminator` gives the losses on real and on fake images apart, neither halved. `gradient_penalty` is the weight
    of that penalty, `weight_clip` the bound to which the discriminator's weights are clipped after each of its steps.
    The generator of a `relativistic` objective needs the real logits too, and raises ValueError without them. Where
    the discriminator judges images one by one, `boundary` is what it says of those that may be either.
    """

    generator: GeneratorLoss
    discriminator: DiscriminatorLoss
    gradient_penalty: float = 0.0
    weight_clip: float | None = None
    relativistic: bool = False
    boundary: float = 0.0


def minimax_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute log(1 - D(fake)), which saturates where D wins (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1)."""
    return -F.softplus(fake).mean()


def vanilla_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute -log D(fake), the non-saturating loss (Goodfellow et al. 2014, arXiv 1406.2661, section 3)."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def vanilla_discriminator(
    real: Tensor, fake: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute -log D(real) and -log(1 - D(fake)) (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1).

    With other targets than 1 and 0: the cross-entropies of D(real) and D(fake) with these.
    """
    real_loss = F.binary_cross_entropy_with_logits(real, torch.full_like(real, real_target))
    return real_loss, F.binary_cross_entropy_with_logits(fake, torch.full_like(fake, fake_target))


def lsgan_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute (D(fake) - 1)^2 (Mao et al. 2017, arXiv 1611.04076, eq. 9 without its half)."""
    return F.mse_loss(fake, torch.ones_like(fake))


def lsgan_discriminator(
    real: Tensor, fake: Tensor, real_target: float = 1.0, fake_target: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute (D(real) - 1)^2 and D(fake)^2 (Mao et al. 2017, arXiv 1611.04076, eq. 9 without its halves).

    With other targets than 1 and 0: the squared distances of D(real) and D(fake) from these.
    """
    real_loss = F.mse_loss(real, torch.full_like(real, real_target))
    return real_loss, F.mse_loss(fake, torch.full_like(fake, fake_target))


def hinge_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute max(0, 1 - D(real)) and max(0, 1 + D(fake)) (Lim & Ye 2017, arXiv 1705.02894)."""
    return F.relu(1 - real).mean(), F.relu(1 + fake).mean()


def critic_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute -D(fake) (Arjovsky et al. 2017, arXiv 1701.07875, algorithm 1), also the generator's part of hinge."""
    return -fake.mean()


def critic_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute -D(real) and D(fake) (Arjovsky et al. 2017, arXiv 1701.07875, eq. 3)."""
    return -real.mean(), fake.mean()


def relativistic_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute -log sigmoid(fake - real) of logits in pairs.

    The relativistic standard GAN, RSGAN (Jolicoeur-Martineau 2019, arXiv 1807.00734, section 4).
    """
    return F.softplus(_given(real) - fake).mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute -log sigmoid(real - fake) of logits in pairs, half of it for either side (RSGAN, as above)."""
    half = F.softplus(fake - real).mean() / 2
    return half, half


def relativistic_average_discriminator(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Compute -log sigmoid(real - mean fake) and -log sigmoid(mean real - fake) of logits.

    The relativistic average standard GAN, RaSGAN (Jolicoeur-Martineau 2019, arXiv 1807.00734, section 4).
    """
    return F.softplus(fake.mean() - real).mean(), F.softplus(fake - real.mean()).mean()


def relativistic_average_generator(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Compute the discriminator's loss with real and fake exchanged, both parts (RaSGAN, as above)."""
    fake_loss, real_loss = relativistic_average_discriminator(fake, _given(real))
    return fake_loss + real_loss


def _given(real: Tensor | None) -> Tensor:
    if real is None:
        raise UserError("a relativistic objective compares fake with real: give its generator the real logits too")
    return real


# weight_clip: Arjovsky et al. 2017, algorithm 1; gradient_penalty: Gulrajani et al. 2017, arXiv 1704.00028, section 4
GAN_OBJECTIVES: dict[str, Objective] = {
    "vanilla": Objective(vanilla_generator, vanilla_discriminator),
    "minimax": Objective(minimax_generator, vanilla_discriminator),
    "lsgan": Objective(lsgan_generator, lsgan_discriminator, boundary=0.5),
    "hinge": Objective(critic_generator, hinge_discriminator),
    "wgan": Objective(critic_generator, critic_discriminator, weight_clip=0.01),
    "wgangp": Objective(critic_generator, critic_discriminator, gradient_penalty=10.0),
    "relativistic": Objective(relativistic_generator, relativistic_discriminator, relativistic=True),
    "relativistic_average": Objective(
        relativistic_average_generator, relativistic_average_discriminator, relativistic=True
    ),
}
# whose discriminators have targets, which can be smoothed
WITH_TARGETS = {"vanilla": vanilla_discriminator, "minimax": vanilla_discriminator, "lsgan": lsgan_discriminator}


def build_objective(name: str, label_smoothing: float = 0.0, label_smoothing_fake: float = 0.0) -> Objective:
    """Build `GAN_OBJECTIVES[name]` whose discriminator learns 1 - `label_smoothing` for real images.

    For fake ones it learns `label_smoothing_fake`; at 0 the smoothing is one-sided (Salimans et al. 2016, arXiv
    1606.03498, section 3.4). The generator's loss stays. Raises ValueError for an unknown name, for values outside
    [0, 0.5) and for objectives without targets.
    """
    check_choice("gan_mode", name, tuple(GAN_OBJECTIVES))
    for flag, amount in (("label_smoothing", label_smoothing), ("label_smoothing_fake", label_smoothing_fake)):
        if not 0 <= amount < 0.5:
            raise UserError(f"--{flag} {amount:g}: must be at least 0 and less than 0.5")
        if amount and name not in WITH_TARGETS:
            choices = ", ".join(WITH_TARGETS)
            raise UserError(f"--{flag} {amount:g}: --gan_mode {name} has no targets to smooth, choose one of {choices}")
    objective = GAN_OBJECTIVES[name]
    if not label_smoothing and not label_smoothing_fake:
        return objective
    smoothed = partial(WITH_TARGETS[name], real_target=1 - label_smoothing, fake_target=label_smoothing_fake)
    middle = (1 - label_smoothing + label_smoothing_fake) / 2
    boundary = middle if name == "lsgan" else math.log(middle / (1 - middle))
    return objective._replace(discriminator=smoothed, boundary=boundary)


@overload
def keep_top(fake: Tensor, fraction: float, real: None = None) -> Tensor: ...


@overload
def keep_top(fake: Tensor, fraction: float, real: Tensor) -> tuple[Tensor, Tensor]: ...


def keep_top(fake: Tensor, fraction: float, real: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
    """Keep the highest `fraction` of the logits, for a generator that learns from its best images (top-k).

    Of logits of any shape ceil(fraction * their number) come back, flat and in falling order, and with them those of
    `real` from the same places; at fraction 1 all as they are (Sinha et al. 2020, arXiv 2002.06224, section 3).
    """
    if fraction >= 1:
        return fake if real is None else (fake, real)
    count = math.ceil(round(fraction * fake.numel(), 6))  # 0.07 * 100 is a little more than 7
    kept, places = fake.flatten().topk(count)
    return kept if real is None else (kept, real.flatten()[places])
