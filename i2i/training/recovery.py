"""What is done about values that are not finite, besides stopping."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from i2i.training import checkpoint, state
from i2i.training.history import LossHistory
from i2i.training.saving import Diverged
from i2i.watch.boards import Finding

if TYPE_CHECKING:
    from i2i.training.ema import MovingAverage
    from i2i.training.monitor import Monitor
    from i2i.training.trainer import Trainer

log = logging.getLogger(__name__)

MOST_SKIPPED = 100  # steps in a row: no stroke of bad luck any more
MOST_AT_START = 20  # steps before the first good one
MANY_SKIPPED = 0.05  # share of the steps
MOST_ROLLBACKS = 5  # in a run: the learning rate is down to a thirtieth then


class Undo:
    """All that a step of `model` changes, to be put back if the step is left out.

    Buffers, pools and what is observed are remembered at once; weights, moments and averages by `remember`, just
    before they move.
    """

    def __init__(self, model: nn.Module, monitor: Monitor | None = None) -> None:
        self._tensors = [(buffer, buffer.clone()) for buffer in model.buffers()]
        stateful = [m for m in model.modules() if type(m).get_extra_state is not nn.Module.get_extra_state]
        self._extra = [(module, module.get_extra_state()) for module in stateful]
        self._monitor, self._observed = monitor, monitor.observations() if monitor is not None else None
        self._optimizers: list[torch.optim.Optimizer] = []
        self._empty: list[tuple[dict[Tensor, Any], Tensor]] = []  # where the first step of a weight makes its moments
        self._average: tuple[MovingAverage, int] | None = None

    def remember(self, optimizer: torch.optim.Optimizer, average: MovingAverage | None) -> None:
        """Copy what an update by `optimizer` is about to move; only the first call of a step counts."""
        if average is not None and self._average is None:
            self._average = average, average.updates
            self._tensors += [(value, value.clone()) for value in average.shadow.values()]
        if optimizer in self._optimizers:
            return
        self._optimizers.append(optimizer)
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            moments = optimizer.state.get(parameter)
            self._tensors.append((parameter, parameter.detach().clone()))
            if moments is None:
                self._empty.append((optimizer.state, parameter))
            else:
                self._tensors += [(value, value.clone()) for value in moments.values() if isinstance(value, Tensor)]

    @torch.no_grad()
    def __call__(self) -> None:
        """Put everything back."""
        for value, kept in self._tensors:
            value.copy_(kept)
        for module, kept in self._extra:
            module.set_extra_state(kept)
        for moments, parameter in self._empty:
            moments.pop(parameter, None)
        if self._average is not None:
            self._average[0].updates = self._average[1]
        if self._monitor is not None and self._observed is not None:
            self._monitor.load_observations(self._observed)


class Skipping:
    """Leaves out the updates of steps whose losses or gradients are not finite.

    Such a step leaves nothing behind: it ends at the first update that is refused, and earlier ones are undone.
    `skipped` counts these steps, `bad` says what was not finite in the last step. To know that in time costs a
    synchronisation with the device for every update, and a copy of the weights and moments that it moves.
    """

    def __init__(self) -> None:
        self.skipped, self.in_a_row = 0, 0
        self.bad: list[str] = []

    def begin(self, model: nn.Module, monitor: Monitor) -> None:
        """A step begins."""
        self.bad, self._undo = [], Undo(model, monitor)

    def remember(self, optimizer: torch.optim.Optimizer, average: MovingAverage | None) -> None:
        """An update by `optimizer` is about to be made."""
        self._undo.remember(optimizer, average)

    def allows(self, player: str, losses: dict[str, list[Tensor]], norm: Tensor | None) -> bool:
        """Whether `player` may move after these losses of the step, on gradients of this `norm`; None: not known."""
        values = {name: torch.stack(many).float().sum() for name, many in losses.items()}
        if norm is not None:
            values[f"the gradient of the {player}"] = norm
        finite = torch.isfinite(torch.stack(list(values.values()))).tolist()
        bad = [name for name, is_finite in zip(values, finite, strict=True) if not is_finite]
        self.bad += [name for name in bad if name not in self.bad]
        return not bad

    def end(self, step: int) -> bool:
        """Put back what step number `step`, from 1, has changed if it was bad; gives whether it was good.

        Raises:
            Diverged: after many bad ones in a row, or where there has been no good one.
        """
        self.in_a_row = self.in_a_row + 1 if self.bad else 0
        if self.bad:
            self.skipped += 1
            self._undo()
        if self.in_a_row == step >= MOST_AT_START:
            raise Diverged(f"none of the first {step} steps was finite; try a lower --lr, or look at the data")
        if self.in_a_row >= MOST_SKIPPED:
            raise Diverged(f"{MOST_SKIPPED} steps in a row were not finite; --on_nan rollback or a lower --lr may help")
        return not self.bad

    def described(self, step: int, paths: Sequence[str]) -> str:
        """A sentence on the bad step number `step` and its images."""
        return f"Step {step} is left out, {', '.join(self.bad)} not finite; its images: {', '.join(paths)}."

    def finding(self, step: int, paths: Sequence[str]) -> Finding:
        """The same for boards, with how many there have been."""
        message = f"{self.skipped} step{'s' * (self.skipped > 1)} so far: {self.described(step, paths)}"
        advice = "Look at these images; if any may be the ones, try a lower --lr, or --clip_grad 1."
        return Finding("not_finite", "warning", float(step), message, advice)

    def summary(self, steps: int) -> Finding:
        """How many of all `steps` were left out."""
        share = self.skipped / steps
        message = f"{self.skipped} of {steps} steps were not finite and are left out."
        advice = "What was learned is learned from the others; many call for a lower --lr, or --clip_grad 1."
        return Finding("not_finite", "alarm" if share > MANY_SKIPPED else "warning", share, message, advice)

    def state_dict(self) -> dict[str, int]:
        """The counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from what `state_dict` gave."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def roll_back(trainer: Trainer, reason: str) -> bool:
    """Go back to the weights of the last checkpoint at half the learning rates, and on with the next images.

    What was saved stands as the new latest checkpoint. Gives False where nothing was saved, or it was done too often.
    """
    folder = trainer.saver.folder
    if folder is None or not (folder / "latest.pt").is_file():
        log.warning("--on_nan rollback: nothing has been saved yet to go back to")
        return False
    if trainer.rollbacks >= MOST_ROLLBACKS:
        log.warning("--on_nan rollback: going back %d times has not helped", MOST_ROLLBACKS)
        return False
    saved: dict[str, Any] = checkpoint.load(folder / "latest.pt")
    state.restore_networks(trainer, saved)
    trainer.rollbacks += 1
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad()
        for group in optimizer.param_groups:  # under plateau; the other policies set them anew
            group["lr"] /= 2
    # Nothing is known of the steps before this one.
    trainer.history, trainer.monitor.norms = LossHistory(), {}
    if trainer.plateau is not None:
        trainer.plateau.history = LossHistory()
    log.warning(
        "%s; rolled back to the weights of %s at step %d, learning rates are halved (%d of %d times)",
        *(reason.split(";")[0], "latest.pt", saved["step"], trainer.rollbacks, MOST_ROLLBACKS),
    )
    trainer.save()
    return True
