"""Residual networks for images of a given class (SNGAN; Miyato et al. 2018, arXiv 1802.05957, appendix B).

The class enters as in Miyato & Koyama 2018 (arXiv 1802.05637). Widths follow a rule for any size, `level_widths`; it
gives the papers' networks at 128x128, and at 64x64 but for the last block of D, which halves there too. Theirs for
32x32 differ: they keep one width (256 in G, 128 in D), and D halves twice and then has two blocks that do not. Spectral
normalisation is put on from outside (`spectral_normalize`).
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from i2i.networks.blocks import norm_layer
from i2i.networks.class_conditional import (
    ClassDiscriminator,
    ClassGenerator,
    ConditionalBatchNorm,
    base_and_doublings,
    cropped,
    padded,
)
from i2i.networks.residual import GeneratorBlock, discriminator_blocks, image_head, level_widths


class SNGANGenerator(ClassGenerator):
    """Draw with residual blocks that double the map; by default the class enters their batch norms ("cbn").

    Raises ValueError for sizes under 8, an unknown `conditioning` or `norm`, and "cbn" with a norm other than batch.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int = 128,
        filters: int = 64,
        norm: str = "batch",
        conditioning: str = "cbn",
    ) -> None:
        super().__init__(num_classes, image_size, channels, noise_dim, conditioning, norm)
        self.base, doublings = base_and_doublings(image_size)
        widths = level_widths(filters, doublings + 1)[::-1]
        block_norm: Callable[[int], nn.Module] = partial(norm_layer, norm)
        if self.conditioning == "cbn":
            block_norm = partial(ConditionalBatchNorm, condition_dim=num_classes)
        self.stem = nn.Linear(self.stem_dim, widths[0] * self.base**2)
        self.blocks = nn.ModuleList(GeneratorBlock(inner, outer, block_norm) for inner, outer in pairwise(widths))
        self.head = image_head(norm_layer(norm, filters), filters, channels)

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        condition = self.norm_condition(label, latent.dtype)
        x = self.stem(self.stem_input(latent, label)).unflatten(1, (-1, self.base, self.base))
        for block in self.blocks:
            x = block(x) if condition is None else block(x, condition)
        return cropped(self.head(x), self.image_size)

    def latent_weights(self) -> Tensor:
        return self.stem.weight[:, : self.noise_dim]


class SNGANDiscriminator(ClassDiscriminator):
    """Judge with residual blocks that halve the map by average pooling, and the sum over the last map's positions.

    Raises ValueError for sizes under 8 and an unknown `conditioning` or `minibatch`.
    """

    wide: ClassVar[bool] = False

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        filters: int = 64,
        conditioning: str = "projection",
        minibatch: str = "none",
    ) -> None:
        super().__init__(num_classes, image_size, channels, conditioning, minibatch)
        base, doublings = base_and_doublings(image_size)
        self.padded_size = base * 2**doublings
        self.blocks = discriminator_blocks(self.in_channels, filters, doublings, self.wide)
        self.add_head(level_widths(filters, doublings + 1)[-1])

    def trunk(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, maps = padded(image, self.padded_size), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        vector = x.relu().sum(dim=(2, 3))
        return vector, (*maps, vector)
