"""CycleGAN: image to image without pairs (Zhu et al. 2017, https://arxiv.org/abs/1703.10593)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from i2i.config import check_range, option
from i2i.data.batch import Batch, DataSpec
from i2i.errors import UserError
from i2i.losses import Distance, ReplayPool, parse_formula
from i2i.models.adversarial import AdversarialLoss, named
from i2i.models.base import GanModel, Phase, Player, TranslationConfig
from i2i.models.generation import generate

IDENTITY_START = 10  # times the weight of the identity loss at the start of its warm-up


class CycleGAN(GanModel):
    """Two generators that invert each other, and a discriminator for each domain.

    Losses have the reference's names: `D_A` and `G_A` belong to the translation from a to b, so `D_A` judges b.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(TranslationConfig):
        """The options of CycleGAN."""

        lambda_A: float = option(10.0, "weight of the cycle loss a -> b -> a")
        lambda_B: float = option(10.0, "weight of the cycle loss b -> a -> b")
        lambda_identity: float = option(0.5, "weight of the identity loss relative to the cycle loss; 0: none")
        identity_warmup: int = option(
            0,
            f"steps over which the identity loss falls from {IDENTITY_START} times its weight, to keep colours",
        )
        cycle: str = option("l1", 'distance in the cycle loss, such as "l1 + 0.5*ssim"')
        identity: str = option("l1", "distance in the identity loss")
        pool_size: int = option(50, "size of the pool of earlier fakes that discriminators see again; 0: none")

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("lambda_A", "lambda_B", "lambda_identity", "identity_warmup", "pool_size"):
                check_range(name, getattr(self, name), 0)
            parse_formula(self.cycle)
            parse_formula(self.identity)

    defaults = {"dataset_mode": "unaligned"}
    layouts = ("unaligned", "aligned")
    targets = ("b", "a")
    plateau_loss = "cycle_A"
    reference_names = {
        "G_A": "generator_a_to_b",
        "G_B": "generator_b_to_a",
        "D_A": "discriminator_b",
        "D_B": "discriminator_a",
    }

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        if config.lambda_identity and spec.in_channels != spec.out_channels:
            raise UserError(
                f"the identity loss gives images of {spec.out_channels} channels to a generator of "
                f"{spec.in_channels} channels: use --lambda_identity 0, or equal --in_channels and --out_channels"
            )
        self.generator_a_to_b = config.build_generator(spec.in_channels, spec.out_channels)
        self.generator_b_to_a = config.build_generator(spec.out_channels, spec.in_channels)
        self.discriminator_b = config.build_discriminator(spec.out_channels)
        self.discriminator_a = config.build_discriminator(spec.in_channels)
        self.adversarial_b = AdversarialLoss(config, (spec.out_channels,), real_first=True)
        self.adversarial_a = AdversarialLoss(config, (spec.in_channels,), real_first=True)
        self.pool_b, self.pool_a = ReplayPool(config.pool_size), ReplayPool(config.pool_size)
        self.cycle, self.identity = Distance(config.cycle), Distance(config.identity)
        self.players = {
            "generator": Player((self.generator_a_to_b, self.generator_b_to_a), ema=True),
            "discriminator": Player((self.discriminator_b, self.discriminator_a)),
        }

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        for _ in range(self.config.d_steps - 1):
            batch = next_batch()
            yield from self._discriminator_phases(batch, self._without_graph(batch), step)

        batch = next_batch()
        fakes: dict[str, Tensor] = {}
        # A backward pass for each cycle and each identity loss: gradients add up, and only the activations of one are
        # in memory. Networks are called in the reference's order, on which BatchNorm's running statistics depend.
        yield self._cycle_a(batch, fakes, step)
        yield self._cycle_b(batch, fakes, step)
        if self.config.lambda_identity:
            yield self._identity_b(batch.image("b"), step)
            yield self._identity_a(batch.image("a"), step)
        yield from self._discriminator_phases(batch, fakes, step)

    @torch.no_grad()
    def _without_graph(self, batch: Batch) -> dict[str, Tensor]:
        return {"b": self.generator_a_to_b(batch.image("a")), "a": self.generator_b_to_a(batch.image("b"))}

    def _cycle_a(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Phase:
        """Return the phase of a -> b -> a, and put the detached fake b into `fakes`."""
        a, b = batch.image("a"), batch.image("b")
        fake_b = self.generator_a_to_b(a)
        fakes["b"] = fake_b.detach()
        losses = self._generator_losses("A", self.adversarial_b.generator(self.discriminator_b, fake_b, b, step))
        losses["cycle_A"] = self.config.lambda_A * self.cycle(self.generator_b_to_a(fake_b), a)
        return Phase("generator", losses, step=False)

    def _cycle_b(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Phase:
        """Return the phase of b -> a -> b, and put the detached fake a into `fakes`."""
        a, b = batch.image("a"), batch.image("b")
        fake_a = self.generator_b_to_a(b)
        fakes["a"] = fake_a.detach()
        losses = self._generator_losses("B", self.adversarial_a.generator(self.discriminator_a, fake_a, a, step))
        losses["cycle_B"] = self.config.lambda_B * self.cycle(self.generator_a_to_b(fake_a), b)
        return Phase("generator", losses, step=not self.config.lambda_identity)

    def _identity_b(self, b: Tensor, step: int) -> Phase:
        # named after the generator, which should not change images of its target domain
        weight = self.config.lambda_B * self._identity_weight(step)
        return Phase("generator", {"idt_A": weight * self.identity(self.generator_a_to_b(b), b)}, step=False)

    def _identity_a(self, a: Tensor, step: int) -> Phase:
        weight = self.config.lambda_A * self._identity_weight(step)
        return Phase("generator", {"idt_B": weight * self.identity(self.generator_b_to_a(a), a)})

    def _identity_weight(self, step: int) -> float:
        warmup = self.config.identity_warmup
        left = max(0.0, 1 - step / warmup) if warmup else 0.0
        return self.config.lambda_identity * (1 + (IDENTITY_START - 1) * left)

    def _discriminator_phases(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Iterator[Phase]:
        """Yield the phases of both discriminators; the pools may replace images of `fakes`, which is emptied."""
        fake_b, fake_a = self.pool_b.query(fakes.pop("b")), self.pool_a.query(fakes.pop("a"))
        yield Phase("discriminator", self._discriminator_losses("A", batch.image("b"), fake_b, step), step=False)
        del fake_b
        yield Phase("discriminator", self._discriminator_losses("B", batch.image("a"), fake_a, step))
        self.adversarial_b.clip_weights(self.discriminator_b, self.discriminator_a)

    def _discriminator_losses(self, name: str, real: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        losses = {"A": (self.adversarial_b, self.discriminator_b), "B": (self.adversarial_a, self.discriminator_a)}
        adversarial, discriminator = losses[name]
        real_loss, fake_loss, terms = adversarial.discriminator(discriminator, real, fake, step)
        return {f"D_{name}": 0.5 * (real_loss + fake_loss)} | named(f"D_{name}", terms, 0.5)

    @staticmethod
    def _generator_losses(name: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"G_{name}": terms.pop("GAN")} | named(f"G_{name}", terms)

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = False) -> Tensor:
        if target == "b":
            return generate(self.generator_a_to_b, batch.image("a"), batch.paths_a, seed, running_statistics)
        return generate(self.generator_b_to_a, batch.image("b"), batch.paths_b, seed, running_statistics)

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = False) -> dict[str, Tensor]:
        pictures: dict[str, Tensor] = {}
        options: dict[str, Any] = {"seed": seed, "running_statistics": running_statistics}
        if batch.a is not None:
            fake_b = self.translate(batch, **options)
            there = dataclasses.replace(batch, b=fake_b, paths_b=batch.paths_a)
            pictures |= {"real_A": batch.a, "fake_B": fake_b, "rec_A": self.translate(there, target="a", **options)}
        if batch.b is not None:
            fake_a = self.translate(batch, target="a", **options)
            there = dataclasses.replace(batch, a=fake_a, paths_a=batch.paths_b)
            pictures |= {"real_B": batch.b, "fake_A": fake_a, "rec_B": self.translate(there, **options)}
        return pictures
