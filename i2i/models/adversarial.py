"""The adversarial loss of all models: a GAN objective with penalties, augmentation, noise and feature matching."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.losses import (
    GAN_OBJECTIVES,
    Objective,
    build_objective,
    check_one_size,
    feature_matching,
    flattened,
    gradient_penalty,
    keep_top,
    maps_of,
    r1_penalty,
    sum_over_maps,
)
from i2i.models.augment import ADAPTIVE_POLICY, AUGMENTATIONS, DiscriminatorAugment
from i2i.models.statistics import EVERY, DiscriminatorStatistics, LogitStatistics
from i2i.networks.blocks import DiscriminatorOutput
from i2i.networks.class_conditional import layers_of

SPECTRAL = ("none", "D", "both")
WITH_BOUNDARY = ("vanilla", "minimax", "lsgan", "hinge")  # whose logits say real or fake, not just more or less real


class Discriminator(Protocol):
    """A discriminator as a function of images alone; labels and other conditions are bound to it."""

    def __call__(self, images: Tensor, features: bool = False) -> Any: ...


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """Options of every GAN."""

    adaptive_policy: ClassVar[tuple[str, ...]] = ADAPTIVE_POLICY
    gan_mode: str = option("lsgan", "GAN objective", choices=GAN_OBJECTIVES)
    d_steps: int = option(1, "discriminator steps per generator step, each on a new batch")
    spectral_norm: str = option(
        "none",
        "spectral normalisation of the discriminators (D), or of the generators too (both)",
        choices=SPECTRAL,
        architecture=True,
    )
    label_smoothing: float = option(0.0, "subtract this from the discriminator's target for real images, such as 0.1")
    label_smoothing_fake: float = option(
        0.0, "add this to the discriminator's target for generated images (two-sided smoothing)"
    )
    lambda_gp: float | None = option(None, "weight of the WGAN-GP gradient penalty (default: 10 for wgangp, else 0)")
    lambda_r1: float = option(0.0, "weight gamma of the R1 gradient penalty at real images")
    r1_every: int = option(1, "compute the R1 penalty every N steps, weighted N times; 16 in StyleGAN2")
    instance_noise: float = option(0.0, "standard deviation of noise added to the discriminators' input")
    instance_noise_steps: int | None = option(None, "steps over which --instance_noise falls to 0 (default: it stays)")
    lambda_feature: float = option(0.0, "weight of the feature-matching loss of the generator")
    top_k: float = option(
        1.0,
        "share of the generated images (PatchGAN: patches) with the highest logits that the generator learns from",
    )
    top_k_steps: int = option(0, "steps over which --top_k falls from 1 to its value")
    diffaugment: tuple[str, ...] | None = option(
        None, "differentiable augmentation of the discriminators' input", choices=AUGMENTATIONS
    )
    ada: float | None = option(
        None,
        "ADA target for E[sign(D(real))], for example 0.6; augments by --diffaugment, or if that is not given by "
        f"{', '.join(ADAPTIVE_POLICY)} (--model cgan: translation, scale, color)",
    )

    def __post_init__(self) -> None:
        check_choice("gan_mode", self.gan_mode, GAN_OBJECTIVES)
        check_choice("spectral_norm", self.spectral_norm, SPECTRAL)
        for name in ("d_steps", "r1_every", "instance_noise_steps"):
            check_range(name, getattr(self, name), 1)
        for name in ("lambda_gp", "lambda_r1", "instance_noise", "lambda_feature", "top_k_steps"):
            check_range(name, getattr(self, name), 0)
        check_range("top_k", self.top_k, 1e-6, 1)
        check_range("ada", self.ada, -1, 1)
        objective = build_objective(self.gan_mode, self.label_smoothing, self.label_smoothing_fake)
        if self.ada is not None and self.gan_mode not in WITH_BOUNDARY:
            choices = ", ".join(WITH_BOUNDARY)
            raise UserError(f"--ada {self.ada:g}: the sign of --gan_mode {self.gan_mode} says nothing, use {choices}")
        if objective.weight_clip is not None and self.spectral_norm != "none":
            raise UserError(
                f"--gan_mode {self.gan_mode} clips weights, which --spectral_norm {self.spectral_norm} scales anew: "
                "use --gan_mode hinge or wgangp"
            )

    @property
    def gradient_penalty(self) -> float:
        """The weight of the WGAN-GP penalty: `lambda_gp`, or the objective's own."""
        return GAN_OBJECTIVES[self.gan_mode].gradient_penalty if self.lambda_gp is None else self.lambda_gp

    @property
    def penalises_gradients(self) -> bool:
        """True if gradients are penalised image by image, which batch norm in the discriminator would break."""
        return self.gradient_penalty > 0 or self.lambda_r1 > 0


class AdversarialLoss(nn.Module):
    """The losses of a generator and of the discriminator that judges it, as `config` says.

    It has state (augmentation, statistics): use one for each discriminator.

    Args:
        channels: of the images that lie one after another in the discriminator's input, such as (3, 3) for a pair.
        paired: fake image i is meant to equal real image i.
        lambda_class: weight of the classification loss of an auxiliary classifier in the discriminator.
        real_first: call the discriminator on real images before fake ones; BatchNorm's running statistics depend on it.
    """

    def __init__(
        self,
        config: AdversarialConfig,
        channels: tuple[int, ...],
        paired: bool = False,
        lambda_class: float = 0.0,
        real_first: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.paired, self.lambda_class, self.real_first = config, paired, lambda_class, real_first
        self.objective = build_objective(config.gan_mode, config.label_smoothing, config.label_smoothing_fake)
        policy = config.diffaugment or (config.adaptive_policy if config.ada is not None else ())
        self.augment = DiscriminatorAugment(policy, channels, config.ada)
        self.statistics = LogitStatistics()
        self._least_loss, self._chance_loss = _bounds(config, self.objective)

    def perturb(self, images: Tensor, step: int) -> Tensor:
        """Return the discriminator's input for `images`: augmented, and with instance noise."""
        config, images = self.config, self.augment(images)
        fading = 1.0 if config.instance_noise_steps is None else max(0.0, 1 - step / config.instance_noise_steps)
        sigma = config.instance_noise * fading
        # Sønderby et al. 2017, arXiv 1610.04490, section 3.3
        return images + sigma * torch.randn_like(images) if sigma else images

    def discriminator(
        self, discriminator: Discriminator, real: Tensor, fake: Tensor, step: int, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the discriminator's losses on real and on fake images, not halved, and further terms by name.

        `fake` is detached. Penalties are computed at the images as the discriminator sees them. An auxiliary classifier
        learns from real images alone, as is common; in Odena et al. 2017 (arXiv 1610.09585, eq. 3) from all.

        Raises:
            UserError: if images of different sizes would have to be compared.
        """
        config = self.config
        self._check_sizes(real, fake)
        fake, real = self.perturb(fake.detach(), step), self.perturb(real, step)
        if self.real_first:
            on_real, on_fake = self._judge(discriminator, real), self._judge(discriminator, fake)
        else:
            on_fake, on_real = self._judge(discriminator, fake), self._judge(discriminator, real)
        self.augment.observe(flattened(on_real.logits) - self.objective.boundary)
        terms = self._class_loss(on_real, labels)
        if config.gradient_penalty:
            terms["gp"] = config.gradient_penalty * gradient_penalty(discriminator, real, fake)
        if config.lambda_r1 and step % config.r1_every == 0:
            # Mescheder et al. 2018, arXiv 1801.04406, eq. 9; lazily: Karras et al. 2020, arXiv 1912.04958, appendix B
            terms["r1"] = config.lambda_r1 / 2 * config.r1_every * r1_penalty(discriminator, real)
        real_loss, fake_loss = sum_over_maps(self.objective.discriminator, on_real.logits, on_fake.logits)
        if step % EVERY == 0:
            loss = (real_loss + fake_loss) / len(maps_of(on_real.logits))
            relative_loss = (loss - self._least_loss) / (self._chance_loss - self._least_loss)
            self.statistics.update(flattened(on_real.logits), flattened(on_fake.logits), relative_loss)
        return real_loss, fake_loss, terms

    def generator(
        self, discriminator: Discriminator, fake: Tensor, real: Tensor, step: int, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the generator's loss "GAN" and further terms by name; `real` is used only by some of them.

        Raises:
            UserError: if images of different sizes would have to be compared.
        """
        config = self.config
        self._check_sizes(real, fake)
        seen = self.perturb(fake, step)
        on_fake, on_real = self._judge(discriminator, seen), None
        # Augmentation and noise differ between the two images of a pair: their features are compared without.
        compares_clean = self.paired and seen is not fake
        if self.objective.relativistic or (config.lambda_feature and not compares_clean):
            on_real = self._judge_real(discriminator, self.perturb(real, step))
        real_logits = on_real.logits if on_real is not None and self.objective.relativistic else None
        losses = {"GAN": sum_over_maps(partial(self._generator_loss, step), on_fake.logits, real_logits)}
        if config.lambda_feature:
            matched, target = on_fake, on_real
            if target is None or compares_clean:
                matched, target = self._judge(discriminator, fake), self._judge_real(discriminator, real)
            distance = feature_matching(matched.features, target.features, self.paired)
            losses["feature"] = config.lambda_feature * distance
        return losses | self._class_loss(on_fake, labels)

    def _generator_loss(self, step: int, fake: Tensor, real: Tensor | None) -> Tensor:
        kept = keep_top(fake, self._kept_share(step), real)
        return self.objective.generator(*(kept if isinstance(kept, tuple) else (kept, None)))

    def clip_weights(self, *discriminators: nn.Module) -> None:
        """Clip the weights after an update if the objective asks for it, as WGAN does."""
        limit = self.objective.weight_clip
        if limit is not None:
            layers = [layer for discriminator in discriminators for layer in layers_of(discriminator)]
            weights: list[Tensor] = [weight for layer in layers for weight in layer.parameters(recurse=False)]
            with torch.no_grad():
                torch._foreach_clamp_min_(weights, -limit)
                torch._foreach_clamp_max_(weights, limit)

    def read_statistics(self) -> DiscriminatorStatistics:
        """Return how the discriminator has done lately; waits for the device."""
        return self.statistics.read(self.config.gan_mode in WITH_BOUNDARY)

    def _judge(self, discriminator: Discriminator, images: Tensor) -> DiscriminatorOutput:
        wanted = self.config.lambda_feature > 0 or self.lambda_class > 0
        return discriminator(images, features=True) if wanted else DiscriminatorOutput(discriminator(images))

    @torch.no_grad()
    def _judge_real(self, discriminator: Discriminator, real: Tensor) -> DiscriminatorOutput:
        return self._judge(discriminator, real)

    def _check_sizes(self, real: Tensor, fake: Tensor) -> None:
        config = self.config
        compares = {
            "--gan_mode relativistic": config.gan_mode == "relativistic",
            "--top_k": self.objective.relativistic and config.top_k < 1,
            "--lambda_feature": config.lambda_feature > 0,
        }
        for flag in (flag for flag, given in compares.items() if given):
            check_one_size(flag, real, fake)

    def _class_loss(self, judged: DiscriminatorOutput, labels: Tensor | None) -> dict[str, Tensor]:
        if judged.class_logits is None or labels is None:
            return {}
        return {"class": self.lambda_class * F.cross_entropy(judged.class_logits, labels)}

    def _kept_share(self, step: int) -> float:
        config = self.config
        progress = min(1.0, step / config.top_k_steps) if config.top_k_steps else 1.0
        return 1 - (1 - config.top_k) * progress


def _bounds(config: AdversarialConfig, objective: Objective) -> tuple[float, float]:
    """Return the least possible loss of the discriminator, and the loss of one that guesses."""
    if config.gan_mode not in WITH_BOUNDARY:
        return 0.0, 1.0  # there are none for critics and relativistic discriminators
    targets = torch.tensor([config.label_smoothing, config.label_smoothing_fake], device="cpu")
    cross_entropy = config.gan_mode in ("vanilla", "minimax")  # which is not 0 for a target that is neither 0 nor 1
    best = F.binary_cross_entropy(targets, targets, reduction="sum").item() if cross_entropy else 0.0
    unsure = torch.tensor([objective.boundary], device="cpu")  # wherever the model is built
    return best, sum(loss.item() for loss in objective.discriminator(unsure, unsure))


def named(prefix: str, terms: Mapping[str, Tensor], weight: float = 1.0) -> dict[str, Tensor]:
    """Return `terms` with `prefix` before each name, times `weight`."""
    return {f"{prefix}_{name}": value if weight == 1 else weight * value for name, value in terms.items()}
