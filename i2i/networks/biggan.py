"""BigGAN (Brock et al. 2019, arXiv 1809.11096, appendix B): SNGAN's blocks, a shared class embedding, noise in chunks.

Widths follow the same rule for any size, `level_widths`; it gives the paper's networks at 128x128, while those for
256x256 have one map of 8 * filters more and one of 16 * filters less. Spectral normalisation is put on from outside
(`spectral_normalize`), and orthogonal initialisation by `initialize`.
"""

from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks.attention import SelfAttention
from i2i.networks.class_conditional import (
    ClassEmbedding,
    ClassGenerator,
    ConditionalBatchNorm,
    base_and_doublings,
    cropped,
)
from i2i.networks.residual import GeneratorBlock, image_head, level_widths
from i2i.networks.sngan import SNGANDiscriminator

SHARED_DIM = 128


def attention_level(base: int, doublings: int) -> int:
    """Give how many doublings of the base make the map that attention sees: the largest of at most 64 and half size."""
    return max(level for level in range(doublings) if base * 2**level <= 64)


def noise_chunks(noise_dim: int, blocks: int) -> list[int]:
    """Split noise among the stem and the blocks: equal chunks for the blocks, the same and the remainder for the stem.

    Raises ValueError where there is less than one number for each.
    """
    chunk = noise_dim // (blocks + 1)
    if chunk == 0:
        raise UserError(f"--noise_dim {noise_dim}: biggan cuts it in {blocks + 1} parts; choose {blocks + 1} or more")
    return [noise_dim - blocks * chunk, *[chunk] * blocks]


class BigGANGenerator(ClassGenerator):
    """Draw with residual blocks whose batch norms are linear in the class's shared embedding and a chunk of the noise.

    The noise is split by `noise_chunks`, the stem's part first. The embedding's mean square is kept at 1, that of the
    noise, so that neither training nor spectral normalisation tips the balance between the two. Raises ValueError for
    sizes under 8, a `conditioning` other than "cbn", and noise shorter than the number of chunks.
    """

    conditionings: ClassVar[tuple[str, ...]] = ("cbn",)

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        noise_dim: int = 120,
        filters: int = 96,
        conditioning: str = "cbn",
    ) -> None:
        super().__init__(num_classes, image_size, channels, noise_dim, conditioning)
        self.base, doublings = base_and_doublings(image_size)
        self.chunks = noise_chunks(noise_dim, doublings)
        self.attention_level = attention_level(self.base, doublings)
        self.shared_dim = SHARED_DIM if num_classes else 0
        self.class_embedding = ClassEmbedding(num_classes, SHARED_DIM) if num_classes else nn.Identity()
        widths = level_widths(filters, doublings + 1)[::-1]
        norm = partial(ConditionalBatchNorm, condition_dim=self.shared_dim + self.chunks[-1])
        self.stem = nn.Linear(self.chunks[0], widths[0] * self.base**2)
        self.blocks = nn.ModuleList(GeneratorBlock(inner, outer, norm) for inner, outer in pairwise(widths))
        self.attention = SelfAttention(widths[self.attention_level])
        self.head = image_head(nn.BatchNorm2d(filters), filters, channels)

    def synthesize(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        stem, *chunks = latent.split(self.chunks, dim=1)
        weights = self.norm_condition(label, latent.dtype)
        shared = latent[:, :0] if weights is None else self.class_embedding(weights)
        x = self.stem(stem).unflatten(1, (-1, self.base, self.base))
        for level, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            if level == self.attention_level:
                x = self.attention(x)
            x = block(x, torch.cat([shared, chunk], dim=1))
        return cropped(self.head(x), self.image_size)

    def latent_weights(self) -> Tensor:
        """Give the stem's and the norms' weights on their parts of the noise, as one block-diagonal matrix."""
        norms = [[m for m in block.modules() if isinstance(m, ConditionalBatchNorm)] for block in self.blocks]
        weights = [torch.cat([w for m in pair for w in (m.scale.weight, m.shift.weight)]) for pair in norms]
        return torch.block_diag(self.stem.weight, *(weight[:, self.shared_dim :] for weight in weights))


class BigGANDiscriminator(SNGANDiscriminator):
    """Judge as SNGAN does, with attention at the generator's resolution and wider first convolutions in the blocks.

    Raises ValueError for sizes under 8 and an unknown `conditioning` or `minibatch`.
    """

    wide: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        channels: int,
        filters: int = 96,
        conditioning: str = "projection",
        minibatch: str = "none",
    ) -> None:
        super().__init__(num_classes, image_size, channels, filters, conditioning, minibatch)
        base, doublings = base_and_doublings(image_size)
        halvings = doublings - attention_level(base, doublings)
        self.blocks.insert(halvings, SelfAttention(level_widths(filters, doublings)[halvings - 1]))
