"""The trainer: runs a model's phases and owns all that is the same for every model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.acceleration import Choices, accelerate, autocast, eagerly, mark_step
from i2i.acceleration.checkpointing import checkpoint_activations
from i2i.data import Batch, BatchStream, ImageError
from i2i.data.display import displayed
from i2i.models.base import GanModel, Phase
from i2i.random_state import isolated
from i2i.training import state
from i2i.training.config import TrainConfig
from i2i.training.ema import MovingAverage
from i2i.training.history import LossHistory
from i2i.training.interrupt import Interruption
from i2i.training.optimizer import build_optimizers, build_plateaus, set_learning_rates
from i2i.training.progress import ProgressBar
from i2i.training.rehearsal import rehearse
from i2i.training.saving import Saver
from i2i.visuals import Boards, Progress

log = logging.getLogger(__name__)


class Trainer:
    """Trains `model` on `stream`, in `folder`, reporting to `boards`.

    `options` is stored in the checkpoints as it is: what a program needs to build the model again. `samples` is a
    batch whose pictures are shown as training goes on. Without a folder nothing is saved.
    """

    def __init__(
        self,
        model: GanModel,
        stream: BatchStream,
        config: TrainConfig,
        *,
        folder: Path | None = None,
        options: dict[str, Any] | None = None,
        boards: Boards | None = None,
        samples: Batch | None = None,
        resume_command: str = "",
        acceleration: Choices | None = None,
    ) -> None:
        self.model, self.stream, self.config, self.samples = model, stream, config, samples
        self.options, self.boards, self.resume_command = options or {}, boards or Boards([]), resume_command
        self.acceleration, self.step = acceleration or Choices(), 0
        networks = [network for player in model.players.values() for network in player.modules]
        accelerate(networks, self.acceleration, stream.device, compiled=self.generators)
        if config.checkpoint_activations:
            checkpoint_activations(networks)
        self.optimizers = build_optimizers(model, config, stream.device)
        self.ema = self.new_average() if config.ema else None
        self.scaler = torch.amp.GradScaler(stream.device.type, enabled=self.acceleration.precision == "fp16")
        self.plateaus = build_plateaus(self.optimizers) if config.lr_policy == "plateau" else {}
        self.history, self.epoch_history = LossHistory(), LossHistory()
        self.saver = Saver(folder, config.keep_checkpoints)
        self._read_at = (time.monotonic(), 0, 0.0)

    @property
    def images(self) -> int:
        """Images seen since the start of training."""
        return self.stream.position

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.images // len(self.stream)

    @property
    def progress(self) -> Progress:
        """Where training is; epochs count from 1."""
        return Progress(self.step, self.images, min(self.epoch + 1, self.config.epochs))

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """The networks that make images: weights are averaged, and code is compiled, of these alone."""
        return tuple(module for player in self.model.players.values() if player.ema for module in player.modules)

    def new_average(self) -> MovingAverage:
        """A moving average that starts from the current weights."""
        return MovingAverage(self.model, self.generators, self.config.ema or 0.0)

    def train_step(self) -> None:
        """One step of the model: every phase, over `accumulate` batches."""
        mark_step(self.acceleration)
        if not self.plateaus:
            set_learning_rates(self.optimizers, self.config, self.epoch)
        parts = [self.model.training_step(self.stream, self.step) for _ in range(self.config.accumulate)]
        values: dict[str, list[Tensor]] = {}
        while (phase := self.run_phase(parts, values)) is not None:
            if phase.step:
                self._update(phase.player)
        # The parts' mean, and that of phases that are repeated within a step.
        losses = {name: torch.stack(many).mean() if len(many) > 1 else many[0] for name, many in values.items()}
        self.step += 1
        self.history.add(self.step, losses)
        if self.plateaus:
            self._watched_loss(losses)
            self.epoch_history.add(self.step, losses)

    def run_phase(self, parts: list[Iterator[Phase]], values: dict[str, list[Tensor]]) -> Phase | None:
        """Take every part of the step through its next phase; gradients add up, `values` collects the losses."""
        phase = None
        for part in parts:
            with autocast(self.acceleration, self.stream.device):
                phase = next(part, None)
            if phase is None:
                continue
            self._backward(phase)
            for name, value in (phase.losses | phase.logs).items():
                values.setdefault(name, []).append(value.detach())
        return phase

    def _backward(self, phase: Phase) -> None:
        losses = torch.stack([loss.float() if loss.dtype.itemsize < 4 else loss for loss in phase.losses.values()])
        objective = self.scaler.scale(losses.sum() / self.config.accumulate)
        objective.backward(inputs=self.model.players[phase.player].parameters())

    def _update(self, player: str) -> None:
        optimizer = self.optimizers[player]
        if self.config.clip_grad is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.players[player].parameters(), self.config.clip_grad)
        self.scaler.step(optimizer)  # under fp16 it waits for the gradients, as nothing else in a step does
        self.scaler.update()
        optimizer.zero_grad()
        if self.ema is not None and self.model.players[player].ema:
            self.ema.update()

    def fit(self) -> bool:
        """Train to the last epoch; True when it is reached, False when interrupted. State is saved either way.

        Raises:
            Diverged: when a loss or a weight is not finite; what was saved before stays.
            ImageError: for a file that cannot be used; all steps before it are saved, unless it is met in the middle
                of a step over several batches.
        """
        total = self.config.epochs * len(self.stream)
        try:
            if self.images >= total:
                log.warning("all %d epochs are done already; a larger --n_epochs goes on", self.config.epochs)
                return True
            self.model.train()
            if self.acceleration.compile != "off" and self.samples is not None:
                rehearse(self, self.samples)
            with Interruption() as interruption, ProgressBar(total, self.images) as bar:
                self._read_at = (time.monotonic(), self.images, self.stream.waited)
                if self.step == 0:
                    self._show_samples()
                while self.images < total and not interruption.requested:
                    self._watched_step(bar)
                self._log(bar)
                self.save()
        finally:
            self.boards.close()
        if self.images < total and self.saver.folder is not None:
            where = self.saver.folder / "latest.pt"
            log.warning("stopped after %d images, saved %s; go on with: %s", self.images, where, self.resume_command)
        return self.images >= total

    def _watched_step(self, bar: ProgressBar) -> None:
        before = self.images
        try:
            self.train_step()
        except (ImageError, OSError):
            if self.images == before:  # the step has not begun: what came before it is worth keeping
                self.save()
            raise
        config, epoch_length = self.config, len(self.stream)

        def crossed(frequency: int) -> bool:
            return self.images // frequency > before // frequency

        bar.advance(self.images)
        if crossed(config.print_freq):
            self._log(bar)
        if crossed(config.display_freq) or self.images >= config.epochs * epoch_length:
            self._show_samples()
        if crossed(epoch_length):
            self._end_of_epoch()
        if crossed(config.save_epoch_freq * epoch_length):
            self.save(self.epoch)
        elif crossed(config.save_latest_freq) or self.saver.is_due():
            self.save()

    def _log(self, bar: ProgressBar) -> None:
        losses = self.history.means()
        self.saver.check_losses(self.history)
        if not losses:
            return
        now = (time.monotonic(), self.images, self.stream.waited)
        seconds, images, waited = (new - old for new, old in zip(now, self._read_at, strict=True))
        self._read_at = now
        speed = {"seconds_per_image": seconds / max(images, 1), "data_share": waited / max(seconds, 1e-9)}
        rates = {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        self.boards.scalars(self.progress, losses | rates | speed)
        bar.show(self.progress, losses, **speed)

    def _end_of_epoch(self) -> None:
        if self.plateaus:
            watched = self._watched_loss(self.epoch_history.means())
            for plateau in self.plateaus.values():
                plateau.step(watched)

    def _watched_loss(self, losses: dict[str, Any]) -> Any:
        """The loss that policy plateau goes by. Raises ValueError if there is none of that name."""
        name = self.config.plateau_loss or self.model.plateau_loss
        if name not in losses:
            raise ValueError(f"--plateau_loss {name}: no such loss; choose from {', '.join(losses)}")
        return losses[name]

    def _show_samples(self) -> None:
        if self.samples is None:
            return
        average = self.ema.applied() if self.ema is not None else nullcontext()
        with average, eagerly(self.acceleration), isolated(self.stream.device):
            pictures = self.model.visuals(self.samples)
        shown = displayed(pictures, *self.model.spec.domains)
        self.boards.images(self.progress, {label: images.float().cpu() for label, images in shown.items()})

    def save(self, epoch: int | None = None) -> None:
        """Write `latest.pt`, and `epoch_<epoch>.pt` too if that is given.

        Raises:
            Diverged: if anything in the state is not finite; nothing is written then.
        """
        self.saver.check_losses(self.history)
        self.saver.save(self.state_dict(), epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything that training depends on, as tensors and plain values."""
        return state.collect(self)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; options that were given anew take effect.

        Raises:
            ValueError: if it is of another architecture or of other classes; names what differs.
        """
        state.restore(self, saved)
