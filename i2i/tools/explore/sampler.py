"""A class-conditional run as a source of latents, and of images from latents."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.config import check_range, option
from i2i.data.domain import Domain
from i2i.errors import UserError, file_errors
from i2i.models.cgan import CGAN
from i2i.run import find_run
from i2i.translate.translator import Translator

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """Options of the generator, and of the truncation of its latents."""

    run: str = option(
        "", "a run's folder, or its name below checkpoints_dir; may come first, without its flag", path=True
    )
    checkpoints_dir: str = option("./checkpoints", "where runs are kept", path=True)
    epoch: str = option("latest", "which checkpoint: latest or the number of an epoch")
    ema: bool = option(True, "use the averaged weights, if the run has any")
    truncation: float | None = option(None, "less variety and fewer failures, as in test.py: 0.7, say")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...; auto takes the fastest there is")

    def __post_init__(self) -> None:
        if not self.run:
            raise UserError("which run? its folder or its name comes first, ahead of the options")
        check_range("truncation", self.truncation, 0)

    @property
    def folder(self) -> Path:
        """The run's folder, which need not exist."""
        return find_run(self.run, self.checkpoints_dir)

    def results(self, out: str | None, command: str) -> Path:
        """The folder `out`, which is made, or where it is None one for the command's results on this run."""
        folder = Path("results", self.folder.name, command) if out is None else Path(out)
        with file_errors("--out", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder


class Seed(NamedTuple):
    """The identity of an image: its class index, None without classes, and the seed of its noise."""

    label: int | None
    seed: int


class Sampler:
    """Latents and images of a class-conditional or unconditional GAN, for one truncation.

    Raises ValueError if the translator's model is of another kind.
    """

    def __init__(self, translator: Translator, truncation: float | None = None) -> None:
        if not translator.model.generates:
            raise UserError("this run translates images: only a cgan makes them from latents that can be explored")
        self.model = cast(CGAN, translator.model)
        self.generator = self.model.generator
        self.translator, self.truncation = translator, truncation

    @classmethod
    def from_config(cls, config: SourceConfig) -> Sampler:
        """Load a run. Raises ValueError if there is none, or it is no cgan."""
        translator = Translator.from_run(config.folder, config.epoch, ema=config.ema, device=config.device)
        return cls(translator, config.truncation)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the generator is told; none if it is unconditional."""
        return self.model.spec.classes if self.model.num_classes else ()

    @property
    def domain(self) -> Domain:
        """The domain of the images."""
        return self.model.spec.domains[1][0]

    def class_number(self, name: str) -> int:
        """The number of a class. Raises ValueError if there is none of that name."""
        if name in self.classes:
            return self.classes.index(name)
        known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
        raise UserError(f"{name!r} is none of the run's classes: {known or 'it is unconditional'}")

    def seed(self, text: str) -> Seed:
        """Read CLASS:SEED, CLASS (for its seed 0), or SEED where the run is unconditional; ValueError for all else."""
        if text in self.classes:
            return Seed(self.class_number(text), 0)
        name, colon, seed = text.rpartition(":")
        if not re.fullmatch(r"\d{1,18}", seed) or bool(colon) != bool(self.classes):
            wanted = f"CLASS:SEED, such as {self.classes[0]}:1" if self.classes else "SEED, as the run is unconditional"
            raise UserError(f"{text!r} names no image: give {wanted}")
        return Seed(self.class_number(name) if colon else None, int(seed))

    def latents(self, seeds: Sequence[Seed]) -> Tensor:
        """The latents (N, L) of images, float32."""
        labels = torch.tensor([seed.label for seed in seeds], device=self.translator.device) if self.classes else None
        numbers = [seed.seed for seed in seeds]
        return self.translator.inference(lambda: self.model.latents(numbers, labels, self.truncation)).float()

    def class_weights(self, seeds: Sequence[Seed]) -> Tensor | None:
        """The classes of images as rows of weights (N, num_classes), which can be mixed; None if unconditional."""
        if not self.classes:
            return None
        labels = torch.tensor([seed.label for seed in seeds], device=self.translator.device)
        return F.one_hot(labels, len(self.classes)).float()

    def batches(self, latents: Tensor, weights: Tensor | None) -> Iterator[Tensor]:
        """Images of latents (N, L) and weights of classes, a batch after the other on the CPU, in [-1, 1]."""
        for start in range(0, len(latents), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            yield self._batch(latents[rows], None if weights is None else weights[rows]).float().cpu()

    def _batch(self, latents: Tensor, weights: Tensor | None) -> Tensor:
        return self.translator.inference(lambda: self.model.images(latents, weights))

    def images(self, latents: Tensor, weights: Tensor | None) -> Tensor:
        """All of `batches` as one (N, C, H, W)."""
        return torch.cat(list(self.batches(latents, weights)))
