"""Self-attention over the positions of a map (SAGAN, Zhang et al. 2019, arXiv 1805.08318)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks.layers import Conv2d


class SelfAttention(nn.Module):
    """Add to each position of (N, channels, H, W) what it finds at the others; keeps the shape, for any H and W.

    y = x + gain * output(g * softmax(theta^T phi)), eq. 1 to 3 of the paper in the form of BigGAN (Brock et al. 2019,
    arXiv 1809.11096): phi and g are max-pooled twofold, g has half of the channels, theta and phi an eighth. The
    learned `gain` starts at 0, where the layer is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, half = max(channels // 8, 1), max(channels // 2, 1)
        self.theta = Conv2d(channels, inner, 1, bias=False)
        self.phi = Conv2d(channels, inner, 1, bias=False)
        self.g = Conv2d(channels, half, 1, bias=False)
        self.output = Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.theta(x).flatten(2)
        key, value = (F.max_pool2d(layer(x), 2, ceil_mode=True).flatten(2) for layer in (self.phi, self.g))
        # Not F.scaled_dot_product_attention: its fused kernels have no double backward, which gradient penalties need.
        weights = (query.transpose(1, 2) @ key).softmax(dim=2)  # (N, H W, positions that are looked at)
        found = value @ weights.transpose(1, 2)
        return x + self.gain * self.output(found.unflatten(2, x.shape[2:]))
