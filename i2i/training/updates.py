"""From a phase's losses to weights that have moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from i2i.models.base import Phase

if TYPE_CHECKING:
    from i2i.training.trainer import Trainer


def backward(trainer: Trainer, phase: Phase) -> None:
    """Add the gradient of the phase's losses to that of its player."""
    losses = torch.stack([loss.float() if loss.dtype.itemsize < 4 else loss for loss in phase.losses.values()])
    objective = trainer.scaler.scale(losses.sum() / trainer.config.accumulate)
    objective.backward(inputs=trainer.model.players[phase.player].parameters())


def update(trainer: Trainer, player: str, losses: dict[str, list[Tensor]]) -> None:
    """Move the weights of `player` on its gradient, after these losses of the step.

    Nothing moves under `--on_nan skip` where a loss or the gradient is not finite.
    """
    optimizer, parameters = trainer.optimizers[player], trainer.model.players[player].parameters()
    norm = _gradient_norm(trainer, player, parameters)
    # Under fp16 gradients are not finite now and then: the scaler leaves such a step out and scales less.
    known = None if trainer.scaler.is_enabled() else norm
    if trainer.skipping is None or trainer.skipping.allows(player, losses, known):
        if trainer.skipping is not None:
            trainer.skipping.remember(optimizer, trainer.ema if trainer.model.players[player].ema else None)
        if norm is not None:
            trainer.monitor.norms.setdefault(player, norm.detach())
        trainer.scaler.step(optimizer)  # under fp16 it waits for the gradients, as nothing else in a step does
        if trainer.ema is not None and trainer.model.players[player].ema:
            trainer.ema.update()
    trainer.scaler.update()
    optimizer.zero_grad()


def _gradient_norm(trainer: Trainer, player: str, parameters: list[nn.Parameter]) -> Tensor | None:
    """The norm of a player's gradients, which are clipped if the options say so; None where nobody asks for it."""
    limit, wanted = trainer.config.clip_grad, player not in trainer.monitor.norms
    if not wanted and trainer.skipping is None and limit is None:
        return None
    trainer.scaler.unscale_(trainer.optimizers[player])
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
