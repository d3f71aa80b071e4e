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
from i2i.models.base import GanModel, Phase, Player, TranslationConfig
from i2i.models.game import Game, named
from i2i.models.generation import generate

IDENTITY_START = 10  # times the weight of the identity loss at the start of its warm-up


class CycleGAN(GanModel):
    """Two generators that undo each other, and a discriminator for each domain.

    Names of losses are the reference's: `D_A`, `G_A` belong to the translation from a to b, so `D_A` judges b.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(TranslationConfig):
        """CycleGAN's options."""

        lambda_A: float = option(10.0, "weight of the cycle a -> b -> a")
        lambda_B: float = option(10.0, "weight of the cycle b -> a -> b")
        lambda_identity: float = option(0.5, "weight of the identity loss, relative to the cycle's; 0 for none")
        identity_warmup: int = option(
            0,
            f"steps over which the identity loss comes down from {IDENTITY_START} times its weight: colours stay put",
        )
        cycle: str = option("l1", 'distance of the cycle loss, such as "l1 + 0.5*ssim"')
        identity: str = option("l1", "distance of the identity loss")
        pool_size: int = option(50, "generated images that the discriminators are shown again; 0 for none")

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
                f"the identity loss gives images of {spec.out_channels} channels to a generator that takes "
                f"{spec.in_channels}: use --lambda_identity 0, or equal --in_channels and --out_channels"
            )
        self.generator_a_to_b = config.build_generator(spec.in_channels, spec.out_channels)
        self.generator_b_to_a = config.build_generator(spec.out_channels, spec.in_channels)
        self.discriminator_b = config.build_discriminator(spec.out_channels)
        self.discriminator_a = config.build_discriminator(spec.in_channels)
        self.game_b = Game(config, (spec.out_channels,), real_first=True)
        self.game_a = Game(config, (spec.in_channels,), real_first=True)
        self.pool_b, self.pool_a = ReplayPool(config.pool_size), ReplayPool(config.pool_size)
        self.cycle, self.identity = Distance(config.cycle), Distance(config.identity)
        self.players = {
            "generator": Player((self.generator_a_to_b, self.generator_b_to_a), ema=True),
            "discriminator": Player((self.discriminator_b, self.discriminator_a)),
        }

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        for _ in range(self.config.d_steps - 1):
            batch = next_batch()
            yield from self._judging(batch, self._drawn(batch), step)

        batch = next_batch()
        fakes: dict[str, Tensor] = {}
        # Each cycle and each identity is backpropagated by itself: the sum of the gradients is that of the sum, and the
        # activations of one alone are alive. Every network is called in the reference's order, on which the running
        # statistics of BatchNorm depend.
        yield self._cycle_a(batch, fakes, step)
        yield self._cycle_b(batch, fakes, step)
        if self.config.lambda_identity:
            yield self._identity_b(batch.image("b"), step)
            yield self._identity_a(batch.image("a"), step)
        yield from self._judging(batch, fakes, step)

    @torch.no_grad()
    def _drawn(self, batch: Batch) -> dict[str, Tensor]:
        return {"b": self.generator_a_to_b(batch.image("a")), "a": self.generator_b_to_a(batch.image("b"))}

    def _cycle_a(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Phase:
        """Return the phase of a -> b -> a; the generated images go into `fakes`, without a graph."""
        a, b = batch.image("a"), batch.image("b")
        fake_b = self.generator_a_to_b(a)
        fakes["b"] = fake_b.detach()
        losses = self._fooling("A", self.game_b.generator(self.discriminator_b, fake_b, b, step))
        losses["cycle_A"] = self.config.lambda_A * self.cycle(self.generator_b_to_a(fake_b), a)
        return Phase("generator", losses, step=False)

    def _cycle_b(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Phase:
        """Return the phase of b -> a -> b; the generated images go into `fakes`, without a graph."""
        a, b = batch.image("a"), batch.image("b")
        fake_a = self.generator_b_to_a(b)
        fakes["a"] = fake_a.detach()
        losses = self._fooling("B", self.game_a.generator(self.discriminator_a, fake_a, a, step))
        losses["cycle_B"] = self.config.lambda_B * self.cycle(self.generator_a_to_b(fake_a), b)
        return Phase("generator", losses, step=not self.config.lambda_identity)

    def _identity_b(self, b: Tensor, step: int) -> Phase:
        # named after the generator that should leave its target alone
        weight = self.config.lambda_B * self._identity_weight(step)
        return Phase("generator", {"idt_A": weight * self.identity(self.generator_a_to_b(b), b)}, step=False)

    def _identity_a(self, a: Tensor, step: int) -> Phase:
        weight = self.config.lambda_A * self._identity_weight(step)
        return Phase("generator", {"idt_B": weight * self.identity(self.generator_b_to_a(a), a)})

    def _identity_weight(self, step: int) -> float:
        warmup = self.config.identity_warmup
        left = max(0.0, 1 - step / warmup) if warmup else 0.0
        return self.config.lambda_identity * (1 + (IDENTITY_START - 1) * left)

    def _judging(self, batch: Batch, fakes: dict[str, Tensor], step: int) -> Iterator[Phase]:
        """Yield the phases of both discriminators; `fakes` is emptied, of whose images the pools may give others."""
        fake_b, fake_a = self.pool_b.query(fakes.pop("b")), self.pool_a.query(fakes.pop("a"))
        yield Phase("discriminator", self._judged("A", batch.image("b"), fake_b, step), step=False)
        del fake_b
        yield Phase("discriminator", self._judged("B", batch.image("a"), fake_a, step))
        self.game_b.constrain(self.discriminator_b, self.discriminator_a)

    def _judged(self, name: str, real: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        games = {"A": (self.game_b, self.discriminator_b), "B": (self.game_a, self.discriminator_a)}
        game, discriminator = games[name]
        real_loss, fake_loss, terms = game.discriminator(discriminator, real, fake, step)
        return {f"D_{name}": 0.5 * (real_loss + fake_loss)} | named(f"D_{name}", terms, 0.5)

    @staticmethod
    def _fooling(name: str, terms: dict[str, Tensor]) -> dict[str, Tensor]:
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
