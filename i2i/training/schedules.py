"""Learning-rate schedules: factors on the learning rate by finished epochs, and the one that follows a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from i2i.errors import UserError
from i2i.training.history import LossHistory


def linear(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """Stay at 1 for `n_epochs`, then fall linearly; the last epoch does not reach 0 (the reference's rule)."""
    return 1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)


def step(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """Divide by 10 after every `lr_decay_iters` epochs."""
    return 0.1 ** (epoch // lr_decay_iters)


def cosine(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """Follow half a cosine over all epochs (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * epoch / (n_epochs + n_epochs_decay)))


def constant(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """Stay at 1."""
    return 1.0


# (finished epochs, n_epochs, n_epochs_decay, lr_decay_iters) -> factor
SCHEDULES: dict[str, Callable[[int, int, int, int], float]] = {
    "linear": linear,
    "step": step,
    "plateau": constant,  # `Plateau` lowers the rates
    "cosine": cosine,
    "constant": constant,
}


class Plateau:
    """Divides the learning rates by 5 when `watched` has not improved five times in a row (the reference's rule).

    `watched` is a loss, by its mean over each epoch, or if `by_validation` a figure of every validation.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer], watched: str, by_validation: bool) -> None:
        self.watched, self.by_validation = watched, by_validation
        # A figure for which more is better arrives negated, where torch's relative threshold has the wrong sign.
        threshold = 0.0 if by_validation else 0.01
        self.schedulers = {
            player: ReduceLROnPlateau(optimizer, "min", factor=0.2, threshold=threshold, patience=5)
            for player, optimizer in optimizers.items()
        }
        self.history = LossHistory()

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of a step. Raises UserError if `watched` is not among them."""
        if self.by_validation:
            return
        if self.watched not in losses:
            raise UserError(f"--plateau_loss {self.watched}: no such loss; choose from {', '.join(losses)}")
        self.history.add(step, {self.watched: losses[self.watched]})

    def end_epoch(self) -> None:
        """Compare the mean loss of the epoch, if it had any finite step, with those of earlier epochs."""
        for mean in self.history.means().values():
            self.look(mean)

    def look(self, value: float) -> None:
        """Compare `value`, of which less is better, with earlier ones."""
        for scheduler in self.schedulers.values():
            scheduler.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        schedulers = {player: scheduler.state_dict() for player, scheduler in self.schedulers.items()}
        return {"watched": self.watched, "schedulers": schedulers, "history": self.history.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, unless that watched something else."""
        if state["watched"] != self.watched:
            return
        self.history.load_state_dict(state["history"])
        for player, scheduler in self.schedulers.items():
            scheduler.load_state_dict(state["schedulers"][player])
