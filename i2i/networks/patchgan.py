"""Discriminators that judge patches: PatchGAN (Isola et al. 2017, arXiv 1611.07004, section 3.2.2) and its 1x1 case."""

from itertools import pairwise

from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks.blocks import DiscriminatorOutput, conv_block, norm_layer
from i2i.networks.layers import Conv2d


class PatchGAN(nn.Module):
    """Judge overlapping patches of (N, in_channels, H, W): logits (N, 1, h, w), about H / 2**n_layers high.

    Three layers see 70x70 pixels a patch. Raises ValueError for an unknown `norm`, `n_layers` below 1, and in forward
    for images with a side under `minimum_size`.
    """

    def __init__(self, in_channels: int, filters: int = 64, n_layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        if n_layers < 1:
            raise UserError(f"n_layers {n_layers} is too small: choose 1 or more, or the discriminator 'pixel'")
        self.minimum_size = 3 * 2**n_layers
        widths = [in_channels, *(filters * min(2**layer, 8) for layer in range(n_layers + 1))]
        self.layers = nn.ModuleList(
            conv_block(
                Conv2d(inner, outer, 4, stride=2 if i < n_layers else 1, padding=1, bias=i == 0 or norm != "batch"),
                norm_layer(norm if i > 0 else "none", outer),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for i, (inner, outer) in enumerate(pairwise(widths))
        )
        self.head = Conv2d(widths[-1], 1, 4, padding=1)

    def forward(self, image: Tensor, features: bool = False) -> Tensor | DiscriminatorOutput:
        height, width = image.shape[-2:]
        if min(height, width) < self.minimum_size:
            raise UserError(
                f"a discriminator of {len(self.layers) - 1} layers needs images of at least "
                f"{self.minimum_size}x{self.minimum_size}, got {width}x{height}: use larger crops or fewer n_layers"
            )
        return _judge(image, self.layers, self.head, features)


def basic_discriminator(in_channels: int, filters: int = 64, n_layers: int = 3, norm: str = "instance") -> PatchGAN:
    """Build the 70x70 PatchGAN; raises ValueError for any other number of layers than 3."""
    if n_layers != 3:
        raise UserError(f"discriminator 'basic' has 3 layers, not {n_layers}: choose 'n_layers' to set their number")
    return PatchGAN(in_channels, filters, n_layers, norm)


class PixelDiscriminator(nn.Module):
    """Judge every pixel of (N, in_channels, H, W) by itself: logits (N, 1, H, W).

    All discriminators take the same keywords, but this one has no layers to count. Raises ValueError for any other
    `n_layers` than the default and for an unknown `norm`.
    """

    minimum_size = 1

    def __init__(self, in_channels: int, filters: int = 64, n_layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        if n_layers != 3:
            raise UserError(
                f"discriminator 'pixel' has no n_layers, got {n_layers}: choose 'n_layers' to set their number"
            )
        bias = norm != "batch"
        first = Conv2d(in_channels, filters, 1)
        second = Conv2d(filters, 2 * filters, 1, bias=bias)
        self.layers = nn.ModuleList(
            [
                conv_block(first, nn.Identity(), nn.LeakyReLU(0.2, inplace=True)),
                conv_block(second, norm_layer(norm, 2 * filters), nn.LeakyReLU(0.2, inplace=True)),
            ]
        )
        self.head = Conv2d(2 * filters, 1, 1, bias=bias)

    def forward(self, image: Tensor, features: bool = False) -> Tensor | DiscriminatorOutput:
        return _judge(image, self.layers, self.head, features)


def _judge(image: Tensor, layers: nn.ModuleList, head: nn.Module, features: bool) -> Tensor | DiscriminatorOutput:
    """Give the logits, and with them the maps that come out of the layers where `features` are wanted."""
    maps = [image]
    for layer in layers:
        maps.append(layer(maps[-1]))
    logits = head(maps[-1])
    return DiscriminatorOutput(logits, tuple(maps[1:])) if features else logits
