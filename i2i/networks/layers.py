"""Layers of torch that choose among kernels by device, layout, type and size; weights and keys are torch's.

`layer.kernels = "plain"` lets torch compute as it would by itself, and so do weights of float64.
"""

import torch
from torch import Tensor, nn

from i2i.networks.kernels import (
    conv_as_product,
    conv_by_blocks,
    conv_size,
    instance_norm,
    norm_as_batch,
    reflect_pad,
    transposed_conv_as_product,
)

# Up to this many positions the CPU's convolutions take longer to arrange their weights than to multiply by them: with
# 512 channels a product takes a half to a tenth of the time at 128 positions, and the same at about 2000.
FEW_POSITIONS = 512
# The CPU computes 16 output channels even where there are fewer, so four pixels of 4 channels cost as much as one. That
# pays the extra row and column of zeros that their kernel has if it is wide; at 4x4 in bf16 it does not.
FEW_CHANNELS, WIDE_KERNEL = 4, 7


class ReflectionPad(nn.Module):
    """Reflection padding of the same width on all four sides."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, image: Tensor) -> Tensor:
        return reflect_pad(image, *[self.padding] * 4)

    def extra_repr(self) -> str:
        return str(self.padding)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm of (N, channels, H, W) without parameters or running statistics.

    Raises ValueError for maps of a single value.
    """

    kernels = "auto"

    def forward(self, x: Tensor) -> Tensor:
        several = x.shape[2:].numel() > 1  # else torch says what is wrong
        if several and _chooses(self, x, "cpu", "cuda"):
            return instance_norm(x, self.eps)
        if several and len(x) == 1 and x.device.type == "cpu":
            # The same kernel without torch's view of (N, C) as channels, by which it misreads channels_last gradients.
            return norm_as_batch(x, self.eps)
        return super().forward(x)


class Conv2d(nn.Conv2d):
    """Convolution of a square kernel, with the same stride and zero padding in both directions."""

    kernels = "auto"

    def forward(self, x: Tensor) -> Tensor:
        if not _chooses(self, x, "cpu"):
            return super().forward(x)
        kernel_size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = conv_size(x, kernel_size, stride, padding)
        if len(x) * height * width <= FEW_POSITIONS:
            return conv_as_product(x, self.weight, self.bias, stride, padding)
        even = height % 2 == width % 2 == 0
        if stride == 1 and even and kernel_size >= WIDE_KERNEL and self.out_channels <= FEW_CHANNELS:
            return conv_by_blocks(x, self.weight, self.bias, padding)
        return super().forward(x)


class ConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution of a square kernel, with the same stride and paddings in both directions."""

    kernels = "auto"

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if _chooses(self, x, "cpu") and len(x) * x.shape[2:].numel() <= FEW_POSITIONS:
            stride, padding, output_padding = self.stride[0], int(self.padding[0]), self.output_padding[0]
            return transposed_conv_as_product(x, self.weight, self.bias, stride, padding, output_padding)
        return super().forward(x)


def _chooses(layer: InstanceNorm2d | Conv2d | ConvTranspose2d, x: Tensor, *devices: str) -> bool:
    return layer.kernels == "auto" and x.dtype != torch.float64 and x.device.type in devices
