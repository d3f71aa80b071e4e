"""Class-conditional GAN: a label and noise to an image (Mirza & Osindero 2014, https://arxiv.org/abs/1411.1784)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from i2i.data.batch import Batch, DataSpec
from i2i.errors import UserError
from i2i.models.adversarial import AdversarialLoss, named
from i2i.models.base import GanModel, Phase, Player
from i2i.models.class_config import ClassConfig
from i2i.models.generation import evaluation_mode
from i2i.models.shared_forward import SharedForward

SHOWN_CLASSES, SHOWN_IMAGES = 16, 8


class CGAN(GanModel):
    """A generator of (noise, label) and a discriminator of (image, label); images are domain b."""

    Config = ClassConfig
    layouts = ("classes",)
    generates = True
    defaults = {
        "dataset_mode": "classes",
        "out_channels": 1,
        "load_size": (28,),
        "crop_size": (28,),
        "flip": False,
        "batch_size": 64,
    }

    def __init__(self, config: ClassConfig, spec: DataSpec) -> None:
        super().__init__(config, spec)
        width, height = spec.image_size
        if width != height:
            raise UserError(f"--crop_size {width} {height}: class-conditional networks make square images")
        self.num_classes = 0 if config.unconditional else self.condition_size(config, spec)
        self.generator, self.discriminator = config.build_networks(self.num_classes, width, spec.out_channels)
        weight = 1.0 if config.lambda_class is None else config.lambda_class
        auxiliary = config.conditioning_D == "acgan" and self.num_classes > 0
        self.adversarial = AdversarialLoss(config, (spec.out_channels,), lambda_class=weight if auxiliary else 0.0)
        self.players = {
            "discriminator": Player((self.discriminator,)),
            "generator": Player((self.generator,), ema=True),
        }

    @classmethod
    def condition_size(cls, config: ClassConfig, spec: DataSpec) -> int:
        """Return the length of what an image is conditioned on: the number of classes, or of features of a text.

        Raises:
            UserError: if the data has none.
        """
        if not spec.classes:
            raise UserError("a class-conditional model needs labelled images: use --dataset_mode classes")
        return len(spec.classes)

    def conditions(self, batch: Batch) -> Tensor:
        """Return what the images of `batch` are conditioned on: classes (N,), or float vectors (N, condition_size)."""
        return batch.labels()

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        for _ in range(self.config.d_steps - 1):
            real, labels = self._images_and_labels(next_batch())
            yield self._discriminator_phase(real, self._without_graph(real, labels), labels, step)
            self.adversarial.clip_weights(self.discriminator)

        real, labels = self._images_and_labels(next_batch())
        forward = SharedForward(self.generator, self._noise(real), labels, twice=self.accumulates)
        yield self._discriminator_phase(real, forward.detached(), labels, step)
        self.adversarial.clip_weights(self.discriminator)
        yield self._generator_phase(real, forward.attached(), labels, step)

    def _images_and_labels(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return batch.image("b"), self.conditions(batch) if self.num_classes else None

    def _noise(self, real: Tensor) -> Tensor:
        """Draw noise for as many images as `real` has, (N, noise_dim)."""
        return torch.randn(len(real), self.config.noise_dim, device=real.device, dtype=real.dtype)

    @torch.no_grad()
    def _without_graph(self, real: Tensor, labels: Tensor | None) -> Tensor:
        return self.generator(self._noise(real), labels)

    def _conditioned(self, labels: Tensor | None) -> Callable[..., Any]:
        return lambda images, features=False: self.discriminator(images, labels, features=features)

    def _discriminator_phase(self, real: Tensor, fake: Tensor, labels: Tensor | None, step: int) -> Phase:
        real_loss, fake_loss, terms = self.adversarial.discriminator(
            self._conditioned(labels), real, fake, step, labels
        )
        logs = {"D_real": real_loss, "D_fake": fake_loss}
        return Phase("discriminator", {"D": real_loss + fake_loss} | named("D", terms), logs)

    def _generator_phase(self, real: Tensor, fake: Tensor, labels: Tensor | None, step: int) -> Phase:
        losses = self.adversarial.generator(self._conditioned(labels), fake, real, step, labels)
        return Phase("generator", named("G", losses))

    def latents(self, seeds: Sequence[int], labels: Tensor | None, truncation: float | None = None) -> Tensor:
        """Return the latents (N, L) of `seeds`: noise, or the output of the mapping network for it.

        `truncation` trades variety for typical images: noise is limited to [-truncation, truncation] (Brock et al.
        2019, https://arxiv.org/abs/1809.11096, section 3.1); mapped latents are interpolated to the mean of their
        class, which 0 gives and 1 leaves out (Karras et al. 2019, https://arxiv.org/abs/1812.04948, appendix B).
        """
        maps = self.generator.maps_noise
        noise = torch.stack([_noise(seed, self.config.noise_dim, None if maps else truncation) for seed in seeds])
        labels = labels if self.num_classes else None
        with evaluation_mode(self.generator):
            latents = self.generator.latent(noise.to(next(self.generator.parameters())), labels)
            return latents if truncation is None else self.generator.truncated(latents, labels, truncation)

    def images(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Return images (N, C, S, S) for latents and for classes: indices (N,), or mixtures (N, num_classes)."""
        with evaluation_mode(self.generator):
            return self.generator.synthesize(latents, labels if self.num_classes else None)

    def translate(
        self,
        batch: Batch,
        *,
        target: str = "b",
        seed: int = 0,
        running_statistics: bool = True,
        truncation: float | None = None,
    ) -> Tensor:
        """Return an image for each label of `batch`; row i is determined by its label and `seed + i`."""
        if target != "b":
            raise UserError("cgan makes images from labels; it does not translate images")
        labels = self.conditions(batch) if self.num_classes else batch.labels()
        return self.images(self.latents(range(seed, seed + len(labels)), labels, truncation), labels)

    def generate(self, labels: Tensor, seed: int, truncation: float | None = None) -> Tensor:
        return self.translate(Batch(label=labels), seed=seed, truncation=truncation)

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = True) -> dict[str, Tensor]:
        """Return generated images of the first classes, by class name; `batch` only gives the device."""
        device = batch.labels().device
        if not self.num_classes:
            return {"fake": self.translate(Batch(label=torch.zeros(SHOWN_IMAGES**2, device=device)), seed=seed)}
        pictures = {}
        for label, name in enumerate(self.spec.classes[:SHOWN_CLASSES]):
            labels = torch.full((SHOWN_IMAGES,), label, device=device)
            pictures[name] = self.translate(Batch(label=labels), seed=seed)
        return pictures


def _noise(seed: int, length: int, truncation: float | None) -> Tensor:
    noise = torch.randn(length, generator=torch.Generator().manual_seed(seed))
    if truncation is None:
        return noise
    # By the inverse of the normal distribution function, so that a seed's image changes gradually with the truncation.
    limit = torch.special.ndtr(torch.tensor(truncation, dtype=torch.float64))
    share = torch.special.ndtr(noise.double())
    return torch.special.ndtri((1 - limit) + share * (2 * limit - 1)).float()
