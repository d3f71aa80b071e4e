"""What every model has in common: players, phases, and the contract with the trainer and the translator."""

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
from i2i.models.game import AdversarialConfig
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

# What the weights were made for, whether or not their shapes tell: option -> attribute of the config.
ARCHITECTURE = {
    "generator": "generator",
    "num_blocks": "num_blocks",
    "num_downs": "num_downs",
    "generator_filters": "generator_filters",
    "discriminator": "discriminator",
    "n_layers_D": "n_layers_D",
    "discriminator_filters": "discriminator_filters",
    "noise_dim": "noise_dim",
    "norm": "norm",
    "norm_D": "discriminator_norm",
    "upsample": "upsample",
    "spectral_norm": "spectral_norm",
    "conditioning": "conditioning",
    "conditioning_D": "conditioning_D",
    "unconditional": "unconditional",
    "minibatch": "minibatch",
    "style": "style",
    "mapping_layers": "mapping_layers",
}


class Phase(NamedTuple):
    """One update: whose weights move on which losses."""

    player: str  # a key of model.players
    losses: dict[str, Tensor]  # by name, weighted; their sum is the objective, the keys are the log
    logs: dict[str, Tensor] = {}  # shown, not optimised
    step: bool = True  # False: only add to the gradient; a later phase of the player steps


class Player(NamedTuple):
    """Modules that one optimiser moves."""

    modules: tuple[nn.Module, ...]
    ema: bool = False  # whether a moving average of the weights is of use

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all modules that require a gradient."""
        return [p for module in self.modules for p in module.parameters() if p.requires_grad]


@dataclasses.dataclass(frozen=True)
class TranslationConfig(AdversarialConfig):
    """Options of models whose generators turn images into images."""

    generator: str = option("resnet_9blocks", "generator", choices=tuple(GENERATORS), aliases=("--netG",))
    num_blocks: int | None = option(None, "residual blocks of --generator resnet (default: 9)")
    num_downs: int | None = option(None, "halvings of --generator unet (default: 8)")
    generator_filters: int = option(64, "filters of the generator's first layer", aliases=("--ngf",))
    discriminator: str = option("basic", "discriminator", choices=tuple(DISCRIMINATORS), aliases=("--netD",))
    n_layers_D: int = option(3, "layers of the n_layers discriminator")
    discriminator_filters: int = option(64, "filters of the discriminator's first layer", aliases=("--ndf",))
    norm: str = option("instance", "normalisation", choices=tuple(NORMS))
    norm_D: str | None = option(
        None,
        "the discriminator's (default: that of --norm, but instance for batch under a gradient penalty)",
        choices=tuple(NORMS),
    )
    dropout: bool = option(False, "dropout in the generator")
    upsample: str = option("deconv", "how the generator enlarges", choices=tuple(UPSAMPLINGS))
    init_type: str = option("normal", "initialisation of the weights", choices=tuple(INITIALIZATIONS))
    init_gain: float = option(0.02, "scale of the initialisation")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("init_type", self.init_type, tuple(INITIALIZATIONS))
        check_choice("generator", self.generator, tuple(GENERATORS))
        check_choice("discriminator", self.discriminator, tuple(DISCRIMINATORS))
        check_choice("norm", self.norm, tuple(NORMS))
        check_choice("upsample", self.upsample, tuple(UPSAMPLINGS))
        for name in ("generator_filters", "discriminator_filters", "n_layers_D", "num_blocks", "num_downs"):
            check_range(name, getattr(self, name), 1)

    def build_generator(self, in_channels: int, out_channels: int) -> nn.Module:
        """A fresh generator from `in_channels` to `out_channels`."""
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
        """`norm_D`, or what suits: a gradient penalty is one for every image, and BatchNorm ties them together."""
        untied = "instance" if self.norm == "batch" and self.penalises_gradients else self.norm
        return self.norm_D or untied

    def build_discriminator(self, in_channels: int) -> nn.Module:
        """A fresh discriminator of images with `in_channels`."""
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
    """A model says whose weights move on which losses, in order; the trainer does everything else.

    Subclasses set `Config`, `players` and, where they have a counterpart in the reference implementation,
    `reference_names`; they implement `training_step`, `translate` and `visuals`.
    """

    Config: ClassVar[type]
    defaults: ClassVar[dict[str, Any]] = {}  # of options that others own, such as the data's
    layouts: ClassVar[tuple[str, ...]] = ()  # the --dataset_mode that it can learn from
    targets: ClassVar[tuple[str, ...]] = ("b",)  # the domains that it translates to
    reference_names: ClassVar[dict[str, str]] = {}  # G_A ... -> attribute
    plateau_loss: str = "G_GAN"  # what --lr_policy plateau watches unless told otherwise
    players: dict[str, Player]
    accumulates: bool = False  # set by the trainer: a step is over several batches, which are alive at the same time

    def __init__(self, config: Any, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec

    def load_networks(self, lpips_net: str, lpips_weights: str | None, device: torch.device) -> None:
        """Load what its distances need to learn by, which is no part of the model.

        Raises:
            ValueError: where the weights are missing; says which file belongs where.
        """
        for distance in vars(self).values():
            if isinstance(distance, Distance):
                distance.load_networks(lpips_net, lpips_weights, device)

    def training_step(self, next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        """Yield the phases of one step; code after a yield runs with the updated weights.

        If `accumulates`, several of these are between two phases at the same time: what a local variable holds at a
        yield is held by each of them, so that it should be neither a loss nor anything else with a graph.
        The phases may depend on the step and the options, never on the data.
        """
        raise NotImplementedError

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = False) -> Tensor:
        """Images of domain `target` for `batch`, float (N, C, H, W) in [-1, 1]; pure, and the same for any batching.

        `running_statistics` is the reference's `--eval`: no dropout, and BatchNorm's averages from training.

        Raises:
            ValueError: if the model does not translate to that domain.
        """
        raise NotImplementedError

    def visuals(self, batch: Batch, *, seed: int = 0, running_statistics: bool = False) -> dict[str, Tensor]:
        """Pictures of what the model does with `batch`, by the labels that files and boards show; pure."""
        raise NotImplementedError

    def load_checkpoint(self, weights: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Load the weights of a checkpoint that was saved with `options`.

        Raises:
            ValueError: if they do not fit; names the options that differ.
        """
        own = {field.name: options[field.name] for field in dataclasses.fields(self.config) if field.name in options}
        stored = dataclasses.replace(self.config, **own)
        differing = {
            name: (getattr(self.config, attribute), getattr(stored, attribute))
            for name, attribute in ARCHITECTURE.items()
            if getattr(self.config, attribute, None) != getattr(stored, attribute, None)
        }
        spec = {name: (value, options[name]) for name, value in self.spec.as_dict().items() if name in options}
        try:
            if not differing:
                self.load_state_dict(weights)
                return
        except RuntimeError as error:
            differing = {name: values for name, values in spec.items() if values[0] != values[1]}
            reason = str(error).split("\n")[-1].strip()[:200]
        shown = ", ".join(f"--{name} is {now}, there it is {then}" for name, (now, then) in differing.items())
        raise UserError(f"the checkpoint is of another architecture: {shown or reason}")
