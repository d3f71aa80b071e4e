"""Convolutional networks for images of a given class (DCGAN, Radford et al. 2016, arXiv 1511.06434)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import conv_block, norm_layer
from .layers import Conv2d, ConvTranspose2d

_SIZES = {base * 2**doublings: (base, doublings) for base in (4, 5, 6, 7) for doublings in range(1, 12)}


def base_and_doublings(image_size: int) -> tuple[int, int]:
    """Split a size into a base of 4 to 7 and the number of its doublings, at least 1: 28 -> (7, 2).

    Raises ValueError for any other size, with the nearest that work.
    """
    if image_size not in _SIZES:
        nearest = sorted(sorted(_SIZES, key=lambda size: abs(size - image_size))[:2])
        raise ValueError(
            f"dcgan makes squares of 4, 5, 6 or 7 times a power of two, not {image_size}: "
            f"choose {nearest[0]} or {nearest[1]}"
        )
    return _SIZES[image_size]


def _widths(filters: int, doublings: int) -> list[int]:
    """List the channels from the largest map to the smallest, doubled at each and at most 8 * filters."""
    return [filters * min(2**level, 8) for level in range(doublings)]


class DCGANGenerator(nn.Module):
    """Draw (N, channels, S, S) in [-1, 1] from noise (N, noise_dim) and class numbers (N,), S = `image_size`.

    The class stands beside the noise as a one-hot vector: unlike a learned embedding it cannot grow until the noise is
    drowned and a class becomes a single image. Raises ValueError for a size that is not 4 to 7 times a power of two and
    for an unknown `norm`.
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
        base, doublings = base_and_doublings(image_size)
        widths = _widths(filters, doublings)[::-1]
        bias = norm != "batch"
        self.noise_dim = noise_dim
        self.num_classes = num_classes
        # A transposed convolution of a 1x1 map is a linear layer, and lets the norm and the initialisation be 2-d.
        project = ConvTranspose2d(noise_dim + num_classes, widths[0], base, bias=bias)
        self.stem = conv_block(project, norm_layer(norm, widths[0]), nn.ReLU(inplace=True))
        self.up = nn.ModuleList(
            conv_block(
                ConvTranspose2d(inner, outer, 4, stride=2, padding=1, bias=bias),
                norm_layer(norm, outer),
                nn.ReLU(inplace=True),
            )
            for inner, outer in pairwise(widths)
        )
        self.head = ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        one_hot = F.one_hot(label, self.num_classes).to(noise.dtype)
        x = self.stem(torch.cat([noise, one_hot], dim=1)[..., None, None])
        for layer in self.up:
            x = layer(x)
        return self.head(x).tanh()


class DCGANDiscriminator(nn.Module):
    """Judge (N, channels, S, S) and class numbers (N,) together: logits (N, 1).

    The logit is linear in the image's features plus their product with an embedding of the class (projection, Miyato &
    Koyama 2018, arXiv 1802.05637, eq. 3). Raises ValueError for a size that is not 4 to 7 times a power of two and for
    an unknown `norm`.
    """

    def __init__(
        self, num_classes: int, image_size: int, channels: int, filters: int = 64, norm: str = "batch"
    ) -> None:
        super().__init__()
        base, doublings = base_and_doublings(image_size)
        widths = [channels, *_widths(filters, doublings)]
        self.down = nn.ModuleList(
            conv_block(
                Conv2d(inner, outer, 4, stride=2, padding=1, bias=i == 0 or norm != "batch"),
                norm_layer(norm if i > 0 else "none", outer),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for i, (inner, outer) in enumerate(pairwise(widths))
        )
        self.head = nn.Linear(widths[-1] * base**2, 1)
        self.embedding = nn.Embedding(num_classes, widths[-1] * base**2)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        for layer in self.down:
            image = layer(image)
        features = image.flatten(1)
        return self.head(features) + (self.embedding(label) * features).sum(dim=1, keepdim=True)
