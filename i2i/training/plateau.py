"""Policy plateau: learning rates that go down where training gets no further."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from i2i.errors import UserError
from i2i.training.history import LossHistory
from i2i.training.optimizer import Optimizers


class Plateau:
    """Lowers the learning rates of `optimizers` to a fifth when five looks in a row have brought nothing better.

    It looks at the mean of the loss `watched` over every epoch or, `by_validation`, at a metric after every validation.
    """

    def __init__(self, optimizers: Optimizers, watched: str, by_validation: bool) -> None:
        self.watched, self.by_validation = watched, by_validation
        # A metric is better as it is for the best checkpoint. Turned to less is better it may be below 0, where a value
        # that is worse by less than torch's share counts as better.
        threshold = 0.0 if by_validation else 0.01
        self.schedulers = {
            player: ReduceLROnPlateau(optimizer, "min", factor=0.2, threshold=threshold, patience=5)
            for player, optimizer in optimizers.items()
        }
        self.history = LossHistory()

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Take note of the losses of a step. Raises ValueError if the one that is watched is not among them."""
        if self.by_validation:
            return
        if self.watched not in losses:
            raise UserError(f"--plateau_loss {self.watched}: no such loss; choose from {', '.join(losses)}")
        self.history.add(step, {self.watched: losses[self.watched]})

    def end_epoch(self) -> None:
        """Look at the loss, if there was one since the last look."""
        for mean in self.history.means().values():
            self._look(mean)

    def validated(self, watched: float) -> None:
        """Look at the metric, turned so that less is better."""
        if self.by_validation:
            self._look(watched)

    def _look(self, watched: float) -> None:
        for scheduler in self.schedulers.values():
            scheduler.step(watched)

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        schedulers = {player: scheduler.state_dict() for player, scheduler in self.schedulers.items()}
        return {"watched": self.watched, "schedulers": schedulers, "history": self.history.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; what watched something else starts anew."""
        if state["watched"] != self.watched:
            return
        self.history.load_state_dict(state["history"])
        for player, scheduler in self.schedulers.items():
            scheduler.load_state_dict(state["schedulers"][player])
