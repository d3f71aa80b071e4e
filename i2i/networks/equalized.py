"""Layers of an equalised learning rate: weights of unit variance that are scaled where they are used.

An optimiser such as Adam moves every weight by about its learning rate whatever the weight's size; kept at unit
variance, all weights learn at the same speed (Karras et al. 2018, arXiv 1710.10196, section 4.1). The scale is that of
He et al. 2015 (arXiv 1502.01852): gain / sqrt(inputs of a value), a gain of sqrt(2) before a rectifier.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RECTIFIER_GAIN = math.sqrt(2)


def _unit_normal(*shape: int, std: float = 1.0) -> nn.Parameter:
    return nn.Parameter(nn.init.normal_(torch.empty(shape), 0.0, std))


class EqualizedLinear(nn.Module):
    """Map (N, in_features) to (N, out_features); a `lr_multiplier` below 1 makes weights and biases learn slower."""

    def __init__(
        self, in_features: int, out_features: int, bias: float = 0.0, lr_multiplier: float = 1.0, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = _unit_normal(out_features, in_features, std=1 / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.gain = gain
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def scaled_weight(self) -> Tensor:
        """Give the matrix that is applied, (out_features, in_features)."""
        return self.weight * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.scaled_weight(), self.bias * self.lr_multiplier)


class EqualizedConv2d(nn.Module):
    """Convolve (N, in_channels, H, W) with square kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = _unit_normal(out_channels, in_channels, kernel_size, kernel_size)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain = gain
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.stride, self.padding = stride, padding

    def scaled_weight(self) -> Tensor:
        """Give the kernels that are applied, (out_channels, in_channels, kernel_size, kernel_size)."""
        return self.weight * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.scaled_weight(), self.bias, self.stride, self.padding)


class EqualizedEmbedding(nn.Module):
    """Look numbers (N,) up as vectors (N, dim) whose product with features of unit variance has unit variance."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.weight = _unit_normal(count, dim)
        self.gain = 1.0
        self.scale = self.gain / math.sqrt(dim)

    def forward(self, index: Tensor) -> Tensor:
        return F.embedding(index, self.weight) * self.scale


def equalized(layer: nn.Module) -> nn.Module:
    """Give a layer of the same shape for a linear layer or an embedding, without their weights; others stay."""
    if isinstance(layer, nn.Linear):
        return EqualizedLinear(layer.in_features, layer.out_features)
    if isinstance(layer, nn.Embedding):
        return EqualizedEmbedding(layer.num_embeddings, layer.embedding_dim)
    return layer
