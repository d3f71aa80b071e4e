"""StyleGAN's synthesis networks: a learned constant, upsampled and convolved, whose channels are styled by w.

Both ways take one w for each of their layers, (N, num_layers, w_dim). Bilinear enlarging is the papers' [1, 3, 3, 1]
filter, but for the border, where it repeats the outermost pixels.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks.equalized import RECTIFIER_GAIN, EqualizedConv2d, EqualizedLinear
from i2i.networks.layers import InstanceNorm2d


def enlarged(x: Tensor) -> Tensor:
    """Enlarge (N, C, H, W) twofold."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class NoisyLeakyReLU(nn.Module):
    """Add noise at a learned strength, which starts at 0, and a bias; then a leaky ReLU.

    One plane of noise serves all channels of an image; `strengths` is 1, or the number of channels. It is drawn anew in
    training. In evaluation it is always the same, so that an image depends on its latent alone.
    """

    noise: Tensor

    def __init__(self, channels: int, size: int, strengths: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(strengths, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.register_buffer("noise", nn.init.normal_(torch.empty(1, 1, size, size)))

    def forward(self, x: Tensor) -> Tensor:
        shape = (len(x), 1, *x.shape[2:])
        noise = torch.randn(shape, dtype=x.dtype, device=x.device) if self.training else self.noise
        return F.leaky_relu(torch.addcmul(x, self.strength, noise) + self.bias, 0.2, inplace=True)


class ModulatedConv2d(nn.Module):
    """Convolve with kernels whose input channels w scales and whose output channels are then brought to unit norm.

    Karras et al. 2020, arXiv 1912.04958, eq. 1 to 3. Every image has kernels of its own; scaling its channels before
    and after one common convolution comes to the same.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, w_dim: int, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, in_channels, bias=1.0)
        self.conv = EqualizedConv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        weight = self.conv.scaled_weight()
        x = F.conv2d(x * style[:, :, None, None], weight, padding=self.conv.padding)
        if not self.demodulate:
            return x
        squares = weight.square().sum(dim=(2, 3))
        norm = (style.square() @ squares.T + 1e-8).rsqrt()
        return x * (norm * RECTIFIER_GAIN)[:, :, None, None]


class ModulatedLayer(nn.Module):
    """Enlarge where asked to, convolve with modulated kernels, add noise, rectify: (N, C, H, W), w (N, w_dim)."""

    def __init__(self, in_channels: int, out_channels: int, size: int, enlarge: bool, w_dim: int) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, w_dim)
        self.activation = NoisyLeakyReLU(out_channels, size, strengths=1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.activation(self.conv(enlarged(x) if self.enlarge else x, w))


class ToImage(nn.Module):
    """Turn features into their share of the image (N, channels, H, W), by modulation without demodulation."""

    def __init__(self, in_channels: int, channels: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, channels, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x, w) + self.bias


class AdaINLayer(nn.Module):
    """Enlarge where asked to, convolve, add noise, rectify; then give each channel the mean and deviation that w says.

    Adaptive instance normalisation (Huang & Belongie 2017, arXiv 1703.06868; Karras et al. 2019, arXiv 1812.04948,
    eq. 1). `conv` is the identity in the layer that styles the constant.
    """

    def __init__(self, conv: nn.Module, channels: int, size: int, enlarge: bool, w_dim: int) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.conv = conv
        self.activation = NoisyLeakyReLU(channels, size, strengths=channels)
        self.norm = InstanceNorm2d(channels)
        self.affine = EqualizedLinear(w_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.norm(self.activation(self.conv(enlarged(x) if self.enlarge else x)))
        scale, shift = self.affine(w)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1 + scale)


def _convolutions(base: int, widths: list[int]) -> Iterator[tuple[int, int, int, bool]]:
    """List the convolutions from the smallest map to the largest: channels in, channels out, size, whether enlarged."""
    yield widths[0], widths[0], base, False
    for level, (inner, outer) in enumerate(pairwise(widths), start=1):
        yield inner, outer, base * 2**level, True
        yield outer, outer, base * 2**level, False


class ModulatedSynthesis(nn.Module):
    """Sum the images that all sizes contribute (Karras et al. 2020, arXiv 1912.04958, section 4.1 and figure 7b)."""

    def __init__(self, base: int, widths: list[int], channels: int, w_dim: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(nn.init.normal_(torch.empty(1, widths[0], base, base)))
        self.layers = nn.ModuleList(ModulatedLayer(*geometry, w_dim) for geometry in _convolutions(base, widths))
        self.to_image = nn.ModuleList(ToImage(width, channels, w_dim) for width in widths)
        self.num_layers = 2 * len(widths)

    def forward(self, latents: Tensor) -> Tensor:
        w = latents.unbind(1)
        x = self.layers[0](self.constant.expand(len(latents), -1, -1, -1), w[0])
        image = self.to_image[0](x, w[1])
        for level in range(1, len(self.to_image)):
            x = self.layers[2 * level - 1](x, w[2 * level - 1])
            x = self.layers[2 * level](x, w[2 * level])
            image = enlarged(image) + self.to_image[level](x, w[2 * level + 1])
        return image


class AdaINSynthesis(nn.Module):
    """Style by adaptive instance normalisation, and turn the last map into the image (arXiv 1812.04948, figure 1)."""

    def __init__(self, base: int, widths: list[int], channels: int, w_dim: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.ones(1, widths[0], base, base))
        self.layers = nn.ModuleList([AdaINLayer(nn.Identity(), widths[0], base, False, w_dim)])
        for inner, outer, size, enlarge in _convolutions(base, widths):
            conv = EqualizedConv2d(inner, outer, 3, padding=1, bias=False, gain=RECTIFIER_GAIN)
            self.layers.append(AdaINLayer(conv, outer, size, enlarge, w_dim))
        self.to_image = EqualizedConv2d(widths[-1], channels, 1)
        self.num_layers = 2 * len(widths)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.constant.expand(len(latents), -1, -1, -1)
        for layer, w in zip(self.layers, latents.unbind(1), strict=True):
            x = layer(x, w)
        return self.to_image(x)
