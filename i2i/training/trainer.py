"""The trainer: runs a model's phases and owns all that is the same for every model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.acceleration import Choices, accelerate, autocast, mark_step
from i2i.acceleration.checkpointing import checkpoint_activations
from i2i.data import Batch, BatchStream
from i2i.errors import UserError
from i2i.models.base import GanModel, Phase
from i2i.training import state
from i2i.training.config import TrainConfig
from i2i.training.ema import MovingAverage
from i2i.training.history import LossHistory
from i2i.training.interrupt import Interruption
from i2i.training.monitor import Monitor
from i2i.training.optimizer import build_optimizers, set_learning_rates
from i2i.training.plateau import Plateau
from i2i.training.progress import ProgressBar
from i2i.training.recovery import Skipping, roll_back
from i2i.training.rehearsal import rehearse
from i2i.training.saving import Diverged, Saver
from i2i.training.updates import backward, update
from i2i.watch.boards import Boards, Progress
from i2i.watch.validation import ValidationConfig, Validator

log = logging.getLogger(__name__)


class Trainer:
    """Trains `model` on `stream`, in `folder`, reporting to `boards`.

    `options` is stored in the checkpoints as it is: what a program needs to build the model again. `samples` is a
    batch whose pictures are shown as training goes on, and `seen` says for a later test what the data looks like, see
    `i2i.data.seen`; `validator` validates it as `validation` says. Without a folder
    nothing is saved.
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
        seen: dict[str, Any] | None = None,
        resume_command: str = "",
        acceleration: Choices | None = None,
        validator: Validator | None = None,
        validation: ValidationConfig | None = None,
    ) -> None:
        self.model, self.stream, self.config = model, stream, config
        self.options, self.boards, self.resume_command = options or {}, boards or Boards([]), resume_command
        self.acceleration, self.step, self.seen = acceleration or Choices(), 0, seen
        networks = [network for player in model.players.values() for network in player.modules]
        accelerate(networks, self.acceleration, stream.device, compiled=self.generators)
        if config.checkpoint_activations:
            checkpoint_activations(networks)
        model.accumulates = config.accumulate > 1
        self.optimizers = build_optimizers(model, config, stream.device)
        self.ema = self.new_average() if config.ema else None
        self.scaler = torch.amp.GradScaler(stream.device.type, enabled=self.acceleration.precision == "fp16")
        self.history = LossHistory()
        self.saver = Saver(folder, config.keep_checkpoints)
        self.skipping = Skipping() if config.on_nan == "skip" else None
        self.rollbacks = self.stopped_by = 0
        self.monitor = Monitor(self, samples, validator, validation or ValidationConfig())
        self.plateau = self._new_plateau() if config.lr_policy == "plateau" else None
        self._paths: list[str] = []

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

    def _new_plateau(self) -> Plateau:
        loss, selection = self.config.plateau_loss, self.monitor.selection
        if loss is None and selection is not None:
            return Plateau(self.optimizers, selection.metric, by_validation=True)
        return Plateau(self.optimizers, loss or self.model.plateau_loss, by_validation=False)

    def train_step(self) -> None:
        """One step of the model: every phase, over `accumulate` batches."""
        mark_step(self.acceleration)
        if self.plateau is None:
            set_learning_rates(self.optimizers, self.config, self.epoch, 0.5**self.rollbacks)
        if self.skipping is not None:
            self.skipping.begin(self.model, self.monitor)
        self._paths = []
        parts = [self.model.training_step(self._next_batch, self.step) for _ in range(self.config.accumulate)]
        values: dict[str, list[Tensor]] = {}
        while (phase := self.run_phase(parts, values)) is not None:
            if phase.step:
                update(self, phase.player, values)
            if self.skipping is not None and self.skipping.bad:
                break
        self.step += 1
        if self.skipping is not None and not self.skipping.end(self.step):
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            self.monitor.tell_skipped(self.skipping, self._paths)
            return
        # The parts' mean, and that of phases that are repeated within a step.
        losses = {name: torch.stack(many).mean() if len(many) > 1 else many[0] for name, many in values.items()}
        self.history.add(self.step, losses)
        if self.plateau is not None:
            self.plateau.add(self.step, losses)

    def _next_batch(self) -> Batch:
        batch = self.stream()
        self._paths += dict.fromkeys([*batch.paths_a, *batch.paths_b])  # pairs may share a file
        return batch

    def run_phase(self, parts: list[Iterator[Phase]], values: dict[str, list[Tensor]]) -> Phase | None:
        """Take every part of the step through its next phase; gradients add up, `values` collects the losses.

        Returns the phase without its losses, or None where none is left.
        """
        phase = None
        for part in parts:
            with autocast(self.acceleration, self.stream.device):
                phase = next(part, None)
            if phase is None:
                continue
            backward(self, phase)
            _collect(phase, values)
            phase = phase._replace(losses={}, logs={})  # whose graphs would live on into the next part
        return phase

    def fit(self) -> bool:
        """Train to the last epoch; True when it is reached, False when interrupted. State is saved either way.

        Raises:
            Diverged: when a loss or a weight is not finite; what was saved before stays.
            ImageError: for a file that cannot be used; all steps before it are saved, unless it is met in the middle
                of a step over several batches.
        """
        total = self.config.epochs * len(self.stream)
        try:
            self.monitor.find_best()
            if self.images >= total:
                log.warning("all %d epochs are done already; a larger --n_epochs goes on", self.config.epochs)
                return True
            if self.monitor.exhausted:
                log.warning("training has stopped early already; a larger --patience goes on")
                return True
            self.model.train()
            if self.acceleration.compile != "off" and self.monitor.samples is not None:
                rehearse(self, self.monitor.samples)
            with Interruption() as interruption, ProgressBar(total, self.images) as bar:
                self.monitor.start()
                while self.images < total and not interruption.requested and not self.monitor.exhausted:
                    self._or_roll_back(self._watched_step, bar)
                self._or_roll_back(self._end, bar)
                self.stopped_by = interruption.number
        finally:
            self.boards.close()
        return self._finished(total)

    def _finished(self, total: int) -> bool:
        if self.images < total and self.monitor.exhausted:
            return True
        if self.images < total and self.saver.folder is not None:
            where = self.saver.folder / "latest.pt"
            log.warning("stopped after %d images, saved %s; go on with: %s", self.images, where, self.resume_command)
        return self.images >= total

    def _end(self, bar: ProgressBar) -> None:
        self.monitor.report(bar)
        self.monitor.sum_up()
        self.save()

    def _or_roll_back(self, work: Callable[[ProgressBar], None], bar: ProgressBar) -> None:
        try:
            work(bar)
        except Diverged as error:
            if self.config.on_nan != "rollback" or not roll_back(self, str(error)):
                raise

    def _watched_step(self, bar: ProgressBar) -> None:
        before = self.images
        try:
            self.train_step()
        except (UserError, OSError):
            if self.images == before:  # the step has not begun: what came before it is worth keeping
                self.save()
            raise
        config, epoch_length = self.config, len(self.stream)
        is_last = self.images >= config.epochs * epoch_length

        def crossed(frequency: int) -> bool:
            return self.images // frequency > before // frequency

        bar.advance(self.images)
        if is_last or crossed(config.print_freq):
            self.monitor.report(bar)
        if is_last or crossed(config.display_freq):
            self.monitor.show_samples()
        if self.plateau is not None and crossed(epoch_length):
            self.plateau.end_epoch()
        if self.monitor.val_freq is not None and (is_last or crossed(self.monitor.val_freq)):
            self.monitor.validate()
        if crossed(config.save_epoch_freq * epoch_length):
            self.save(self.epoch)
        elif crossed(config.save_latest_freq) or self.saver.is_due():
            self.save()

    def save(self, epoch: int | None = None, best: bool = False) -> None:
        """Write `latest.pt`, and `epoch_<epoch>.pt` and `best.pt` too if that is asked for.

        Raises:
            Diverged: if anything in the state is not finite; nothing is written then.
        """
        self.monitor.check_losses()
        self.saver.save(self.state_dict(), epoch, best)

    def state_dict(self) -> dict[str, Any]:
        """Everything that training depends on, as tensors and plain values."""
        return state.collect(self)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave; options that were given anew take effect.

        Raises:
            ValueError: if it is of another architecture or of other classes; names what differs.
        """
        state.restore(self, saved)


def _collect(phase: Phase, values: dict[str, list[Tensor]]) -> None:
    for name, value in (phase.losses | phase.logs).items():
        value = value.detach()
        if value.untyped_storage().nbytes() > value.nbytes:  # a loss may be the head of a whole map, as torch's MSE is
            value = value.clone()
        values.setdefault(name, []).append(value)
