"""StyleGAN for images of a given class (Karras et al. 2019, arXiv 1812.04948; 2020, arXiv 1912.04958, 2006.06676)."""

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks.blocks import choose
from i2i.networks.class_conditional import (
    ClassDiscriminator,
    ClassGenerator,
    base_and_doublings,
    class_weights,
    cropped,
    padded,
)
from i2i.networks.equalized import RECTIFIER_GAIN, EqualizedConv2d, EqualizedLinear, equalized
from i2i.networks.minibatch import MinibatchStdDev
from i2i.networks.styled import AdaINSynthesis, ModulatedSynthesis

STYLES: dict[str, type[ModulatedSynthesis] | type[AdaINSynthesis]] = {
    "modulation": ModulatedSynthesis,
    "adain": AdaINSynthesis,
}
MOST_CHANNELS = 512
MAPPING_LR_MULTIPLIER = 0.01
MEAN_DECAY = 0.995


def _widths(filters: int, doublings: int) -> list[int]:
    """List the channels from the largest map to the smallest, doubled at each and at most MOST_CHANNELS."""
    return [min(filters * 2**level, MOST_CHANNELS) for level in range(doublings + 1)]


class StyleGANGenerator(ClassGenerator):
    """Map noise and class to a latent w (N, noise_dim), and style the layers of a convolutional network with it.

    `style` is "modulation" of weights, with images summed over all sizes, or "adain", and one image of the last map.
    `mapping_layers` map the noise, normalised, beside the class to w. In training two w share an image with probability
    `style_mixing`, the second from a random layer on. `filters` are the channels at the full size, doubled at each
    halving up to 512. Other than in the papers a tanh keeps images in [-1, 1], and the path length is not regularised.
    Raises ValueError for an unknown `style` or `conditioning`.
    """

    conditionings: ClassVar[tuple[str, ...]] = ("concat", "embedding")
    maps_noise: ClassVar[bool] = True
    mean_latent: Tensor

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int = 128,
        filters: int = 32,
        conditioning: str = "embedding",
        style: str = "modulation",
        mapping_layers: int = 8,
        style_mixing: float = 0.9,
    ) -> None:
        super().__init__(num_classes, image_size, channels, noise_dim, conditioning)
        base, doublings = base_and_doublings(image_size)
        self.style_mixing = style_mixing
        self.mapping = nn.Sequential()
        for inputs in [self.stem_dim] + [noise_dim] * (mapping_layers - 1):
            layer = EqualizedLinear(inputs, noise_dim, lr_multiplier=MAPPING_LR_MULTIPLIER, gain=RECTIFIER_GAIN)
            self.mapping.extend([layer, nn.LeakyReLU(0.2, inplace=True)])
        self.synthesis = choose("style", style, STYLES)(base, _widths(filters, doublings)[::-1], channels, noise_dim)
        # One for each class: truncation towards the mean of all would take images to no class at all.
        self.register_buffer("mean_latent", torch.zeros(max(num_classes, 1), noise_dim))

    def latent(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Map noise (N, noise_dim), at any scale, and classes to latents w (N, noise_dim)."""
        normalized = noise * (noise.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        return self.mapping(self.stem_input(normalized, label))

    def truncated(self, latent: Tensor, label: Tensor | None, psi: float) -> Tensor:
        """Move w (N, noise_dim) towards the mean of its class, on which it lies at psi 0 (2019, appendix B).

        A mixture of classes has the mixture of their means.
        """
        mean = self._class_weights(latent, label) @ self.mean_latent.to(latent.dtype)
        return mean.lerp(latent, psi)

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Draw images from one w each (N, noise_dim), or one for each layer (N, num_layers, noise_dim)."""
        if latent.dim() == 2:
            latent = latent[:, None].expand(-1, self.synthesis.num_layers, -1)
        return cropped(self.synthesis(latent), self.image_size).tanh()

    def latent_weights(self) -> Tensor:
        """Give the matrices of all styles below each other, as closed-form factorisation takes them (M, noise_dim).

        Shen & Zhou 2021, arXiv 2007.06600.
        """
        affines = [module for module in self.synthesis.modules() if isinstance(module, EqualizedLinear)]
        return torch.cat([affine.scaled_weight() for affine in affines])

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        latent = self.latent(noise, label)
        if not self.training:
            return self.synthesize(latent, label)
        self._move_mean(latent.detach(), label)
        if self.style_mixing:
            latent = self.mixed(latent, self.latent(torch.randn_like(noise), label))
        return self.synthesize(latent, label)

    def mixed(self, first: Tensor, second: Tensor) -> Tensor:
        """Let `second` take over from a random layer on, with probability `style_mixing`: (N, num_layers, noise_dim).

        2019, section 3.1; each image has its own layer.
        """
        layers = torch.arange(self.synthesis.num_layers, device=first.device)
        crossover = torch.randint(1, len(layers), (len(first), 1), device=first.device)
        mixes = torch.rand(len(first), 1, device=first.device) < self.style_mixing
        takes_over = mixes & (layers >= crossover)
        return torch.where(takes_over[..., None], second[:, None], first[:, None])

    @torch.no_grad()
    def _move_mean(self, latent: Tensor, label: Tensor | None) -> None:
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.to(self.mean_latent.dtype)
            weights = self._class_weights(latent, label)
            seen = weights.sum(dim=0)[:, None]
            mean = weights.T @ latent / seen.clamp_min(1e-8)
            self.mean_latent.lerp_(mean, (seen > 0).to(mean.dtype) * (1 - MEAN_DECAY))

    def _class_weights(self, latent: Tensor, label: Tensor | None) -> Tensor:
        if not self.num_classes:
            return latent.new_ones(len(latent), 1)
        assert label is not None
        return class_weights(label, self.num_classes, latent.dtype)


class DownBlock(nn.Module):
    """Halve (N, in_channels, H, W) by two convolutions beside a linear one (Karras et al. 2020, figure 7c, "residual").

    The sum of the two ways is scaled to unit variance, by the gains of their last convolutions. A 2x2 mean is the blur
    before every second pixel is left out, where the paper has [1, 3, 3, 1].
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = EqualizedConv2d(in_channels, in_channels, 3, padding=1, gain=RECTIFIER_GAIN)
        self.down = EqualizedConv2d(in_channels, out_channels, 3, stride=2)
        self.skip = EqualizedConv2d(in_channels, out_channels, 1, bias=False, gain=0.5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        blurred = F.avg_pool2d(_rectified(self.conv(x)), 2, stride=1, padding=1)
        return _rectified(self.down(blurred)) + self.skip(F.avg_pool2d(x, 2))


def _rectified(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)


class StyleGANDiscriminator(ClassDiscriminator):
    """Judge by residual blocks without norms (Karras et al. 2020, arXiv 1912.04958).

    `minibatch` "stddev" stands before the last convolution, as in the paper; the other layers take the vector after it.
    `filters` are the channels at the full size, doubled at each halving up to 512. Head and class embedding have an
    equalised learning rate as well. The class's vector is looked up, where arXiv 2006.06676 has a mapping network make
    it. Raises ValueError for an unknown `conditioning` or `minibatch`.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        filters: int = 32,
        conditioning: str = "projection",
        minibatch: str = "stddev",
    ) -> None:
        of_maps = minibatch == "stddev"
        super().__init__(num_classes, image_size, channels, conditioning, "none" if of_maps else minibatch)
        base, doublings = base_and_doublings(image_size)
        self.padded_size = base * 2**doublings
        widths = _widths(filters, doublings)
        last = widths[-1]
        self.from_image = EqualizedConv2d(self.in_channels, filters, 1, gain=RECTIFIER_GAIN)
        self.down = nn.ModuleList(DownBlock(inner, outer) for inner, outer in pairwise(widths))
        self.stddev = MinibatchStdDev() if of_maps else nn.Identity()
        self.conv = EqualizedConv2d(last + of_maps, last, 3, padding=1, gain=RECTIFIER_GAIN)
        self.dense = EqualizedLinear(last * base**2, last, gain=RECTIFIER_GAIN)
        self.add_head(last)

    def add_head(self, channels: int, size: int = 1) -> None:
        super().add_head(channels, size)
        self.head, self.embedding, self.classifier = map(equalized, (self.head, self.embedding, self.classifier))

    def trunk(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        maps = [_rectified(self.from_image(padded(image, self.padded_size)))]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = _rectified(self.conv(self.stddev(maps[-1])))
        vector = _rectified(self.dense(x.flatten(1)))
        return vector, (*maps, vector)
