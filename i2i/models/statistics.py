"""Running averages of a discriminator's logits and loss, for the doctor and the log."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EVERY = 8  # steps between updates: a dozen small kernels would show beside the smallest networks
DECAY = 0.9  # of an update, so that the averages cover about the last 80 steps


class DiscriminatorStatistics(NamedTuple):
    """Statistics of a discriminator against its generator in the last steps."""

    separation: float  # probability that a real logit is above a generated one, in [0, 1]; 0.5 is chance
    spread: float  # standard deviation of all logits
    relative_loss: (
        float | None
    )  # 0: the least possible loss, 1: that of a guess; None for critics and relativistic GANs


class LogitStatistics:
    """Moving averages that stay on the device until they are read, draw no random numbers and keep no graph.

    They are not part of a model's state dict; checkpoints keep `state_dict` beside it.
    """

    def __init__(self) -> None:
        self._averages = torch.zeros(4)  # of separation, spread, relative loss, and of 1: the weight of all updates

    @torch.no_grad()
    def update(self, real: Tensor, fake: Tensor, relative_loss: Tensor) -> None:
        """Take in the logits (N, ...) of real and of generated images, and the loss on them."""
        real, fake = real.detach().float(), fake.detach().float()
        spread = torch.cat([real.flatten(), fake.flatten()]).std(correction=0)
        if real.shape != fake.shape:  # images of different sizes: compare the means of all pairs
            real, fake = real.flatten(1).mean(dim=1)[:, None], fake.flatten(1).mean(dim=1)[None]
        separation = ((real - fake).sign().mean() + 1) / 2  # equal logits count as chance
        new = torch.stack([separation, spread, relative_loss.detach().float(), torch.ones_like(spread)])
        averages = self._averages.to(new.device)
        # A value that is not finite would stay in the average; the trainer deals with those.
        self._averages = torch.where(new.isfinite().all(), averages.lerp(new, 1 - DECAY), averages)

    def read(self, has_relative_loss: bool = True) -> DiscriminatorStatistics:
        """Return the averages, which waits for the device; NaN before the first update."""
        separation, spread, relative_loss = (self._averages[:3] / self._averages[3]).tolist()
        return DiscriminatorStatistics(separation, spread, relative_loss if has_relative_loss else None)

    def state_dict(self) -> list[float]:
        """Return the averages as plain values."""
        return self._averages.tolist()

    def load_state_dict(self, state: list[float]) -> None:
        """Continue from what `state_dict` returned."""
        self._averages = torch.tensor(state)
