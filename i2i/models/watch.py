"""How a contest stands: averages that training leaves on the device until somebody looks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WATCH_EVERY = 8  # steps: a dozen small kernels a look would show beside the smallest networks
DECAY = 0.9  # of a look, so that an average is over the last 80 steps or so


class GameState(NamedTuple):
    """How a discriminator does against its generator, lately."""

    separation: float  # share of real logits above generated ones in [0, 1]; 0.5 is chance
    spread: float  # standard deviation of all logits
    relative_loss: float | None  # the discriminator's: 0 at its best, 1 where it knows nothing; None without a boundary


class Watch:
    """Moving averages of what a discriminator says, which draw nothing, wait for nothing and leave no graph behind.

    They are no part of a model's state; a run that is to go on as if it had never stopped keeps `state_dict`.
    """

    def __init__(self) -> None:
        self._averages = torch.zeros(4)  # the last is that of 1: the weight of all looks so far

    @torch.no_grad()
    def take(self, real: Tensor, fake: Tensor, relative_loss: Tensor) -> None:
        """Look at the logits of real and of generated images, of any shapes (N, ...), and at the loss on them."""
        real, fake = real.detach().float(), fake.detach().float()
        spread = torch.cat([real.flatten(), fake.flatten()]).std(correction=0)
        if real.shape != fake.shape:  # images of several sizes: each with each
            real, fake = real.flatten(1).mean(dim=1)[:, None], fake.flatten(1).mean(dim=1)[None]
        separation = ((real - fake).sign().mean() + 1) / 2  # equal logits count as chance
        look = torch.stack([separation, spread, relative_loss.detach().float(), torch.ones_like(spread)])
        averages = self._averages.to(look.device)
        # What is not finite would stay for ever; the trainer sees to it.
        self._averages = torch.where(look.isfinite().all(), averages.lerp(look, 1 - DECAY), averages)

    def state(self, has_boundary: bool = True) -> GameState:
        """The averages as numbers, which waits for the device; not a number before the first look."""
        separation, spread, relative_loss = (self._averages[:3] / self._averages[3]).tolist()
        return GameState(separation, spread, relative_loss if has_boundary else None)

    def state_dict(self) -> list[float]:
        """The averages as plain values."""
        return self._averages.tolist()

    def load_state_dict(self, state: list[float]) -> None:
        """Go on from what `state_dict` gave."""
        self._averages = torch.tensor(state)
