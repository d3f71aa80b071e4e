"""The base of all models: players, phases, and what the trainer and the translator call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from i2i.config import check_choice, check_range, option
from i2i.data.batch import Batch, DataSpec
from i2i.errors import UserError
from i2i.losses import Distance
from i2i.models.adversarial import AdversarialConfig, AdversarialLoss
from i2i.models.statistics import DiscriminatorStatistics
from i2i.networks import (
    DISCRIMINATORS,
    GENERATORS,
    INITIALIZATIONS,
    NORMS,
    UPSAMPLINGS,
    build_generator,
    initialize,
)
from i2i.networks.spectral import spectral_normalize


class Phase(NamedTuple):
    """One update: which player's weights move on which losses."""

    player: str  # a key of model.players
    losses: dict[str, Tensor]  # by name, weighted; their sum is the objective, the keys are the log
    logs: dict[str, Tensor] = {}  # shown, not optimised
    step: bool = True  # False: only add to the gradient; a later phase of the player steps


class Player(NamedTuple):
    """Networks that are moved by one optimiser."""

    modules: tuple[nn.Module, ...]
    ema: bool = False  # True for generators: --ema averages their weights

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all modules that require a gradient."""
        return [p for module in self.modules for p in module.parameters() if p.requires_grad]


@dataclasses.dataclass(frozen=True)
class TranslationConfig(AdversarialConfig):
    """Options of models whose generators translate images."""

    generator: str = option("resnet_9blocks", "generator", choices=GENERATORS, aliases=("--netG",), architecture=True)
    num_blocks: int | None = option(None, "residual blocks of --generator resnet (default: 9)", architecture=True)
    num_downs: int | None = option(None, "downsampling layers of --generator unet (default: 8)", architecture=True)
    generator_filters: int = option(64, "filters of the generator's first layer", aliases=("--ngf",), architecture=True)
    discriminator: str = option(
        "basic", "discriminator", choices=DISCRIMINATORS, aliases=("--netD",), architecture=True
    )
    n_layers_D: int = option(3, "layers of the n_layers discriminator", architecture=True)
    discriminator_filters: int = option(
        64, "filters of the discriminator's first layer", aliases=("--ndf",), architecture=True
    )
    norm: str = option("instance", "normalisation", choices=NORMS, architecture=True)
    norm_D: str | None = option(
        None,
        "normalisation of the discriminator (default: --norm, but instance for batch with a gradient penalty)",
        choices=NORMS,
        architecture="discriminator_norm",
    )
    dropout: bool = option(False, "dropout in the generator")
    upsample: str = option("deconv", "upsampling in the generator", choices=UPSAMPLINGS, architecture=True)
    init_type: str = option("normal", "initialisation of the weights", choices=INITIALIZATIONS)
    init_gain: float = option(0.02, "scale of the initialisation")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("init_type", self.init_type, INITIALIZATIONS)
        check_choice("generator", self.generator, GENERATORS)
        check_choice("discriminator", self.discriminator, DISCRIMINATORS)
        check_choice("norm", self.norm, NORMS)
        check_choice("upsample", self.upsample, UPSAMPLINGS)
        for name in ("generator_filters", "discriminator_filters", "n_layers_D", "num_blocks", "num_downs"):
            check_range(name, getattr(self, name), 1)

    def build_generator(self, in_channels: int, out_channels: int) -> nn.Module:
        """Build and initialise a generator."""
        generator = build_generator(
            self.generator,
            in_channels=in_channels,
            out_channels=out_channels,
            filters=self.generator_filters,
            norm=self.norm,
            dropout=self.dropout,
            upsample=self.upsample,
            num_blocks=self.num_blocks,
            num_downs=self.num_downs,
        )
        initialize(generator, self.init_type, self.init_gain)
        if self.spectral_norm == "both":
            spectral_normalize(generator)
        return generator

    @property
    def discriminator_norm(self) -> str:
        """`norm_D` or its default: with a gradient penalty per image BatchNorm would mix images."""
        default = "instance" if self.norm == "batch" and self.penalises_gradients else self.norm
        return self.norm_D or default

    def build_discriminator(self, in_channels: int) -> nn.Module:
        """Build and initialise a discriminator of images with `in_channels`."""
        discriminator = DISCRIMINATORS[self.discriminator](
            in_channels=in_channels,
            filters=self.discriminator_filters,
            n_layers=self.n_layers_D,
            norm=self.discriminator_norm,
        )
        initialize(discriminator, self.init_type, self.init_gain)
        if self.spectral_norm != "none":
            spectral_normalize(discriminator)
        return discriminator


class GanModel(nn.Module):
    """A model yields phases: which player's weights move on which losses, in order. The trainer does the rest.

    Subclasses set `Config`, `players` and the class attributes below, and implement `training_step`, `translate` and
    `visuals`; those that make images from labels or noise implement `generate`.
    """

    Config: ClassVar[type]
    defaults: ClassVar[dict[str, Any]] = {}  # of options of others, such as the data's
    layouts: ClassVar[tuple[str, ...]] = ()  # values of --dataset_mode that it can learn from
    targets: ClassVar[tuple[str, ...]] = ("b",)  # domains that it translates to
    generates: ClassVar[bool] = False  # True: it makes images from labels or noise, and translates none
    reference_names: ClassVar[dict[str, str]] = {}  # G_A ... of the reference implementation -> attribute
    plateau_loss: str = "G_GAN"  # default of --plateau_loss
    players: dict[str, Player]
    num_classes: int = 0  # length of what generated images are conditioned on; 0: nothing
    accumulates: bool = False  # set by the trainer: a step has several batches, whose parts run side by side

    def __init__(self, config: Any, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    def load_networks(self, lpips_net: str, lpips_weights: str | None, device: torch.device) -> None:
        """Load the networks of its distances, such as LPIPS, which are not part of the model.

        Raises:
            UserError: if weights are missing; says which file belongs where.
        """
        for distance in vars(self).values():
            if isinstance(distance, Distance):
                distance.load_networks(lpips_net, lpips_weights, device)

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        """Yield the phases of one step; code after a yield runs with the updated weights.

        The phases may depend on the step and the options, never on the data. If `accumulates`, several of these
        generators are suspended at the same yield: keep no loss, and nothing with a graph, in local variables there.
        """
        raise NotImplementedError

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = False) -> Tensor:
        """Return images of domain `target`, float (N, C, H, W) in [-1, 1]; the same for any batching.

        With `running_statistics` (the reference's `--eval`) dropout is off and BatchNorm uses its running averages.

        Raises:
            UserError: if the model does not translate to that domain.
        """
        raise NotImplementedError

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = False) -> dict[str, Tensor]:
        """Return pictures of what the model does with `batch`, by the labels that files and boards show."""
        raise NotImplementedError

    def generate(self, labels: Tensor, seed: int, truncation: float | None = None) -> Tensor:
        """Return an image for each class index in `labels` (N,); row i is determined by its label and `seed + i`.

        Raises:
            UserError: if the model translates images.
        """
        raise UserError("this run translates images, and makes none of classes; call the translator with an image")

    def networks(self) -> list[nn.Module]:
        """Return the networks of all players."""
        return [network for player in self.players.values() for network in player.modules]

    def adversarial_losses(self) -> dict[str, AdversarialLoss]:
        """Return the adversarial losses by their names in the model."""
        return {name: module for name, module in self.named_modules() if isinstance(module, AdversarialLoss)}

    def discriminator_statistics(self) -> dict[str, DiscriminatorStatistics]:
        """Return how each discriminator has done lately, by the name of its loss; waits for the device."""
        return {name: loss.read_statistics() for name, loss in self.adversarial_losses().items()}

    def statistics_state(self) -> dict[str, list[float]]:
        """Return what `discriminator_statistics` depends on, as plain values; it is not in the state dict."""
        return {name: loss.statistics.state_dict() for name, loss in self.adversarial_losses().items()}

    def load_statistics_state(self, state: Mapping[str, list[float]]) -> None:
        """Continue from what `statistics_state` returned."""
        for name, loss in self.adversarial_losses().items():
            if name in state:
                loss.statistics.load_state_dict(state[name])

    def load_checkpoint(self, weights: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Load the weights of a checkpoint that was saved with `options`.

        Raises:
            UserError: if they do not fit; names the options that differ.
        """
        own = {field.name: options[field.name] for field in dataclasses.fields(self.config) if field.name in options}
        stored = dataclasses.replace(self.config, **own)
        now, then = architecture(self.config), architecture(stored)
        differing = {name: (now[name], then[name]) for name in now if now[name] != then[name]}
        spec = {name: (value, options[name]) for name, value in self.spec.as_dict().items() if name in options}
        try:
            if not differing:
                self.load_state_dict(weights)
                return
        except RuntimeError as error:
            differing = {name: values for name, values in spec.items() if values[0] != values[1]}
            reason = str(error).split("\n")[-1].strip()[:200]
        shown = ", ".join(f"--{name} is {ours}, there it is {theirs}" for name, (ours, theirs) in differing.items())
        raise UserError(f"the checkpoint is of another architecture: {shown or reason}")


def architecture(config: Any) -> dict[str, Any]:
    """Return the options of a model's config that decide which weights it has, by name."""
    fields = {field.name: field.metadata["architecture"] for field in dataclasses.fields(config)}
    return {name: getattr(config, name if mark is True else mark) for name, mark in fields.items() if mark}
