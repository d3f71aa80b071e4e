"""The networks of the baseline, see textbook.py: the reference implementation's, with its parameter names.

Sources: Zhu et al. 2017 (arXiv 1703.10593), Isola et al. 2017 (arXiv 1611.07004), Radford et al. 2016 (1511.06434).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
NORMS: dict[str, Norm] = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}


class ResidualBlock(nn.Module):
    def __init__(self, width: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(True), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResNet(nn.Module):
    """resnet_6blocks, resnet_9blocks."""

    def __init__(self, blocks: int, filters: int = 64, norm: str = "instance") -> None:
        super().__init__()
        make, bias, f = NORMS[norm], norm != "batch", filters
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, f, 7, bias=bias), make(f), nn.ReLU(True)]
        for width in (f, 2 * f):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), make(2 * width), nn.ReLU(True)]
        layers += [ResidualBlock(4 * f, make, bias) for _ in range(blocks)]
        for width in (4 * f, 2 * f):
            up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, bias=bias)
            layers += [up, make(width // 2), nn.ReLU(True)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(f, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UNetLevel(nn.Module):
    """One level of a U-Net around the next one; `inner` is None for the innermost."""

    def __init__(
        self, outer: int, width: int, inner: UNetLevel | None, norm: Norm, bias: bool, dropout: bool, outermost: bool
    ) -> None:
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(3 if outermost else outer, width, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(width * (2 if inner else 1), outer, 4, 2, 1, bias=bias or outermost)
        first = [down] if outermost else [nn.LeakyReLU(0.2, True), down]
        if outermost:
            layers = [*first, inner, nn.ReLU(True), up, nn.Tanh()]
        elif inner is None:
            layers = [*first, nn.ReLU(True), up, norm(outer)]
        else:
            layers = [
                *first,
                norm(width),
                inner,
                nn.ReLU(True),
                up,
                norm(outer),
                *([nn.Dropout(0.5)] if dropout else []),
            ]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class UNet(nn.Module):
    """unet_128 (7 levels), unet_256 (8 levels)."""

    def __init__(self, levels: int, filters: int = 64, norm: str = "batch", dropout: bool = True) -> None:
        super().__init__()
        widths = [filters * min(2**level, 8) for level in range(levels)]
        block: UNetLevel | None = None
        for level in reversed(range(levels)):
            outer, drops = (3 if level == 0 else widths[level - 1]), dropout and 4 <= level < levels - 1
            block = UNetLevel(outer, widths[level], block, NORMS[norm], norm != "batch", drops, level == 0)
        assert block is not None
        self.model = block

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PatchGAN(nn.Module):
    """The basic discriminator."""

    def __init__(self, channels: int, filters: int = 64, norm: str = "instance") -> None:
        super().__init__()
        make, bias = NORMS[norm], norm != "batch"
        layers: list[nn.Module] = [nn.Conv2d(channels, filters, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for width, stride in ((filters, 2), (2 * filters, 2), (4 * filters, 1)):
            layers += [nn.Conv2d(width, 2 * width, 4, stride, 1, bias=bias), make(2 * width), nn.LeakyReLU(0.2, True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * filters, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class DigitGenerator(nn.Module):
    """Noise and a one-hot class to a grey image of 28 x 28."""

    def __init__(self, noise: int = 100, filters: int = 64) -> None:
        super().__init__()
        f = filters
        self.model = nn.Sequential(
            *(nn.ConvTranspose2d(noise + 10, 2 * f, 7, bias=False), nn.BatchNorm2d(2 * f), nn.ReLU(True)),
            *(nn.ConvTranspose2d(2 * f, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(True)),
            *(nn.ConvTranspose2d(f, 1, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        return self.model(torch.cat([noise, F.one_hot(label, 10).to(noise)], 1)[:, :, None, None])


class DigitDiscriminator(nn.Module):
    """A grey image of 28 x 28 and its class to a logit, by projection."""

    def __init__(self, filters: int = 64) -> None:
        super().__init__()
        f = filters
        self.model = nn.Sequential(
            *(nn.Conv2d(1, f, 4, 2, 1), nn.LeakyReLU(0.2, True)),
            *(nn.Conv2d(f, 2 * f, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * f), nn.LeakyReLU(0.2, True)),
            nn.Flatten(),
        )
        self.head, self.embedding = nn.Linear(2 * f * 49, 1), nn.Embedding(10, 2 * f * 49)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        features = self.model(image)
        return self.head(features) + (self.embedding(label) * features).sum(1, keepdim=True)


def initialize(*networks: nn.Module) -> None:
    """N(0, 0.02), as the reference starts."""
    for module in itertools.chain.from_iterable(network.modules() for network in networks):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


GENERATORS: dict[str, Callable[[], nn.Module]] = {
    "resnet_6blocks": partial(ResNet, 6),
    "resnet_9blocks": partial(ResNet, 9),
    "unet_128": partial(UNet, 7),
    "unet_256": partial(UNet, 8),
}
