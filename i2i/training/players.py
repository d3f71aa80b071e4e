"""Players: whatever moves weights. Backward passes, updates, optimisers, loss scaling, clipping, averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.models.base import GanModel, Phase
from i2i.training.averaging import MovingAverage
from i2i.training.config import TrainConfig
from i2i.training.nonfinite import SkippedSteps
from i2i.training.optimizers import OPTIMIZERS
from i2i.training.schedules import Plateau


class Players:
    """The players of `model` with their optimisers, gradient scaler, clipping, moving average and learning rates.

    `norms` holds the gradient norm of each player's first update since the dict was last emptied. `rollbacks` counts
    how often the run went back to its last save; each halves the learning rates. `plateau_metric` is the name of a
    validation figure that --lr_policy plateau may follow.
    """

    def __init__(
        self,
        model: GanModel,
        config: TrainConfig,
        device: torch.device,
        *,
        scales_losses: bool = False,
        plateau_metric: str | None = None,
    ) -> None:
        self.model, self.config, self.device = model, config, device
        self.optimizers = {name: self._optimizer(name) for name in model.players}
        self.average = self._new_average() if config.ema else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=scales_losses)
        self.skipping = SkippedSteps() if config.on_nan == "skip" else None
        self.plateau = self._plateau(plateau_metric) if config.lr_policy == "plateau" else None
        self.norms: dict[str, Tensor] = {}
        self.rollbacks = 0

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """The networks that make images; only their weights are averaged."""
        return tuple(module for player in self.model.players.values() if player.ema for module in player.modules)

    def begin_step(self, epoch: int, step: int) -> None:
        """Set the learning rates for `step`, counted from 0, after `epoch` finished epochs."""
        for player, optimizer in self.optimizers.items():
            if self.plateau is None:
                set_rate(optimizer, self.config.learning_rate(player, epoch, step) * 0.5**self.rollbacks)
            elif step < self.config.warmup_steps:
                set_rate(optimizer, self.config.learning_rate(player, epoch, step))
        if self.skipping is not None:
            self._norms_before = dict(self.norms)
            self.skipping.begin(self.model)

    def backward(self, phase: Phase) -> None:
        """Add the gradient of the phase's summed losses to the gradients of its player."""
        losses = torch.stack([loss.float() if loss.dtype.itemsize < 4 else loss for loss in phase.losses.values()])
        objective = self.scaler.scale(losses.sum() / self.config.accumulate)
        if objective.requires_grad:  # not if it only depends on frozen weights
            objective.backward(inputs=self.model.players[phase.player].parameters())

    def update(self, player: str, losses: dict[str, list[Tensor]]) -> bool:
        """Move the weights of `player` on its gradient, after these losses of the step; return whether they may move.

        Under `--on_nan skip` nothing moves if a loss or the gradient is not finite.
        """
        optimizer = self.optimizers[player]
        average = self.average if self.model.players[player].ema else None
        norm = self._clip(player)
        if self.skipping is not None:
            # With fp16 gradients overflow now and then: the scaler skips that update itself and lowers its scale.
            known = None if self.scaler.is_enabled() else norm
            if not self.skipping.allows(player, losses, known):
                self.scaler.update()
                optimizer.zero_grad()
                return False
            self.skipping.undo.copy_player(optimizer, average)
        if norm is not None:
            self.norms.setdefault(player, norm.detach())
        self.scaler.step(optimizer)  # with fp16 this waits for the gradients
        if average is not None:
            average.update()
        self.scaler.update()
        optimizer.zero_grad()
        return True

    def end_step(self, step: int, losses: Mapping[str, Tensor]) -> bool:
        """End step number `step`, counted from 1; return False if it was skipped, and undone.

        Raises:
            Diverged: after too many skipped steps.
        """
        if self.skipping is not None and not self.skipping.end(step):
            self.norms = self._norms_before
            self.zero_grad()
            return False
        if self.plateau is not None:
            self.plateau.add(step, losses)
        return True

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def _clip(self, player: str) -> Tensor | None:
        """Clip the gradient of a player and return its norm before; None if neither is wanted."""
        limit = self.config.clip_grad
        if limit is None and self.skipping is None and player in self.norms:
            return None
        parameters = self.model.players[player].parameters()
        self.scaler.unscale_(self.optimizers[player])
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if limit is not None:
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm

    def _optimizer(self, player: str) -> torch.optim.Optimizer:
        config = self.config
        return OPTIMIZERS[config.optimizer_of(player)](
            self.model.players[player].parameters(),
            config.base_rate(player),
            config.beta1,
            config.beta2,
            config.weight_decay,
            config.fuses_adam(self.device),
        )

    def _new_average(self) -> MovingAverage:
        return MovingAverage(self.model, self.generators, self.config.ema or 0.0)

    def _plateau(self, metric: str | None) -> Plateau:
        loss = self.config.plateau_loss
        if loss is None and metric is not None:
            return Plateau(self.optimizers, metric, by_validation=True)
        return Plateau(self.optimizers, loss or self.model.plateau_loss, by_validation=False)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, averages, optimisers, scaler and schedules, as entries of a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "ema": self.average.state_dict() if self.average is not None else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "rates": {name: self.config.base_rate(name) for name in self.optimizers},
            "plateau": self.plateau.state_dict() if self.plateau is not None else None,
            "scaler": self.scaler.state_dict(),
            "rollbacks": self.rollbacks,
            "skipped": self.skipping.state_dict() if self.skipping is not None else None,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from the checkpoint `saved`; options that differ now take effect.

        Raises:
            UserError: if the checkpoint is of another architecture.
        """
        self.load_weights(saved)
        self.rollbacks = saved.get("rollbacks", 0)
        if self.skipping is not None and saved.get("skipped"):
            self.skipping.load_state_dict(saved["skipped"])

    def load_weights(self, saved: Mapping[str, Any]) -> None:
        """Load what `load_state_dict` does but the counts of rollbacks and skipped steps."""
        self.model.load_checkpoint(saved["model"], saved["options"] | saved["spec"])
        if self.average is not None and saved["ema"] is not None:
            self.average.load_state_dict(saved["ema"])
        elif self.average is not None:
            self.average = self._new_average()  # from the loaded weights
        for name, optimizer in self.optimizers.items():
            self._load_optimizer(name, optimizer, saved)
        if self.plateau is not None and saved.get("plateau"):
            self.plateau.load_state_dict(saved["plateau"])
        if saved["scaler"]:
            self.scaler.load_state_dict(saved["scaler"])

    def _load_optimizer(self, player: str, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        if self.config.optimizer_of(player) != optimizer_in(saved["options"], player):
            return  # the moments of one kind mean nothing to another
        state = saved["optimizers"][player]
        if len(state["param_groups"][0]["params"]) != len(optimizer.param_groups[0]["params"]):
            raise UserError(f"--freeze differs from the checkpoint's for the {player}: give the same parts, or none")
        rate = state["param_groups"][0]["lr"]
        now = {name: value for name, value in optimizer.param_groups[0].items() if name not in ("params", "lr")}
        # Set before loading: how moments are laid out follows from it.
        groups = [group | now for group in state["param_groups"]]
        optimizer.load_state_dict(state | {"param_groups": groups})
        _lay_out_moments(optimizer)
        if saved["rates"][player]:  # with plateau the current rate is known from the optimiser alone
            set_rate(optimizer, rate * (self.config.base_rate(player) / saved["rates"][player]))

    def halve_rates(self) -> None:
        """Count one more rollback, which halves the learning rates."""
        self.rollbacks += 1
        for optimizer in self.optimizers.values():
            set_rate(optimizer, optimizer.param_groups[0]["lr"] / 2)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_in(options: Mapping[str, Any], player: str) -> str:
    """Return the name of a player's optimiser by the options of a checkpoint; earlier versions had adam alone."""
    discriminator = options.get("optimizer_D") if player == "discriminator" else None
    return discriminator or options.get("optimizer", "adam")


def _lay_out_moments(optimizer: torch.optim.Optimizer) -> None:
    # Fused kernels expect moments to lie in memory as the weights do, which may have been different when saved.
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
