"""Class-conditional GAN: a label and noise to an image (Mirza & Osindero 2014, https://arxiv.org/abs/1411.1784)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from i2i.config import check_choice, check_range, option, with_default
from i2i.data.batch import Batch, DataSpec
from i2i.models.base import AdversarialConfig, GanModel, Phase, Player
from i2i.models.generation import evaluation_mode
from i2i.networks import CLASS_DISCRIMINATORS, CLASS_GENERATORS, NORMS, initialize

SHOWN_CLASSES, SHOWN_IMAGES = 16, 8


class CGAN(GanModel):
    """A generator of (noise, label) and a discriminator of (image, label); images are domain b."""

    @dataclasses.dataclass(frozen=True)
    class Config(AdversarialConfig):
        """The class-conditional GAN's options."""

        generator: str = option("dcgan", "generator", choices=tuple(CLASS_GENERATORS), aliases=("--netG",))
        generator_filters: int = option(64, "width of the generator", aliases=("--ngf",))
        discriminator: str = option("dcgan", "discriminator", choices=tuple(CLASS_DISCRIMINATORS), aliases=("--netD",))
        discriminator_filters: int = option(64, "width of the discriminator", aliases=("--ndf",))
        noise_dim: int = option(100, "length of the noise vector")
        norm: str = option("batch", "normalisation in the generator", choices=tuple(NORMS))
        norm_D: str | None = option(
            None, "the discriminator's (default: batch in a dcgan, but none under wgangp)", choices=tuple(NORMS)
        )
        gan_mode: str = with_default(AdversarialConfig, "gan_mode", "vanilla")

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice("generator", self.generator, tuple(CLASS_GENERATORS))
            check_choice("discriminator", self.discriminator, tuple(CLASS_DISCRIMINATORS))
            for name in ("generator_filters", "discriminator_filters", "noise_dim"):
                check_range(name, getattr(self, name), 1)

        @property
        def discriminator_norm(self) -> str:
            """`norm_D`, or what suits: a gradient penalty is one for every image, and BatchNorm ties them together."""
            suits_batch = self.discriminator == "dcgan" and self.gan_mode != "wgangp"
            return self.norm_D or ("batch" if suits_batch else "none")

    layouts = ("classes",)
    defaults = {
        "dataset_mode": "classes",
        "out_channels": 1,
        "load_size": (28,),
        "crop_size": (28,),
        "flip": False,
        "batch_size": 64,
    }

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        width, height = spec.image_size
        if width != height:
            raise ValueError(f"--crop_size {width} {height}: class-conditional networks make square images")
        if not spec.classes:
            raise ValueError("a class-conditional model needs labelled images: use --dataset_mode classes")
        common = {"num_classes": len(spec.classes), "image_size": width, "channels": spec.out_channels}
        self.generator = CLASS_GENERATORS[config.generator](
            **common, noise_dim=config.noise_dim, filters=config.generator_filters, norm=config.norm
        )
        self.discriminator = CLASS_DISCRIMINATORS[config.discriminator](
            **common, filters=config.discriminator_filters, norm=config.discriminator_norm
        )
        for network in (self.generator, self.discriminator):
            initialize(network, config.init_type, config.init_gain)
        self.players = {
            "discriminator": Player((self.discriminator,)),
            "generator": Player((self.generator,), ema=True),
        }

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        batch = next_batch()
        real, labels = batch.image("b"), batch.labels()
        noise = torch.randn(len(real), self.config.noise_dim, device=real.device, dtype=real.dtype)
        fake = self.generator(noise, labels)

        def judge(images: Tensor) -> Tensor:
            return self.discriminator(images, labels)

        real_loss, fake_loss, penalty = self.discriminator_losses(judge, real, fake)
        logs = {"D_real": real_loss, "D_fake": fake_loss}
        yield Phase("discriminator", {"D": real_loss + fake_loss} | {f"D_{k}": v for k, v in penalty.items()}, logs)
        self.constrain(self.discriminator)

        yield Phase("generator", {"G_GAN": self.objective.generator(judge(fake), None)})

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = True) -> Tensor:
        """One image for every label of `batch`; that of row i is named by its label and the seed `seed + i`."""
        if target != "b":
            raise ValueError("cgan makes images from labels; it does not translate images")
        labels, parameter = batch.labels(), next(self.generator.parameters())
        rows = [_noise(seed + row, self.config.noise_dim) for row in range(len(labels))]
        with evaluation_mode(self.generator):
            return self.generator(torch.stack(rows).to(parameter), labels)

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = True) -> dict[str, Tensor]:
        """Images generated for the first classes, by the classes' names; `batch` only says where to work."""
        device = batch.labels().device
        pictures = {}
        for label, name in enumerate(self.spec.classes[:SHOWN_CLASSES]):
            labels = torch.full((SHOWN_IMAGES,), label, device=device)
            pictures[name] = self.translate(Batch(label=labels), seed=seed)
        return pictures


def _noise(seed: int, length: int) -> Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(seed))
