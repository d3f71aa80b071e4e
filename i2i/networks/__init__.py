"""Networks by name: `GENERATORS[name](in_channels=..., out_channels=...)`; a new one is a file and a line here."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, overload

from torch import nn

from i2i.errors import UserError
from i2i.networks.biggan import BigGANDiscriminator, BigGANGenerator
from i2i.networks.blocks import INITIALIZATIONS, NORMS, UPSAMPLINGS, DiscriminatorOutput, choose, initialize
from i2i.networks.class_conditional import (
    DISCRIMINATOR_CONDITIONINGS,
    GENERATOR_CONDITIONINGS,
    ClassDiscriminator,
    ClassGenerator,
)
from i2i.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i.networks.minibatch import MINIBATCH
from i2i.networks.mlp import MLPDiscriminator, MLPGenerator
from i2i.networks.patchgan import PatchGAN, PixelDiscriminator, basic_discriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.sngan import SNGANDiscriminator, SNGANGenerator
from i2i.networks.stylegan import StyleGANDiscriminator, StyleGANGenerator
from i2i.networks.unet import UNetGenerator

__all__ = [
    "CLASS_DISCRIMINATORS",
    "CLASS_GENERATORS",
    "DISCRIMINATORS",
    "DISCRIMINATOR_CONDITIONINGS",
    "GENERATORS",
    "GENERATOR_CONDITIONINGS",
    "INITIALIZATIONS",
    "MINIBATCH",
    "NORMS",
    "UPSAMPLINGS",
    "ClassDiscriminator",
    "ClassGenerator",
    "DiscriminatorOutput",
    "build_class_network",
    "build_generator",
    "initialize",
]

# (in_channels, out_channels, filters, norm, dropout, upsample): images (N, in, H, W) -> (N, out, H, W) in [-1, 1]
GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "resnet": ResNetGenerator,
    "resnet_6blocks": partial(ResNetGenerator, num_blocks=6),
    "resnet_9blocks": partial(ResNetGenerator, num_blocks=9),
    "unet": UNetGenerator,
    "unet_64": partial(UNetGenerator, num_downs=6),
    "unet_128": partial(UNetGenerator, num_downs=7),
    "unet_256": partial(UNetGenerator, num_downs=8),
}

# (in_channels, filters, n_layers, norm): images (N, in, H, W) -> logits (N, 1, h, w)
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "basic": basic_discriminator,
    "n_layers": PatchGAN,
    "pixel": PixelDiscriminator,
}

# (num_classes, image_size, channels, noise_dim, filters, conditioning, ...): noise (N, noise_dim), label -> images
CLASS_GENERATORS: dict[str, Callable[..., ClassGenerator]] = {
    "mlp": MLPGenerator,
    "dcgan": DCGANGenerator,
    "resnet": SNGANGenerator,
    "biggan": BigGANGenerator,
    "stylegan": StyleGANGenerator,
}

# (num_classes, image_size, channels, filters, conditioning, minibatch, ...): images, label -> logits (N, 1)
CLASS_DISCRIMINATORS: dict[str, Callable[..., ClassDiscriminator]] = {
    "mlp": MLPDiscriminator,
    "dcgan": DCGANDiscriminator,
    "resnet": SNGANDiscriminator,
    "biggan": BigGANDiscriminator,
    "stylegan": StyleGANDiscriminator,
}

_DEPTHS = {"num_blocks": "resnet", "num_downs": "unet"}


def build_generator(
    name: str, *, num_blocks: int | None = None, num_downs: int | None = None, **keywords: Any
) -> nn.Module:
    """Build `GENERATORS[name](**keywords)`, with `num_blocks` or `num_downs` unless None.

    Raises ValueError for an unknown name, and for a depth given to a name that fixes it or has none of that kind.
    """
    build = choose("generator", name, GENERATORS)
    for depth, value in (("num_blocks", num_blocks), ("num_downs", num_downs)):
        if value is None:
            continue
        if name != _DEPTHS[depth]:
            raise UserError(f"generator {name!r} takes no {depth}, got {value}: choose {_DEPTHS[depth]!r} to set it")
        keywords[depth] = value
    return build(**keywords)


@overload
def build_class_network(kind: Literal["generator"], name: str, **keywords: Any) -> ClassGenerator: ...
@overload
def build_class_network(kind: Literal["discriminator"], name: str, **keywords: Any) -> ClassDiscriminator: ...
def build_class_network(kind: str, name: str, **keywords: Any) -> ClassGenerator | ClassDiscriminator:
    """Build a generator or discriminator for classes with the keywords that are not None; the others are its defaults.

    Raises ValueError for an unknown name, and for a keyword that the network does not take.
    """
    registry: Mapping[str, Callable[..., Any]] = CLASS_GENERATORS if kind == "generator" else CLASS_DISCRIMINATORS
    build = choose(kind, name, registry)
    given = {keyword: value for keyword, value in keywords.items() if value is not None}
    for keyword, value in given.items():
        takers = [taker for taker in registry if keyword in inspect.signature(registry[taker]).parameters]
        if name not in takers:
            raise UserError(f"{kind} {name!r} takes no {keyword}, got {value!r}: {', '.join(takers) or 'none'} would")
    return build(**given)
