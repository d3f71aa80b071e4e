"""Class-conditional GAN: a label and noise to an image (Mirza & Osindero 2014, https://arxiv.org/abs/1411.1784)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2i.config import check_choice, check_range, option, with_default
from i2i.data.batch import Batch, DataSpec
from i2i.models.base import GanModel, Phase, Player
from i2i.models.game import AdversarialConfig, Game, named
from i2i.models.generation import evaluation_mode
from i2i.networks import (
    CLASS_DISCRIMINATORS,
    CLASS_GENERATORS,
    DISCRIMINATOR_CONDITIONINGS,
    GENERATOR_CONDITIONINGS,
    INITIALIZATIONS,
    MINIBATCH,
    NORMS,
    UPSAMPLINGS,
    ClassDiscriminator,
    ClassGenerator,
    build_class_network,
    initialize,
)
from i2i.networks.spectral import spectral_normalize
from i2i.networks.stylegan import STYLES

SHOWN_CLASSES, SHOWN_IMAGES = 16, 8
INITIALIZED = {"resnet": ("xavier", 1.0), "biggan": ("orthogonal", 1.0)}  # as their papers do; the others: normal


@dataclasses.dataclass(frozen=True)
class ClassConfig(AdversarialConfig):
    """The class-conditional GAN's options; None stands for what suits the network."""

    generator: str = option("dcgan", "generator", choices=tuple(CLASS_GENERATORS), aliases=("--netG",))
    generator_filters: int = option(64, "width of the generator", aliases=("--ngf",))
    discriminator: str | None = option(
        None, "discriminator (default: the generator's)", choices=tuple(CLASS_DISCRIMINATORS), aliases=("--netD",)
    )
    discriminator_filters: int = option(64, "width of the discriminator", aliases=("--ndf",))
    noise_dim: int = option(100, "length of the noise vector")
    unconditional: bool = option(False, "leave the classes out of both networks")
    conditioning: str | None = option(
        None, "how the class enters the generator (default: what suits it)", choices=GENERATOR_CONDITIONINGS
    )
    conditioning_D: str | None = option(
        None, "and the discriminator (default: what suits it)", choices=DISCRIMINATOR_CONDITIONINGS
    )
    lambda_class: float = option(1.0, "weight of the classifier's loss under --conditioning_D acgan")
    norm: str | None = option(None, "normalisation in an mlp or dcgan generator (default: batch)", choices=tuple(NORMS))
    norm_D: str | None = option(
        None,
        "the discriminator's (default: batch in a dcgan, but none under spectral norm or a gradient penalty)",
        choices=tuple(NORMS),
    )
    upsample: str | None = option(None, "how a dcgan generator enlarges (default: deconv)", choices=tuple(UPSAMPLINGS))
    minibatch: str | None = option(
        None, "what tells the discriminator how images of a batch differ", choices=tuple(MINIBATCH)
    )
    style: str | None = option(
        None, "how a stylegan generator is styled (default: modulation, as in StyleGAN2)", choices=tuple(STYLES)
    )
    mapping_layers: int | None = option(None, "layers of a stylegan generator's mapping network (default: 8)")
    style_mixing: float | None = option(None, "share of a stylegan generator's images of two styles (default: 0.9)")
    gan_mode: str = with_default(AdversarialConfig, "gan_mode", "vanilla")
    init_type: str | None = option(
        None, "initialisation of the weights (default: what suits the network)", choices=tuple(INITIALIZATIONS)
    )
    init_gain: float | None = option(None, "scale of the initialisation (default: 0.02 for normal, else 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("generator", self.generator, tuple(CLASS_GENERATORS))
        for name in ("generator_filters", "discriminator_filters", "noise_dim", "mapping_layers"):
            check_range(name, getattr(self, name), 1)
        check_range("lambda_class", self.lambda_class, 0)
        check_range("style_mixing", self.style_mixing, 0, 1)

    @property
    def chosen_discriminator(self) -> str:
        """The discriminator's name."""
        return self.discriminator or self.generator

    @property
    def discriminator_norm(self) -> str | None:
        """`norm_D`, or what suits: a gradient penalty is one for every image, and BatchNorm ties them together."""
        untied = self.penalises_gradients or self.spectral_norm != "none"
        return self.norm_D or ("none" if untied and self.chosen_discriminator == "dcgan" else None)

    def build_networks(
        self, num_classes: int, image_size: int, channels: int
    ) -> tuple[ClassGenerator, ClassDiscriminator]:
        """A fresh generator and a fresh discriminator of squares; 0 classes: unconditional.

        Raises:
            ValueError: for an option that a network does not take.
        """
        common: dict[str, Any] = {"num_classes": num_classes, "image_size": image_size, "channels": channels}
        generator = build_class_network(
            "generator",
            self.generator,
            **common,
            noise_dim=self.noise_dim,
            filters=self.generator_filters,
            norm=self.norm,
            conditioning=self.conditioning,
            upsample=self.upsample,
            style=self.style,
            mapping_layers=self.mapping_layers,
            style_mixing=self.style_mixing,
        )
        discriminator = build_class_network(
            "discriminator",
            self.chosen_discriminator,
            **common,
            filters=self.discriminator_filters,
            norm=self.discriminator_norm,
            conditioning=self.conditioning_D,
            minibatch=self.minibatch,
        )
        self._prepare(generator, self.generator, self.spectral_norm == "both")
        self._prepare(discriminator, self.chosen_discriminator, self.spectral_norm != "none")
        return generator, discriminator

    def _prepare(self, network: nn.Module, name: str, normalized: bool) -> None:
        suits, gain = INITIALIZED.get(name, ("normal", 0.02))
        if self.init_type is not None:
            suits, gain = self.init_type, 0.02 if self.init_type == "normal" else 1.0
        initialize(network, suits, gain if self.init_gain is None else self.init_gain)
        if normalized:
            spectral_normalize(network)


class CGAN(GanModel):
    """A generator of (noise, label) and a discriminator of (image, label); images are domain b."""

    Config = ClassConfig
    layouts = ("classes",)
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
            raise ValueError(f"--crop_size {width} {height}: class-conditional networks make square images")
        if not (spec.classes or config.unconditional):
            raise ValueError("a class-conditional model needs labelled images: use --dataset_mode classes")
        self.num_classes = 0 if config.unconditional else len(spec.classes)
        self.generator, self.discriminator = config.build_networks(self.num_classes, width, spec.out_channels)
        auxiliary = config.conditioning_D == "acgan" and self.num_classes > 0
        self.game = Game(config, (spec.out_channels,), lambda_class=config.lambda_class if auxiliary else 0.0)
        self.players = {
            "discriminator": Player((self.discriminator,)),
            "generator": Player((self.generator,), ema=True),
        }

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        for _ in range(self.config.d_steps - 1):
            real, labels = self._images_and_labels(next_batch())
            with torch.no_grad():
                fake = self._draw(real, labels)
            yield self._judging(real, fake, labels, step)
            self.game.constrain(self.discriminator)

        real, labels = self._images_and_labels(next_batch())
        fake = self._draw(real, labels)
        yield self._judging(real, fake, labels, step)
        self.game.constrain(self.discriminator)

        losses = self.game.generator(self._judge(labels), fake, real, step, labels)
        yield Phase("generator", named("G", losses))

    def _images_and_labels(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return batch.image("b"), batch.labels() if self.num_classes else None

    def _draw(self, real: Tensor, labels: Tensor | None) -> Tensor:
        """As many images as there are real ones, from fresh noise."""
        noise = torch.randn(len(real), self.config.noise_dim, device=real.device, dtype=real.dtype)
        return self.generator(noise, labels)

    def _judge(self, labels: Tensor | None) -> Callable[..., Any]:
        return lambda images, features=False: self.discriminator(images, labels, features=features)

    def _judging(self, real: Tensor, fake: Tensor, labels: Tensor | None, step: int) -> Phase:
        real_loss, fake_loss, terms = self.game.discriminator(self._judge(labels), real, fake, step, labels)
        logs = {"D_real": real_loss, "D_fake": fake_loss}
        return Phase("discriminator", {"D": real_loss + fake_loss} | named("D", terms), logs)

    def latents(self, seeds: Sequence[int], labels: Tensor | None, truncation: float | None = None) -> Tensor:
        """What the images of `seeds` are drawn from, (N, L): noise, or what a mapping network makes of it.

        `truncation` gives up variety for typical images: noise is held within [-truncation, truncation] (Brock et al.
        2019, https://arxiv.org/abs/1809.11096, section 3.1), mapped latents are moved to their class's mean, all the
        way at 0 and not at all at 1 (Karras et al. 2019, https://arxiv.org/abs/1812.04948, appendix B).
        """
        maps = self.generator.maps_noise
        noise = torch.stack([_noise(seed, self.config.noise_dim, None if maps else truncation) for seed in seeds])
        labels = labels if self.num_classes else None
        with evaluation_mode(self.generator):
            latents = self.generator.latent(noise.to(next(self.generator.parameters())), labels)
            return latents if truncation is None else self.generator.truncated(latents, labels, truncation)

    def images(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Images (N, C, S, S) of latents and classes, which are numbers (N,) or mixtures (N, num_classes); pure."""
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
        """One image for every label of `batch`; that of row i is named by its label and the seed `seed + i`."""
        if target != "b":
            raise ValueError("cgan makes images from labels; it does not translate images")
        labels = batch.labels()
        return self.images(self.latents(range(seed, seed + len(labels)), labels, truncation), labels)

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = True) -> dict[str, Tensor]:
        """Images generated for the first classes, by the classes' names; `batch` only says where to work."""
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
    # By the inverse of the normal distribution, so that a seed's image keeps its character as it becomes more typical.
    limit = torch.special.ndtr(torch.tensor(truncation, dtype=torch.float64))
    share = torch.special.ndtr(noise.double())
    return torch.special.ndtri((1 - limit) + share * (2 * limit - 1)).float()
