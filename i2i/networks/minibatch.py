"""Layers that let a discriminator see how much the images of a batch differ, which a collapsed generator's do not."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class MinibatchStdDev(nn.Module):
    """Append the standard deviation over groups of a batch, averaged over all features, as one more channel.

    Takes (N, C) or (N, C, H, W) and gives one channel more (Karras et al. 2018, arXiv 1710.10196, section 3). Groups
    have as many images as divide N: `group_size` at the most, but more where else there would be 1 in each.
    """

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        divisors = [size for size in range(2, len(x) + 1) if len(x) % size == 0] or [1]
        group = max((size for size in divisors if size <= self.group_size), default=divisors[0])
        groups = _exact(x).unflatten(0, (group, -1))
        spread = (groups.var(dim=0, correction=0) + 1e-8).sqrt().flatten(1).mean(dim=1)
        plane = spread.repeat(group).view(len(x), *[1] * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, plane.to(x.dtype)], dim=1)


class MinibatchDiscrimination(nn.Module):
    """Append how close each image's features (N, in_features) are to those of the batch's others, (N, kernels) more.

    Closeness is the sum over the others of exp(-L1) between rows of `kernel_dim` numbers that a learned tensor makes of
    the features (Salimans et al. 2016, arXiv 1606.03498, section 3.2). Maps (N, C, H, W) are features in a row.
    """

    def __init__(self, in_features: int, kernels: int = 50, kernel_dim: int = 5) -> None:
        super().__init__()
        self.shape = (kernels, kernel_dim)  # not `kernels`, which is what layers call their choice of algorithms
        self.project = nn.Linear(in_features, kernels * kernel_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            rows = self.project(_exact(x)).unflatten(1, self.shape)
        distance = (rows[:, None] - rows[None]).abs().sum(dim=3)  # (N, N, kernels)
        closeness = (-distance).exp().sum(dim=1) - 1  # but not to itself
        return torch.cat([x, closeness.to(x.dtype)], dim=1)


def _exact(x: Tensor) -> Tensor:
    """Half precision in single: differences of what is nearly alike are what counts."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


# (channels and positions of what comes in) -> the layer and the features that go out
MINIBATCH: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "none": lambda channels, positions: (nn.Identity(), channels * positions),
    "stddev": lambda channels, positions: (MinibatchStdDev(), (channels + 1) * positions),
    "discrimination": lambda channels, positions: (
        MinibatchDiscrimination(channels * positions),
        channels * positions + 50,
    ),
}
