"""Fully connected networks for small images of a given class (Mirza & Osindero 2014, arXiv 1411.1784)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import choose

VECTOR_NORMS = {"batch": nn.BatchNorm1d, "none": nn.Identity}


class MLPGenerator(nn.Module):
    """Draw (N, channels, S, S) in [-1, 1] from noise (N, noise_dim) and class numbers (N,), S = `image_size`.

    The class stands beside the noise as a one-hot vector. Raises ValueError for a `norm` other than batch or none.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int = 100,
        filters: int = 64,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.num_classes = num_classes
        self.shape = (channels, image_size, image_size)
        widths = [noise_dim + num_classes, 4 * filters, 8 * filters, 16 * filters]
        self.layers = _layers(widths, norm)
        self.head = nn.Linear(widths[-1], channels * image_size**2)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        one_hot = F.one_hot(label, self.num_classes).to(noise.dtype)
        hidden = self.layers(torch.cat([noise, one_hot], dim=1))
        return self.head(hidden).tanh().unflatten(1, self.shape)


class MLPDiscriminator(nn.Module):
    """Judge (N, channels, S, S) and class numbers (N,) together: logits (N, 1).

    The class is appended to the pixels as a one-hot vector. Raises ValueError for a `norm` other than batch or none.
    """

    def __init__(self, num_classes: int, image_size: int, channels: int, filters: int = 64, norm: str = "none") -> None:
        super().__init__()
        self.num_classes = num_classes
        widths = [channels * image_size**2 + num_classes, 16 * filters, 8 * filters, 4 * filters]
        self.layers = _layers(widths, norm)
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        one_hot = F.one_hot(label, self.num_classes).to(image.dtype)
        return self.head(self.layers(torch.cat([image.flatten(1), one_hot], dim=1)))


def _layers(widths: list[int], norm: str) -> nn.Sequential:
    """Chain linear layers of these widths; the first has no norm, as it sees the noise or the pixels."""
    norm_layer = choose("norm for an mlp", norm, VECTOR_NORMS)
    layers: list[nn.Module] = []
    for i, (inner, outer) in enumerate(pairwise(widths)):
        layers += [nn.Linear(inner, outer), norm_layer(outer) if i > 0 else nn.Identity(), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
