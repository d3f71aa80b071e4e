"""Pix2Pix: image to image from pairs (Isola et al. 2017, https://arxiv.org/abs/1611.07004)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from i2i.config import option, with_default
from i2i.data.batch import Batch, DataSpec
from i2i.errors import UserError
from i2i.losses import Distance, parse_formula
from i2i.models.adversarial import AdversarialLoss, named
from i2i.models.base import GanModel, Phase, Player, TranslationConfig
from i2i.models.generation import generate
from i2i.models.shared_forward import SharedForward


class Pix2Pix(GanModel):
    """A generator from a to b, and a discriminator of pairs (a, b)."""

    @dataclasses.dataclass(frozen=True)
    class Config(TranslationConfig):
        """The options of pix2pix."""

        generator: str = with_default(TranslationConfig, "generator", "unet_256")
        norm: str = with_default(TranslationConfig, "norm", "batch")
        dropout: bool = with_default(TranslationConfig, "dropout", True)
        gan_mode: str = with_default(TranslationConfig, "gan_mode", "vanilla")
        reconstruction: str = option(
            "100*l1", 'reconstruction loss between fake and real b, such as "100*l1 + 10*ssim"'
        )
        lambda_L1: float | None = option(None, "weight of l1 in --reconstruction")

        def __post_init__(self) -> None:
            super().__post_init__()
            weights = parse_formula(self.reconstruction)
            if self.lambda_L1 is not None:  # part of the formula from here on
                weights["l1"] = self.lambda_L1
                formula = " + ".join(f"{weight}*{name}" for name, weight in weights.items())
                object.__setattr__(self, "reconstruction", formula)
                object.__setattr__(self, "lambda_L1", None)

    defaults = {"dataset_mode": "aligned"}
    layouts = ("aligned",)
    reference_names = {"G": "generator", "D": "discriminator"}

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.generator = config.build_generator(spec.in_channels, spec.out_channels)
        self.discriminator = config.build_discriminator(spec.in_channels + spec.out_channels)
        self.adversarial = AdversarialLoss(config, (spec.in_channels, spec.out_channels), paired=True)
        self.reconstruction = Distance(config.reconstruction)
        self.plateau_loss = f"G_{next(iter(parse_formula(config.reconstruction))).upper()}"
        self.players = {
            "discriminator": Player((self.discriminator,)),
            "generator": Player((self.generator,), ema=True),
        }

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        for _ in range(self.config.d_steps - 1):
            batch = next_batch()
            yield self._discriminator_phase(
                batch.image("a"), batch.image("b"), self._without_graph(batch.image("a")), step
            )
            self.adversarial.clip_weights(self.discriminator)

        batch = next_batch()
        a, b = batch.image("a"), batch.image("b")
        forward = SharedForward(self.generator, a, twice=self.accumulates)
        yield self._discriminator_phase(a, b, forward.detached(), step)
        self.adversarial.clip_weights(self.discriminator)
        yield self._generator_phase(a, b, forward.attached(), step)

    @torch.no_grad()
    def _without_graph(self, a: Tensor) -> Tensor:
        return self.generator(a)

    def _generator_phase(self, a: Tensor, b: Tensor, fake_b: Tensor, step: int) -> Phase:
        adversarial = self.adversarial.generator(
            self.discriminator, torch.cat((a, fake_b), 1), torch.cat((a, b), 1), step
        )
        distances = {f"G_{name.upper()}": value for name, value in self.reconstruction.terms(fake_b, b).items()}
        return Phase("generator", named("G", adversarial) | distances)

    def _discriminator_phase(self, a: Tensor, b: Tensor, fake_b: Tensor, step: int) -> Phase:
        pairs = torch.cat((a, b), 1), torch.cat((a, fake_b), 1)
        real, fake, terms = self.adversarial.discriminator(self.discriminator, *pairs, step)
        losses = {"D": 0.5 * (real + fake)} | named("D", terms, 0.5)
        return Phase("discriminator", losses, logs={"D_real": real, "D_fake": fake})

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = False) -> Tensor:
        if target != "b":
            raise UserError(
                "pix2pix translates only in the direction that it was trained in; train another run for the other one"
            )
        return generate(self.generator, batch.image("a"), batch.paths_a, seed, running_statistics)

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = False) -> dict[str, Tensor]:
        fake_b = self.translate(batch, seed=seed, running_statistics=running_statistics)
        pictures = {"real_A": batch.a, "fake_B": fake_b, "real_B": batch.b}
        return {label: images for label, images in pictures.items() if images is not None}
