"""Base classes of class-conditional networks: square sizes, conditioning, and the discriminator's output."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks.blocks import DiscriminatorOutput, choose
from i2i.networks.minibatch import MINIBATCH

GENERATOR_CONDITIONINGS = ("concat", "embedding", "cbn")
DISCRIMINATOR_CONDITIONINGS = ("concat", "embedding", "projection", "acgan")
EMBEDDING_DIM = 64


def base_and_doublings(image_size: int) -> tuple[int, int]:
    """Give the base of 4 to 7 and the number of its doublings that reach a size: 28 -> (7, 2), 30 -> (4, 3) for 32.

    Raises ValueError for sizes under 8.
    """
    if image_size < 8:
        raise UserError(f"convolutional networks make squares of 8 pixels and more, not {image_size}: choose mlp")
    doublings = int(math.log2(image_size / 4))
    base = -(-image_size // 2**doublings)
    return (4, doublings + 1) if base == 8 else (base, doublings)


def cropped(image: Tensor, size: int) -> Tensor:
    """Cut (N, C, H, W) to its central square of `size`."""
    top, left = ((side - size) // 2 for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]


def padded(image: Tensor, size: int) -> Tensor:
    """Surround the square (N, C, H, H) with zeros up to `size`: the inverse of `cropped`."""
    missing = size - image.shape[-1]
    before, after = missing // 2, missing - missing // 2
    return F.pad(image, (before, after, before, after)) if missing else image


def class_weights(label: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Turn class numbers (N,) into one-hot rows (N, num_classes); float (N, num_classes), mixtures of classes, stay."""
    return label.to(dtype) if label.is_floating_point() else F.one_hot(label, num_classes).to(dtype)


class ClassEmbedding(nn.Module):
    """Learn a vector of `dim` for each class, or one between them for a mixture; its mean square is always 1.

    Without that it could grow until the noise beside it is drowned and a class becomes a single image (Karras et al.
    2020, arXiv 2006.06676, appendix C).
    """

    def __init__(self, num_classes: int, dim: int = EMBEDDING_DIM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, dim)

    def forward(self, weights: Tensor) -> Tensor:
        vector = weights @ self.embedding.weight
        return vector * (vector.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class ClassPlanes(ClassEmbedding):
    """Learn an image (1, size, size) for each class; its mean square is always 1, about that of those beside it."""

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__(num_classes, size**2)
        self.size = size

    def forward(self, weights: Tensor) -> Tensor:
        return super().forward(weights).view(-1, 1, self.size, self.size)


def layers_of(network: nn.Module) -> list[nn.Module]:
    """List a network's modules but for ClassPlanes, which are an input: what bounds weights leaves them alone."""
    inputs = {inner for module in network.modules() if isinstance(module, ClassPlanes) for inner in module.modules()}
    return [module for module in network.modules() if module not in inputs]


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift are linear in a condition (N, condition_dim), such as a one-hot class.

    de Vries et al. 2017 (arXiv 1707.00683), Dumoulin et al. 2017 (arXiv 1610.07629). `batch_norm` is the class of torch
    for the dimensions of what is normalised.
    """

    def __init__(self, channels: int, condition_dim: int, batch_norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = batch_norm(channels, affine=False)
        self.scale = nn.Linear(condition_dim, channels, bias=False)
        self.shift = nn.Linear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shape = (*x.shape[:2], *[1] * (x.dim() - 2))
        return torch.addcmul(self.shift(condition).view(shape), self.norm(x), 1 + self.scale(condition).view(shape))


class ClassGenerator(nn.Module):
    """Draw (N, channels, S, S) in [-1, 1] from noise (N, noise_dim) and classes, S = `image_size`.

    Classes are numbers (N,) or mixtures (N, num_classes) whose rows add up to 1; None where `num_classes` is 0, which
    makes the generator unconditional. `conditioning`, one of `conditionings`, says how they enter: "concat" (one-hot
    beside the noise; Mirza & Osindero 2014, arXiv 1411.1784), "embedding" (a learned vector beside the noise) or "cbn"
    (in the batch norms, so it goes with no other `norm`).

    A generator works in two steps, so that latents can be mixed and moved: `latent` maps noise to what `synthesize`
    draws an image from. Subclasses build themselves from `stem_dim` inputs and implement `synthesize` and
    `latent_weights`.
    """

    conditionings: ClassVar[tuple[str, ...]] = GENERATOR_CONDITIONINGS
    maps_noise: ClassVar[bool] = False  # whether `latent` is learned, so that truncation works on it and not on noise

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int,
        conditioning: str,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if conditioning not in self.conditionings:
            choices = ", ".join(self.conditionings)
            raise UserError(f"--conditioning {conditioning}: this generator's are {choices}")
        self.num_classes, self.image_size, self.channels = num_classes, image_size, channels
        self.noise_dim = noise_dim
        self.conditioning = conditioning if num_classes else "none"
        if self.conditioning == "cbn" and norm != "batch":
            raise UserError(f"--conditioning cbn does not go with --norm {norm}: use --norm batch, or concat")
        self.class_embedding = ClassEmbedding(num_classes) if self.conditioning == "embedding" else nn.Identity()
        self.stem_dim = noise_dim + {"concat": num_classes, "embedding": EMBEDDING_DIM}.get(self.conditioning, 0)

    def latent(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Map noise (N, noise_dim) to latents (N, L), here the noise itself."""
        return noise

    def truncated(self, latent: Tensor, label: Tensor | None, psi: float) -> Tensor:
        """Move learned latents to their mean by the factor `psi`; noise, which is truncated when drawn, stays."""
        return latent

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Draw images from latents (N, L) and classes."""
        raise NotImplementedError

    def latent_weights(self) -> Tensor:
        """Give the matrix (M, L) that is first applied to latents; its directions of largest gain change most."""
        raise NotImplementedError

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.synthesize(self.latent(noise, label), label)

    def stem_input(self, latent: Tensor, label: Tensor | None) -> Tensor:
        """Put the class beside latents as `conditioning` says: (N, stem_dim)."""
        if self.conditioning not in ("concat", "embedding"):
            return latent
        assert label is not None
        weights = class_weights(label, self.num_classes, latent.dtype)
        return torch.cat([latent, self.class_embedding(weights)], dim=1)

    def norm_condition(self, label: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Give what conditional batch norms are told, (N, num_classes); None where there are none."""
        if self.conditioning != "cbn":
            return None
        assert label is not None
        return class_weights(label, self.num_classes, dtype)


class ClassDiscriminator(nn.Module):
    """Judge (N, channels, S, S) and classes (N,) together: logits (N, 1), or a `DiscriminatorOutput` with `features`.

    `conditioning` says how the class enters: "concat" (one-hot planes beside the image; Mirza & Osindero 2014, arXiv
    1411.1784), "embedding" (one learned plane), "projection" (the logit gains the product of features and an embedding;
    Miyato & Koyama 2018, arXiv 1802.05637, eq. 3) or "acgan" (it does not, and a classifier shares the features; Odena
    et al. 2017, arXiv 1610.09585). With 0 classes there is none. `minibatch` is a name in MINIBATCH: what tells images
    of a batch from each other. Subclasses build a trunk for `in_channels` channels, call `add_head`, and implement
    `trunk`.
    """

    def __init__(self, num_classes: int, image_size: int, channels: int, conditioning: str, minibatch: str) -> None:
        super().__init__()
        if conditioning not in DISCRIMINATOR_CONDITIONINGS:
            choices = ", ".join(DISCRIMINATOR_CONDITIONINGS)
            raise UserError(f"--conditioning_D {conditioning}: choose one of {choices}")
        choose("minibatch layer", minibatch, MINIBATCH)
        self.num_classes, self.image_size = num_classes, image_size
        self.conditioning = conditioning if num_classes else "none"
        self._minibatch_name = minibatch
        self.in_channels = channels + {"concat": num_classes, "embedding": 1}.get(self.conditioning, 0)
        self.planes = ClassPlanes(num_classes, image_size) if self.conditioning == "embedding" else nn.Identity()

    def add_head(self, channels: int, size: int = 1) -> None:
        """Add what follows a trunk that gives (N, channels, size, size), or (N, channels)."""
        self.minibatch, features = MINIBATCH[self._minibatch_name](channels, size**2)
        self.head: nn.Module = nn.Linear(features, 1)
        self.embedding: nn.Module = nn.Identity()
        if self.conditioning == "projection":
            self.embedding = nn.Embedding(self.num_classes, features)
            nn.init.normal_(self.embedding.weight, 0.0, 0.02)
        acgan = self.conditioning == "acgan"
        self.classifier: nn.Module = nn.Linear(features, self.num_classes) if acgan else nn.Identity()

    def trunk(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Turn what `with_planes` gives into the map or vector that `add_head` expects, and give those on the way."""
        raise NotImplementedError

    def forward(
        self, image: Tensor, label: Tensor | None = None, features: bool = False
    ) -> Tensor | DiscriminatorOutput:
        last, maps = self.trunk(self.with_planes(image, label))
        vector = self.minibatch(last).flatten(1)
        logits = self.head(vector)
        if self.conditioning == "projection":
            assert label is not None
            table = cast(Tensor, self.embedding.weight)
            rows = label.to(vector) @ table if label.is_floating_point() else self.embedding(label)
            logits = logits + (rows * vector).sum(dim=1, keepdim=True)
        if not features:
            return logits
        return DiscriminatorOutput(logits, maps, self.classifier(vector) if self.conditioning == "acgan" else None)

    def with_planes(self, image: Tensor, label: Tensor | None) -> Tensor:
        """Put the planes of the class beside an image, if it enters so."""
        if self.conditioning not in ("concat", "embedding"):
            return image
        assert label is not None
        weights = class_weights(label, self.num_classes, image.dtype)
        if self.conditioning == "embedding":
            planes = self.planes(weights)
        else:
            planes = weights[:, :, None, None].expand(-1, -1, *image.shape[-2:])
        return torch.cat([image, planes.to(image.dtype)], dim=1)
