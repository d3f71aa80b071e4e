"""The options of class-conditional GANs, and the networks that they select."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import nn

from i2i.config import check_choice, check_range, option, with_default
from i2i.errors import UserError
from i2i.losses import GAN_OBJECTIVES
from i2i.models.adversarial import AdversarialConfig
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

INITIALIZED = {"resnet": ("xavier", 1.0), "biggan": ("orthogonal", 1.0)}  # as in their papers; others: normal


@dataclasses.dataclass(frozen=True)
class ClassConfig(AdversarialConfig):
    """The options of the class-conditional GAN; None selects the default of the network."""

    # without rotations and flips, which may turn one digit into another
    adaptive_policy: ClassVar[tuple[str, ...]] = ("translation", "scale", "color")
    generator: str = option("dcgan", "generator", choices=CLASS_GENERATORS, aliases=("--netG",), architecture=True)
    generator_filters: int = option(64, "width of the generator", aliases=("--ngf",), architecture=True)
    discriminator: str | None = option(
        None,
        "discriminator (default: the generator's)",
        choices=CLASS_DISCRIMINATORS,
        aliases=("--netD",),
        architecture=True,
    )
    discriminator_filters: int = option(64, "width of the discriminator", aliases=("--ndf",), architecture=True)
    noise_dim: int = option(100, "length of the noise vector", architecture=True)
    unconditional: bool = option(False, "train without class labels", architecture=True)
    conditioning: str | None = option(
        None,
        "how the class enters the generator (default: by generator)",
        choices=GENERATOR_CONDITIONINGS,
        architecture=True,
    )
    conditioning_D: str | None = option(
        None,
        "how the class enters the discriminator (default: by discriminator)",
        choices=DISCRIMINATOR_CONDITIONINGS,
        architecture=True,
    )
    lambda_class: float | None = option(
        None, "weight of the classification loss of --conditioning_D acgan (default: 1)"
    )
    norm: str | None = option(
        None,
        "normalisation of an mlp, dcgan or resnet generator (default: batch)",
        choices=NORMS,
        architecture=True,
    )
    norm_D: str | None = option(
        None,
        "normalisation of the discriminator (default: batch for dcgan; none with spectral norm or gradient penalties)",
        choices=NORMS,
        architecture="discriminator_norm",
    )
    upsample: str | None = option(
        None, "upsampling of a dcgan generator (default: deconv)", choices=UPSAMPLINGS, architecture=True
    )
    minibatch: str | None = option(
        None,
        "layer by which the discriminator compares the images of a batch",
        choices=MINIBATCH,
        architecture=True,
    )
    style: str | None = option(
        None,
        "styles of a stylegan generator (default: modulation, as in StyleGAN2)",
        choices=STYLES,
        architecture=True,
    )
    mapping_layers: int | None = option(
        None, "layers of a stylegan generator's mapping network (default: 8)", architecture=True
    )
    style_mixing: float | None = option(None, "probability of style mixing in a stylegan generator (default: 0.9)")
    gan_mode: str = with_default(AdversarialConfig, "gan_mode", "vanilla")
    init_type: str | None = option(None, "initialisation of the weights (default: by network)", choices=INITIALIZATIONS)
    init_gain: float | None = option(None, "scale of the initialisation (default: 0.02 for normal, else 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("generator", self.generator, CLASS_GENERATORS)
        for name in ("generator_filters", "discriminator_filters", "noise_dim", "mapping_layers"):
            check_range(name, getattr(self, name), 1)
        check_range("style_mixing", self.style_mixing, 0, 1)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.lambda_class is not None and self.lambda_class <= 0:
            raise UserError(f"--lambda_class {self.lambda_class:g}: must be more than 0")
        # Earlier versions saved 1 with every network.
        if self.lambda_class not in (None, 1) and self.conditioning_D != "acgan":
            raise UserError(f"--lambda_class {self.lambda_class:g}: only --conditioning_D acgan has a classifier")
        if self.generator == "stylegan" and self.spectral_norm == "both":
            raise UserError("--spectral_norm both: a stylegan generator normalises its weights itself, use D")
        if self.chosen_discriminator == "stylegan" and GAN_OBJECTIVES[self.gan_mode].weight_clip is not None:
            raise UserError(
                f"--gan_mode {self.gan_mode} clips weights, which a stylegan discriminator scales where it uses them: "
                "use --gan_mode hinge or wgangp"
            )

    @property
    def chosen_discriminator(self) -> str:
        """The name of the discriminator."""
        return self.discriminator or self.generator

    @property
    def discriminator_norm(self) -> str | None:
        """`norm_D` or its default: with gradient penalties per image BatchNorm would mix images."""
        untied = self.penalises_gradients or self.spectral_norm != "none"
        return self.norm_D or ("none" if untied and self.chosen_discriminator == "dcgan" else None)

    def build_networks(
        self, num_classes: int, image_size: int, channels: int
    ) -> tuple[ClassGenerator, ClassDiscriminator]:
        """Build and initialise both networks for square images; 0 classes means unconditional.

        Raises:
            UserError: for an option that a network does not take.
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
