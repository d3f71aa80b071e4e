"""Networks by name: `GENERATORS[name](in_channels=..., out_channels=...)`; a new one is a file and a line here."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from .blocks import INITIALIZATIONS, NORMS, UPSAMPLINGS, choose, initialize
from .dcgan import DCGANDiscriminator, DCGANGenerator
from .mlp import MLPDiscriminator, MLPGenerator
from .patchgan import PatchGAN, PixelDiscriminator, basic_discriminator
from .resnet import ResNetGenerator
from .unet import UNetGenerator

__all__ = [
    "CLASS_DISCRIMINATORS",
    "CLASS_GENERATORS",
    "DISCRIMINATORS",
    "GENERATORS",
    "INITIALIZATIONS",
    "NORMS",
    "UPSAMPLINGS",
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

# (num_classes, image_size, channels, noise_dim, filters, norm): noise (N, noise_dim), label (N,) -> images
CLASS_GENERATORS: dict[str, Callable[..., MLPGenerator | DCGANGenerator]] = {
    "mlp": MLPGenerator,
    "dcgan": DCGANGenerator,
}

# (num_classes, image_size, channels, filters, norm): images, label (N,) -> logits (N, 1)
CLASS_DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLPDiscriminator,
    "dcgan": DCGANDiscriminator,
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
            raise ValueError(f"generator {name!r} takes no {depth}, got {value}: choose {_DEPTHS[depth]!r} to set it")
        keywords[depth] = value
    return build(**keywords)
