"""Building blocks of networks: norms, upsampling, chains of layers, initialisation."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks.kernels import reflect_pad
from i2i.networks.layers import Conv2d, ConvTranspose2d, InstanceNorm2d, ReflectionPad

T = TypeVar("T")


class DiscriminatorOutput(NamedTuple):
    """The result of `discriminator(image, ..., features=True)`.

    `logits` are (N, 1) or (N, 1, h, w), or a list of such maps at several scales; `features` are the maps or vectors
    on the way to them; `class_logits` are (N, num_classes) if an auxiliary classifier shares the features.
    """

    logits: Tensor | list[Tensor]
    features: tuple[Tensor, ...] = ()
    class_logits: Tensor | None = None


def choose(kind: str, name: str, choices: Mapping[str, T]) -> T:
    """Look `name` up in `choices`; raises ValueError naming both where it is not there."""
    if name not in choices:
        raise UserError(f"unknown {kind} {name!r}: choose one of {', '.join(choices)}")
    return choices[name]


def chosen_features(maps: Mapping[int, Tensor], layers: Sequence[int]) -> list[Tensor]:
    """Return the maps of `layers`; raises UserError for a layer that the network does not have."""
    for layer in layers:
        if layer not in maps:
            raise UserError(f"features of layer {layer}: choose layers from 0 to {max(maps)}")
    return [maps[layer] for layer in layers]


def pad_to_multiple(image: Tensor, multiple: int, minimum: int = 1) -> Tensor:
    """Reflect (N, C, H, W) at the bottom and right up to the next multiple of `multiple` that is at least `minimum`."""
    bottom, right = (max(-(-size // multiple) * multiple, minimum) - size for size in image.shape[-2:])
    return reflect_pad(image, 0, right, 0, bottom) if bottom or right else image


def _identity(channels: int) -> nn.Module:
    return nn.Identity()


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "none": _identity,
}


def norm_layer(norm: str, channels: int) -> nn.Module:
    """Build a norm for (N, channels, H, W); `instance` has neither parameters nor running statistics."""
    return choose("norm", norm, NORMS)(channels)


def dropout_layer(dropout: bool) -> nn.Module:
    """Build a dropout of probability 0.5, or the identity."""
    return nn.Dropout(0.5) if dropout else nn.Identity()


def conv_block(conv: nn.Module, norm: nn.Module, activation: nn.Module, padding: int = 0) -> nn.Sequential:
    """Chain reflection padding, a convolution, a norm and an activation under these names."""
    pad = ReflectionPad(padding) if padding else nn.Identity()
    return nn.Sequential(OrderedDict(pad=pad, conv=conv, norm=norm, activation=activation))


class InterpolateConv2d(Conv2d):
    """Enlarge twofold, then convolve 3x3: no checkerboard (Odena et al. 2016, distill.pub/2016/deconv-checkerboard)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool, mode: str) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, bias=bias)
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        align_corners = False if self.mode == "bilinear" else None
        enlarged = F.interpolate(x, scale_factor=2.0, mode=self.mode, align_corners=align_corners)
        return super().forward(reflect_pad(enlarged, 1, 1, 1, 1))


class PixelShuffleConv2d(Conv2d):
    """Convolve 3x3 to four times the channels, then fold them into space (Shi et al. 2016, arXiv 1609.05158)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, 4 * out_channels, kernel_size=3, bias=bias)
        self.repeat_kernels()

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(reflect_pad(x, 1, 1, 1, 1)), 2)

    @torch.no_grad()
    def repeat_kernels(self) -> None:
        """Give the four pixels that come of one the same kernel, ICNR (Aitken et al. 2017, arXiv 1707.02937)."""
        self.weight.copy_(self.weight[::4].repeat_interleave(4, dim=0))


def _deconv(in_channels: int, out_channels: int, bias: bool, kernel_size: int) -> nn.Module:
    # A 3x3 kernel needs one more row and column at the end to double the size; a 4x4 kernel does so by itself.
    return ConvTranspose2d(
        in_channels, out_channels, kernel_size, stride=2, padding=1, output_padding=kernel_size % 2, bias=bias
    )


UPSAMPLINGS: dict[str, Callable[[int, int, bool, int], nn.Module]] = {
    "deconv": _deconv,
    "nearest": lambda inner, outer, bias, _: InterpolateConv2d(inner, outer, bias, "nearest"),
    "bilinear": lambda inner, outer, bias, _: InterpolateConv2d(inner, outer, bias, "bilinear"),
    "pixelshuffle": lambda inner, outer, bias, _: PixelShuffleConv2d(inner, outer, bias),
}


def upsampling_layer(upsample: str, in_channels: int, out_channels: int, bias: bool, kernel_size: int) -> nn.Module:
    """Build a learned layer from (N, in_channels, H, W) to (N, out_channels, 2H, 2W).

    `kernel_size`, 3 or 4, is that of the transposed convolution; the other kinds convolve 3x3.
    """
    return choose("upsampling", upsample, UPSAMPLINGS)(in_channels, out_channels, bias, kernel_size)


def _kaiming(weight: Tensor, gain: float) -> Tensor:
    return nn.init.kaiming_normal_(weight, a=0.0, mode="fan_in")


INITIALIZATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain),
    "kaiming": _kaiming,
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain),
}


def initialize(network: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Draw the weights of all convolutions and linear layers anew, in place, and set their biases to 0.

    `gain` is the standard deviation of `normal`, the factor of `xavier` and `orthogonal`, and unused by `kaiming`.
    The scales of 2-d batch norms become N(1, gain), their shifts 0. Raises ValueError for an unknown `init_type`.
    """
    draw = choose("initialization", init_type, INITIALIZATIONS)
    for module in network.modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            draw(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
        if isinstance(module, PixelShuffleConv2d):
            module.repeat_kernels()
