"""The contest of a generator and a discriminator: an objective and what keeps it stable, the same for all models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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
    gradient_penalty,
    keep_top,
    r1_penalty,
)
from i2i.models.augment import ADAPTIVE_POLICY, AUGMENTATIONS, DiscriminatorAugment
from i2i.models.watch import WATCH_EVERY, GameState, Watch
from i2i.networks.blocks import Judged
from i2i.networks.class_conditional import layers_of

SPECTRAL = ("none", "D", "both")
WITH_BOUNDARY = ("vanilla", "minimax", "lsgan", "hinge")  # the others only say how real an image is beside others


class Judge(Protocol):
    """A discriminator, and whatever it is told besides the images."""

    def __call__(self, images: Tensor, features: bool = False) -> Any: ...


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
    """Options that every GAN has."""

    adaptive_policy: ClassVar[tuple[str, ...]] = ADAPTIVE_POLICY
    gan_mode: str = option("lsgan", "GAN objective", choices=tuple(GAN_OBJECTIVES))
    d_steps: int = option(1, "steps of the discriminators for each of the generator, on fresh batches")
    spectral_norm: str = option(
        "none", "spectral normalisation: of the discriminators (D), or of the generators too (both)", choices=SPECTRAL
    )
    label_smoothing: float = option(0.0, "take this from the discriminator's target for real images, such as 0.1")
    label_smoothing_fake: float = option(0.0, "and add this to its target for generated ones (two-sided smoothing)")
    lambda_gp: float | None = option(None, "weight of WGAN-GP's gradient penalty (default: 10 under wgangp, else 0)")
    lambda_r1: float = option(0.0, "weight gamma of the R1 penalty on the gradient at real images")
    r1_every: int = option(1, "steps between R1 penalties, each as many times heavier; 16 is StyleGAN2's lazy one")
    instance_noise: float = option(0.0, "standard deviation of noise on all that the discriminators see")
    instance_noise_steps: int | None = option(None, "steps over which that noise fades away (default: it stays)")
    lambda_feature: float = option(0.0, "weight of feature matching in the generator's loss")
    top_k: float = option(
        1.0,
        "share of the generated images (for a PatchGAN: of their patches) that the adversarial loss takes, the best",
    )
    top_k_steps: int = option(0, "steps over which that share comes down from 1")
    diffaugment: tuple[str, ...] | None = option(
        None, "differentiable augmentation of what the discriminators see", choices=tuple(AUGMENTATIONS)
    )
    ada: float | None = option(
        None,
        "adapt how often that happens to this mean sign of the logits of real images, such as 0.6; without "
        f"--diffaugment it is {', '.join(ADAPTIVE_POLICY)}, but translation, scale, color under --model cgan",
    )

    def __post_init__(self) -> None:
        check_choice("gan_mode", self.gan_mode, tuple(GAN_OBJECTIVES))
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
        """The weight of WGAN-GP's penalty, which the objective has unless `lambda_gp` says otherwise."""
        return GAN_OBJECTIVES[self.gan_mode].gradient_penalty if self.lambda_gp is None else self.lambda_gp

    @property
    def penalises_gradients(self) -> bool:
        """Whether the discriminator's gradient is penalised at single images, which batch norm would tie together."""
        return self.gradient_penalty > 0 or self.lambda_r1 > 0


class Game(nn.Module):
    """What a generator and a discriminator of images lose against each other, as `config` says.

    A game has state of its own, and thus a discriminator one game. `channels` are those of the images that lie one
    after another in what is judged; `paired` says that fake image i is meant to be real image i, `lambda_class` weighs
    what a classifier inside the discriminator says. `real_first` is the order in which the discriminator is given real
    and fake images, on which BatchNorm's running statistics depend. All that it sees passes through `seen`.
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
        self.watch = Watch()
        self._best_loss, self._chance_loss = _bounds(config, self.objective)

    def seen(self, images: Tensor, step: int) -> Tensor:
        """What the discriminator sees instead of `images`: augmented, and under instance noise."""
        config, images = self.config, self.augment(images)
        fading = 1.0 if config.instance_noise_steps is None else max(0.0, 1 - step / config.instance_noise_steps)
        sigma = config.instance_noise * fading
        # Sønderby et al. 2017, arXiv 1610.04490, section 3.3
        return images + sigma * torch.randn_like(images) if sigma else images

    def discriminator(
        self, judge: Judge, real: Tensor, fake: Tensor, step: int, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The discriminator's loss on real and on (detached) fake images, neither halved, and further terms by name.

        Penalties are taken where the discriminator looks: at the images as it sees them. A classifier inside it learns
        from the real images alone, as is common; in Odena et al. 2017 (arXiv 1610.09585, eq. 3) from all.

        Raises:
            ValueError: where images of different sizes cannot be compared.
        """
        config = self.config
        self._check_sizes(real, fake)
        fake, real = self.seen(fake.detach(), step), self.seen(real, step)
        if self.real_first:
            on_real, on_fake = self._judged(judge, real), self._judged(judge, fake)
        else:
            on_fake, on_real = self._judged(judge, fake), self._judged(judge, real)
        self.augment.observe(on_real.logits - self.objective.boundary)
        terms = self._class_loss(on_real, labels)
        if config.gradient_penalty:
            terms["gp"] = config.gradient_penalty * gradient_penalty(judge, real, fake)
        if config.lambda_r1 and step % config.r1_every == 0:
            # Mescheder et al. 2018, arXiv 1801.04406, eq. 9; lazily: Karras et al. 2020, arXiv 1912.04958, appendix B
            terms["r1"] = config.lambda_r1 / 2 * config.r1_every * r1_penalty(judge, real)
        real_loss, fake_loss = self.objective.discriminator(on_real.logits, on_fake.logits)
        if step % WATCH_EVERY == 0:
            relative_loss = (real_loss + fake_loss - self._best_loss) / (self._chance_loss - self._best_loss)
            self.watch.take(on_real.logits, on_fake.logits, relative_loss)
        return real_loss, fake_loss, terms

    def observed(self) -> GameState:
        """How the contest stands, as an average over the last steps; waits for the device."""
        return self.watch.state(self.config.gan_mode in WITH_BOUNDARY)

    def observations(self) -> list[float]:
        """What `observed` goes by, as plain values: no part of the model, but of a run that is to go on."""
        return self.watch.state_dict()

    def load_observations(self, observations: list[float]) -> None:
        """Go on from what `observations` gave."""
        self.watch.load_state_dict(observations)

    def generator(
        self, judge: Judge, fake: Tensor, real: Tensor, step: int, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The generator's loss "GAN" and further terms by name; `real` images are only looked at where needed.

        Raises:
            ValueError: where images of different sizes cannot be compared.
        """
        config = self.config
        self._check_sizes(real, fake)
        seen = self.seen(fake, step)
        on_fake, on_real = self._judged(judge, seen), None
        # Images that belong together are compared as they are, as each would be changed in a way of its own.
        apart = self.paired and seen is not fake
        if self.objective.relativistic or (config.lambda_feature and not apart):
            on_real = self._judged_real(judge, self.seen(real, step))
        real_logits = on_real.logits if on_real is not None and self.objective.relativistic else None
        kept = keep_top(on_fake.logits, self._kept_share(step), real_logits)
        losses = {"GAN": self.objective.generator(*(kept if isinstance(kept, tuple) else (kept, None)))}
        if config.lambda_feature:
            if apart or on_real is None:
                matched, target = self._judged(judge, fake), self._judged_real(judge, real)
            else:
                matched, target = on_fake, on_real
            distance = feature_matching(matched.features, target.features, self.paired)
            losses["feature"] = config.lambda_feature * distance
        return losses | self._class_loss(on_fake, labels)

    def constrain(self, *discriminators: nn.Module) -> None:
        """What the objective asks of the weights after an update: WGAN clips them."""
        limit = self.objective.weight_clip
        if limit is not None:
            layers = [layer for discriminator in discriminators for layer in layers_of(discriminator)]
            weights: list[Tensor] = [weight for layer in layers for weight in layer.parameters(recurse=False)]
            with torch.no_grad():
                torch._foreach_clamp_min_(weights, -limit)
                torch._foreach_clamp_max_(weights, limit)

    def _judged(self, judge: Judge, images: Tensor) -> Judged:
        wanted = self.config.lambda_feature > 0 or self.lambda_class > 0
        return judge(images, features=True) if wanted else Judged(judge(images))

    @torch.no_grad()
    def _judged_real(self, judge: Judge, real: Tensor) -> Judged:
        return self._judged(judge, real)

    def _check_sizes(self, real: Tensor, fake: Tensor) -> None:
        config = self.config
        compares = {
            "--gan_mode relativistic": config.gan_mode == "relativistic",
            "--top_k": self.objective.relativistic and config.top_k < 1,
            "--lambda_feature": config.lambda_feature > 0,
        }
        for flag in (flag for flag, given in compares.items() if given):
            check_one_size(flag, real, fake)

    def _class_loss(self, judged: Judged, labels: Tensor | None) -> dict[str, Tensor]:
        if judged.class_logits is None or labels is None:
            return {}
        return {"class": self.lambda_class * F.cross_entropy(judged.class_logits, labels)}

    def _kept_share(self, step: int) -> float:
        config = self.config
        progress = min(1.0, step / config.top_k_steps) if config.top_k_steps else 1.0
        return 1 - (1 - config.top_k) * progress


def _bounds(config: AdversarialConfig, objective: Objective) -> tuple[float, float]:
    """The discriminator's least loss on real and fake images, and that where it cannot tell them apart."""
    if config.gan_mode not in WITH_BOUNDARY:
        return 0.0, 1.0  # critics and relativistic discriminators have neither
    targets = torch.tensor([config.label_smoothing, config.label_smoothing_fake], device="cpu")
    cross_entropy = config.gan_mode in ("vanilla", "minimax")  # that of a target with itself, which is not 0
    best = F.binary_cross_entropy(targets, targets, reduction="sum").item() if cross_entropy else 0.0
    unsure = torch.tensor([objective.boundary], device="cpu")  # wherever the model is built
    return best, sum(loss.item() for loss in objective.discriminator(unsure, unsure))


def named(prefix: str, terms: Mapping[str, Tensor], weight: float = 1.0) -> dict[str, Tensor]:
    """`terms` under names that begin with `prefix`, weighted."""
    return {f"{prefix}_{name}": value if weight == 1 else weight * value for name, value in terms.items()}
