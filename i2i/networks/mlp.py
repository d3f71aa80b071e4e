"""Fully connected networks for small images of a given class (Mirza & Osindero 2014, arXiv 1411.1784)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from i2i.networks.blocks import choose
from i2i.networks.class_conditional import ClassDiscriminator, ClassGenerator, ConditionalBatchNorm, class_weights

VECTOR_NORMS = {"batch": nn.BatchNorm1d, "none": nn.Identity}


class MLPGenerator(ClassGenerator):
    """Draw images by three hidden layers of 4, 8 and 16 times `filters`; see ClassGenerator.

    Any size will do: an image of 1x1 with two channels is a point in the plane. Raises ValueError for a `norm` other
    than batch or none, and for "cbn" without batch.
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
    ) -> None:
        super().__init__(num_classes, image_size, channels, noise_dim, conditioning, norm)
        widths = [self.stem_dim, 4 * filters, 8 * filters, 16 * filters]
        self.layers = _layers(widths, norm, num_classes if self.conditioning == "cbn" else 0)
        self.head = nn.Linear(widths[-1], channels * image_size**2)

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        x, condition = self.stem_input(latent, label), self.norm_condition(label, latent.dtype)
        for layer in self.layers:
            x = layer(x, condition) if isinstance(layer, ConditionalBatchNorm) else layer(x)
        return self.head(x).tanh().unflatten(1, (self.channels, self.image_size, self.image_size))

    def latent_weights(self) -> Tensor:
        return self.layers[0].weight[:, : self.noise_dim]  # type: ignore[index]


class MLPDiscriminator(ClassDiscriminator):
    """Judge images by three hidden layers of 16, 8 and 4 times `filters`; see ClassDiscriminator.

    "concat" puts the one-hot class beside the pixels, for planes would repeat it. Raises ValueError for a `norm` other
    than batch or none.
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        filters: int = 64,
        norm: str = "none",
        conditioning: str = "concat",
        minibatch: str = "none",
    ) -> None:
        super().__init__(num_classes, image_size, channels, conditioning, minibatch)
        concat = self.conditioning == "concat"
        inputs = channels * image_size**2 + num_classes if concat else self.in_channels * image_size**2
        widths = [inputs, 16 * filters, 8 * filters, 4 * filters]
        self.layers = _layers(widths, norm)
        self.add_head(widths[-1])

    def with_planes(self, image: Tensor, label: Tensor | None) -> Tensor:
        if self.conditioning != "concat":
            return super().with_planes(image, label)
        assert label is not None
        return torch.cat([image.flatten(1), class_weights(label, self.num_classes, image.dtype)], dim=1)

    def trunk(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, hidden = image.flatten(1), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                hidden.append(x)
        return x, tuple(hidden)


def _layers(widths: list[int], norm: str, num_classes: int = 0) -> nn.Sequential:
    """Chain linear layers of these widths, their norms conditional where there are classes.

    The first has no norm, as it sees the noise or the pixels.
    """
    norm_layer = choose("norm for an mlp", norm, VECTOR_NORMS)
    layers: list[nn.Module] = []
    for i, (inner, outer) in enumerate(pairwise(widths)):
        if i == 0:
            normed: nn.Module = nn.Identity()
        else:
            normed = ConditionalBatchNorm(outer, num_classes, nn.BatchNorm1d) if num_classes else norm_layer(outer)
        layers += [nn.Linear(inner, outer), normed, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
