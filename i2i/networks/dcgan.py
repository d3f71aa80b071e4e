"""Convolutional networks for images of a given class (DCGAN, Radford et al. 2016, arXiv 1511.06434)."""

from itertools import pairwise

from torch import Tensor, nn

from i2i.networks.blocks import conv_block, norm_layer, upsampling_layer
from i2i.networks.class_conditional import (
    ClassDiscriminator,
    ClassGenerator,
    ConditionalBatchNorm,
    base_and_doublings,
    cropped,
    padded,
)
from i2i.networks.layers import Conv2d, ConvTranspose2d


def _widths(filters: int, doublings: int) -> list[int]:
    """List the channels from the largest map to the smallest, doubled at each and at most 8 * filters."""
    return [filters * min(2**level, 8) for level in range(doublings)]


class _Block(nn.Module):
    """A convolution, a norm and a ReLU; a conditional norm is told the condition."""

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = conv, norm, nn.ReLU(inplace=True)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.conv(x)
        return self.activation(self.norm(x) if condition is None else self.norm(x, condition))


class DCGANGenerator(ClassGenerator):
    """Draw images by a linear stem and layers that double its map; see ClassGenerator.

    Channels halve towards the largest map, which has `filters`. `upsample` is a name in UPSAMPLINGS, `norm` one in
    NORMS. Raises ValueError for unknown names, for sizes under 8, and for "cbn" with another norm than batch.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int = 100,
        filters: int = 64,
        norm: str = "batch",
        conditioning: str = "concat",
        upsample: str = "deconv",
    ) -> None:
        super().__init__(num_classes, image_size, channels, noise_dim, conditioning, norm)
        base, doublings = base_and_doublings(image_size)
        widths = _widths(filters, doublings)[::-1]
        bias = norm != "batch"
        # A transposed convolution of a 1x1 map is a linear layer, and lets the norm and the initialisation be 2-d.
        self.stem = self._block(ConvTranspose2d(self.stem_dim, widths[0], base, bias=bias), norm, widths[0])
        self.up = nn.ModuleList(
            self._block(upsampling_layer(upsample, inner, outer, bias, kernel_size=4), norm, outer)
            for inner, outer in pairwise(widths)
        )
        self.head = upsampling_layer(upsample, widths[-1], channels, bias=True, kernel_size=4)

    def _block(self, conv: nn.Module, norm: str, channels: int) -> _Block:
        conditional = self.conditioning == "cbn"
        return _Block(
            conv, ConditionalBatchNorm(channels, self.num_classes) if conditional else norm_layer(norm, channels)
        )

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        condition = self.norm_condition(label, latent.dtype)
        x = self.stem(self.stem_input(latent, label)[..., None, None], condition)
        for layer in self.up:
            x = layer(x, condition)
        return cropped(self.head(x), self.image_size).tanh()

    def latent_weights(self) -> Tensor:
        weight: Tensor = self.stem.conv.weight  # type: ignore[assignment]  # (stem_dim, widths[0], base, base)
        return weight[: self.noise_dim].flatten(1).T


class DCGANDiscriminator(ClassDiscriminator):
    """Judge images by layers that halve them down to 4 to 7 pixels and a linear head; see ClassDiscriminator.

    Channels double from `filters`; the first layer has no norm. Raises ValueError for unknown names and sizes under 8.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        filters: int = 64,
        norm: str = "batch",
        conditioning: str = "projection",
        minibatch: str = "none",
    ) -> None:
        super().__init__(num_classes, image_size, channels, conditioning, minibatch)
        base, doublings = base_and_doublings(image_size)
        self.padded_size = base * 2**doublings
        widths = [self.in_channels, *_widths(filters, doublings)]
        self.down = nn.ModuleList(
            conv_block(
                Conv2d(inner, outer, 4, stride=2, padding=1, bias=i == 0 or norm != "batch"),
                norm_layer(norm if i > 0 else "none", outer),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for i, (inner, outer) in enumerate(pairwise(widths))
        )
        self.add_head(widths[-1], base)

    def trunk(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, maps = padded(image, self.padded_size), []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        return x, tuple(maps)
