"""Steps whose losses or gradients are not finite: how `--on_nan skip` undoes and counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2i.models.base import GanModel
from i2i.training.averaging import MovingAverage
from i2i.training.observer import Finding

MAX_SKIPPED_IN_A_ROW = 100
MAX_SKIPPED_AT_START = 20  # steps before the first finite one
MANY_SKIPPED = 0.05  # share of all steps that makes the summary an alarm


class Diverged(RuntimeError):
    """Training has produced values that are not finite."""


def not_finite(names: Sequence[str], step: int) -> Finding:
    """Return the finding that the losses `names` were infinite or NaN at `step`."""
    verb = "is" if len(names) == 1 else "are"
    message = f"At step {step} {', '.join(names)} {verb} not finite; the weights that learn from them are lost."
    advice = (
        "Continue from the last save with a lower --lr, with --clip_grad 1, or with --precision fp32 in place of a "
        "half precision; --on_nan skip leaves such steps out, --on_nan rollback goes back to the last save."
    )
    return Finding("not_finite", "alarm", float(step), message, advice)


class Undo:
    """A copy of everything that a step of `model` changes.

    Buffers, replay pools and statistics are copied at once; weights, moments and averages by `copy_player`, just before
    an update moves them.
    """

    def __init__(self, model: GanModel) -> None:
        self.model, self.statistics = model, model.statistics_state()
        self._tensors = [(buffer, buffer.clone()) for buffer in model.buffers()]
        stateful = [m for m in model.modules() if type(m).get_extra_state is not nn.Module.get_extra_state]
        self._extra = [(module, module.get_extra_state()) for module in stateful]
        self._optimizers: list[torch.optim.Optimizer] = []
        self._without_moments: list[tuple[dict[Tensor, Any], Tensor]] = []  # the first update of a weight makes them
        self._average: tuple[MovingAverage, int] | None = None

    def copy_player(self, optimizer: torch.optim.Optimizer, average: MovingAverage | None) -> None:
        """Copy what an update by `optimizer` is about to move; only the first call in a step counts."""
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
                self._without_moments.append((optimizer.state, parameter))
            else:
                self._tensors += [(value, value.clone()) for value in moments.values() if isinstance(value, Tensor)]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back."""
        for value, kept in self._tensors:
            value.copy_(kept)
        for module, kept in self._extra:
            module.set_extra_state(kept)
        for moments, parameter in self._without_moments:
            moments.pop(parameter, None)
        if self._average is not None:
            self._average[0].updates = self._average[1]
        self.model.load_statistics_state(self.statistics)


class SkippedSteps:
    """Finds out before every update whether losses and gradient are finite, and counts the steps that are left out.

    A step ends at the first refused update; earlier updates of the step are undone. `bad` names what was not finite in
    the current step. This costs a synchronisation with the device for every update, and a copy of what it moves.
    """

    def __init__(self) -> None:
        self.skipped = self.in_a_row = 0
        self.bad: list[str] = []

    def begin(self, model: GanModel) -> None:
        """Begin a step."""
        self.bad, self.undo = [], Undo(model)

    def allows(self, player: str, losses: dict[str, list[Tensor]], norm: Tensor | None) -> bool:
        """Return whether the losses of the step so far, and the gradient norm of `player` if known, are finite."""
        values = {name: torch.stack(many).float().sum() for name, many in losses.items()}
        if norm is not None:
            values[f"the gradient of the {player}"] = norm
        finite = torch.isfinite(torch.stack(list(values.values()))).tolist()
        bad = [name for name, is_finite in zip(values, finite, strict=True) if not is_finite]
        self.bad += [name for name in bad if name not in self.bad]
        return not bad

    def end(self, step: int) -> bool:
        """Undo step number `step`, counted from 1, if it was not finite; return whether it was.

        Raises:
            Diverged: after too many such steps in a row, or at the start.
        """
        self.in_a_row = self.in_a_row + 1 if self.bad else 0
        if self.bad:
            self.skipped += 1
            self.undo.restore()
        if self.in_a_row == step >= MAX_SKIPPED_AT_START:
            raise Diverged(f"none of the first {step} steps was finite; try a lower --lr, or check the data")
        if self.in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise Diverged(
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row were not finite; --on_nan rollback or a lower --lr may help"
            )
        return not self.bad

    def describe(self, step: int, paths: Sequence[str]) -> str:
        """Return a sentence about the skipped step number `step` and its images."""
        return f"Step {step} was skipped, {', '.join(self.bad)} not finite; its images: {', '.join(paths)}."

    def finding(self, step: int, paths: Sequence[str]) -> Finding:
        """Return the finding for the skipped step number `step`, with the number of skipped steps so far."""
        message = f"{self.skipped} step{'s' * (self.skipped > 1)} so far: {self.describe(step, paths)}"
        advice = "Look at these images; if they are fine, try a lower --lr, or --clip_grad 1."
        return Finding("not_finite", "warning", float(step), message, advice)

    def summary(self, steps: int) -> Finding:
        """Return the finding at the end of a run of `steps` steps."""
        share = self.skipped / steps
        message = f"{self.skipped} of {steps} steps were not finite and were skipped."
        advice = "If they are many, try a lower --lr, or --clip_grad 1."
        return Finding("not_finite", "alarm" if share > MANY_SKIPPED else "warning", share, message, advice)

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from what `state_dict` returned."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
