"""Residual blocks of SNGAN (Miyato et al. 2018, arXiv 1802.05957, appendix B), which BigGAN took over."""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks.layers import Conv2d


def level_widths(filters: int, levels: int) -> list[int]:
    """List the channels from the largest map to the smallest, doubled at each and at most 16 * filters."""
    return [filters * min(2**level, 16) for level in range(levels)]


class GeneratorBlock(nn.Module):
    """Turn (N, in_channels, H, W) into (N, out_channels, 2H, 2W); norms that take a condition are given it.

    `norm` builds a norm for a number of channels.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        hidden = F.interpolate(self.norm1(x, *condition).relu(), scale_factor=2.0)
        hidden = self.norm2(self.conv1(hidden), *condition).relu_()
        # The paper enlarges before this 1x1 convolution, which gives the same for four times the work.
        return self.conv2(hidden) + F.interpolate(self.shortcut(x), scale_factor=2.0)


class DiscriminatorBlock(nn.Module):
    """Turn (N, in_channels, H, W) into (N, out_channels, H, W), halved where `downsample`.

    The first block of a network has no activation before its first convolution, as it sees pixels.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int, downsample: bool, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv1 = Conv2d(in_channels, hidden, 3, padding=1)
        self.conv2 = Conv2d(hidden, out_channels, 3, padding=1)
        self.pool = nn.AvgPool2d(2) if downsample else nn.Identity()
        resized = downsample or in_channels != out_channels
        self.shortcut = Conv2d(in_channels, out_channels, 1) if resized else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(x if self.first else x.relu()).relu_()
        # Means and 1x1 convolutions commute, and on the smaller map the convolution takes a quarter of the work.
        return self.pool(self.conv2(hidden)) + self.shortcut(self.pool(x))


def discriminator_blocks(in_channels: int, filters: int, downsamplings: int, wide: bool) -> nn.ModuleList:
    """Chain blocks that halve a map `downsamplings` times, and one that keeps its size.

    A block's first convolution has as many channels as its input, or as its output where `wide`.
    """
    widths = level_widths(filters, downsamplings + 1)
    return nn.ModuleList(
        DiscriminatorBlock(inner, outer if wide or i == 0 else inner, outer, downsample=i < downsamplings, first=i == 0)
        for i, (inner, outer) in enumerate(pairwise([in_channels, *widths]))
    )


def image_head(norm: nn.Module, in_channels: int, channels: int) -> nn.Sequential:
    """Finish a generator: (N, in_channels, H, W) to images (N, channels, H, W) in [-1, 1]."""
    return nn.Sequential(norm, nn.ReLU(), Conv2d(in_channels, channels, 3, padding=1), nn.Tanh())
