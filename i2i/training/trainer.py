"""The training loop: a model's phases, its players, a stream of batches, checkpoints, and observers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.acceleration import Choices, accelerate, autocast, checkpoint_activations, eagerly, mark_step
from i2i.data import Batch, BatchStream
from i2i.errors import UserError
from i2i.models.base import GanModel, Phase
from i2i.random_state import isolated, random_states, restore_random_states
from i2i.training import checkpoint
from i2i.training.config import TrainConfig
from i2i.training.history import LossHistory
from i2i.training.interrupt import Interruption
from i2i.training.nonfinite import Diverged, not_finite
from i2i.training.observer import LossReport, Observation, Observer, Progress, RunView, log_findings, publish
from i2i.training.players import Players
from i2i.training.saving import Saver

log = logging.getLogger(__name__)

MAX_ROLLBACKS = 5
SKIPPED_SHOWN = (1, 10, 100, 1000, 10_000)  # which of the skipped steps observers are told of
SKIPPED_LOGGED = 10


class Trainer:
    """Trains `model` on batches of `stream`, watched by `observers`, with checkpoints in `folder`.

    Args:
        folder: None saves nothing.
        options: stored in the checkpoints, for programs that build the model again.
        seen: what a later test should know about the training images, see `i2i.data.seen`; stored as it is.
        resume_command: what to type to continue the run, for the message when it is stopped.
    """

    def __init__(
        self,
        model: GanModel,
        stream: BatchStream,
        config: TrainConfig,
        *,
        observers: Sequence[Observer] = (),
        folder: Path | None = None,
        options: dict[str, Any] | None = None,
        seen: dict[str, Any] | None = None,
        resume_command: str = "",
        acceleration: Choices | None = None,
    ) -> None:
        self.model, self.stream, self.config, self.observers = model, stream, config, list(observers)
        self.options, self.seen, self.resume_command = options or {}, seen, resume_command
        self.acceleration, self.step = acceleration or Choices(), 0
        networks = model.networks()
        generators = [module for player in model.players.values() if player.ema for module in player.modules]
        accelerate(networks, self.acceleration, stream.device, compiled=generators)
        if config.checkpoint_activations:
            checkpoint_activations(networks)
        model.accumulates = config.accumulate > 1
        self.players = Players(
            model,
            config,
            stream.device,
            scales_losses=self.acceleration.precision == "fp16",
            plateau_metric=next((o.plateau_metric for o in self.observers if o.plateau_metric), None),
        )
        self.history, self.saver = LossHistory(), Saver(folder, config.keep_checkpoints)
        self.stopped_by = 0  # the number of the signal that stopped the run
        self.lock: Any = None  # of the run folder, held as long as the trainer lives
        self._stops = False  # an observer has asked for the end
        self._read_at = (time.monotonic(), 0, 0.0)

    @property
    def images(self) -> int:
        """The number of images seen since the start of training."""
        return self.stream.position

    @property
    def total(self) -> int:
        """The number of images of all epochs."""
        return self.config.epochs * len(self.stream)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return self.images // len(self.stream)

    def train_step(self) -> None:
        """Take one step of the model: all its phases, over `accumulate` batches."""
        mark_step(self.acceleration)
        self.players.begin_step(self.epoch, self.step)
        paths: list[str] = []
        batch = partial(self._next_batch, paths)
        parts = [self.model.training_step(batch, self.step) for _ in range(self.config.accumulate)]
        values: dict[str, list[Tensor]] = {}
        while (phase := self._run_phase(parts, values)) is not None:
            if phase.step and not self.players.update(phase.player, values):
                break
        self.step += 1
        # The mean over the parts, and over phases that are repeated within a step.
        losses = {name: torch.stack(many).mean() if len(many) > 1 else many[0] for name, many in values.items()}
        if self.players.end_step(self.step, losses):
            self.history.add(self.step, losses)
        else:
            self._tell_skipped(paths)

    def _next_batch(self, paths: list[str]) -> Batch:
        batch = self.stream()
        paths += dict.fromkeys([*batch.paths_a, *batch.paths_b])  # the images of a pair may be in one file
        return batch

    def _run_phase(self, parts: list[Iterator[Phase]], values: dict[str, list[Tensor]]) -> Phase | None:
        """Run the next phase of every part of the step: gradients add up, `values` collects the losses.

        Returns the phase without its losses, or None after the last one.
        """
        phase = None
        for part in parts:
            with autocast(self.acceleration, self.stream.device):
                phase = next(part, None)
            if phase is None:
                continue
            self.players.backward(phase)
            for name, value in (phase.losses | phase.logs).items():
                values.setdefault(name, []).append(_detached(value))
            phase = phase._replace(losses={}, logs={})  # their graphs would stay alive during the next part
        return phase

    def fit(self) -> bool:
        """Train to the last epoch; return False if a signal stopped it before. The state is saved in both cases.

        Raises:
            Diverged: if a loss or a weight is not finite; earlier checkpoints stay.
            ImageError: for a file that cannot be used; all steps before it are saved, unless it occurs in the middle of
                a step over several batches.
        """
        try:
            self.model.train()
            self._read_at = (time.monotonic(), self.images, self.stream.waited)
            for observer in self.observers:
                self.ask(observer.begin)
            if self.images >= self.total:
                log.warning("all %d epochs are done already; a larger --n_epochs goes on", self.config.epochs)
            if self.images >= self.total or self._stops:
                return True
            with Interruption() as interruption:
                while self.images < self.total and not interruption.requested and not self._stops:
                    self._or_roll_back(self._watched_step)
                self._or_roll_back(self._end)
                self.stopped_by = interruption.number
        finally:
            for observer in self.observers:
                observer.close()
        return self._finished()

    def _finished(self) -> bool:
        if self.images >= self.total or self._stops:
            return True
        if self.saver.folder is not None:
            where = self.saver.folder / "latest.pt"
            log.warning("stopped after %d images, saved %s; go on with: %s", self.images, where, self.resume_command)
        return False

    def _watched_step(self) -> None:
        before = self.images
        try:
            self.train_step()
        except (UserError, OSError):
            if self.images == before:  # the step had not begun: save the steps before it
                self.save()
            raise
        is_last = self.images >= self.total

        def crossed(frequency: int) -> bool:
            return self.images // frequency > before // frequency

        for observer in self.observers:
            observer.advance(self.images)
        if is_last or crossed(self.config.print_freq):
            self.report()
        if self.players.plateau is not None and crossed(len(self.stream)):
            self.players.plateau.end_epoch()
        for observer in self.observers:
            if observer.every is not None and (is_last or crossed(observer.every)):
                self.check_losses()
                self.ask(observer.observe)
        if crossed(self.config.save_epoch_freq * len(self.stream)):
            self.save(self.epoch)
        elif crossed(self.config.save_latest_freq) or self.saver.is_due():
            self.save()

    def _end(self) -> None:
        self.report()
        for observer in self.observers:
            self.ask(observer.end)
        skipping = self.players.skipping
        if skipping is not None and skipping.skipped and (self.images >= self.total or self._stops):
            self._publish(Observation(findings=[skipping.summary(self.step)]))
        self.save()

    def report(self) -> None:
        """Hand the means of the losses since the last report to the observers.

        Raises:
            Diverged: if one of them was not finite.
        """
        self.check_losses()
        losses = self.history.means()
        if not losses:
            return
        report = self._loss_report(losses)
        values: dict[str, float] = {}
        for observer in self.observers:
            with isolated(self.stream.device):
                answer = observer.report(self.view, report)
            if answer is not None:
                values |= answer.values
                self._act_on(answer._replace(values={}))
        self._publish(Observation(values=report.values | values))

    def _loss_report(self, losses: dict[str, float]) -> LossReport:
        now = (time.monotonic(), self.images, self.stream.waited)
        seconds, images, waited = (new - old for new, old in zip(now, self._read_at, strict=True))
        self._read_at = now
        norms = {name: float(norm) for name, norm in self.players.norms.items()}
        if self.players.scaler.is_enabled():  # gradients that are not finite are its business
            norms = {name: norm for name, norm in norms.items() if math.isfinite(norm)}
        self.players.norms.clear()
        return LossReport(
            losses,
            {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.players.optimizers.items()},
            norms,
            self.model.discriminator_statistics(),
            {"seconds_per_image": seconds / max(images, 1), "data_share": waited / max(seconds, 1e-9)},
        )

    @property
    def view(self) -> RunView:
        """Return the view of the run that observers get now."""
        progress = Progress(self.step, self.images, min(self.epoch + 1, self.config.epochs))
        in_precision = partial(autocast, self.acceleration, self.stream.device)
        folder, device = self.saver.folder, self.stream.device
        return RunView(self.model, device, folder, progress, self.total, len(self.stream), in_precision)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Use the averaged weights, if there are any, without compiled code; restore the random state and the modes."""
        training = [module for module in self.model.modules() if module.training]
        average = self.players.average.applied() if self.players.average is not None else nullcontext()
        with average, eagerly(self.players.generators), isolated(self.stream.device):
            yield
        for module in training:
            module.training = True

    def ask(self, question: Callable[[RunView], Observation | None]) -> None:
        """Let an observer look at the model, and act on what it answers."""
        try:
            with self._watching():
                answer = question(self.view)
        except Exception:  # the training so far is not lost by it
            if self.step:
                self.save()
            raise
        if answer is not None:
            self._act_on(answer)

    def _act_on(self, answer: Observation) -> None:
        self._publish(answer)
        self._stops = self._stops or answer.stop
        if answer.plateau is not None and self.players.plateau is not None and self.players.plateau.by_validation:
            self.players.plateau.look(answer.plateau)
        if answer.save_best:
            self.save(best=True)

    def _publish(self, observation: Observation) -> None:
        with isolated(self.stream.device):
            publish(self.observers, self.view, observation)

    def _tell_skipped(self, paths: Sequence[str]) -> None:
        skipping = self.players.skipping
        assert skipping is not None
        if skipping.skipped <= SKIPPED_LOGGED or skipping.skipped in SKIPPED_SHOWN:
            log.warning("%s", skipping.describe(self.step, paths))
        if skipping.skipped in SKIPPED_SHOWN:
            self._publish(Observation(findings=[skipping.finding(self.step, paths)]))

    def check_losses(self) -> None:
        """Raise Diverged if a loss since the last check was not finite, and publish a finding."""
        self.history.fetch()
        if self.history.first_bad is None:
            return
        step, names = self.history.first_bad
        finding = not_finite(names, step)
        if self.config.on_nan == "rollback":
            finding = finding._replace(advice="--on_nan rollback goes back to the last save.")
        log_findings([finding])
        self._publish(Observation(findings=[finding]))
        raise Diverged(f"{', '.join(names)} not finite at step {step}; {self.saver.way_out()}")

    def _or_roll_back(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Diverged as error:
            if self.config.on_nan != "rollback" or not self._roll_back(str(error)):
                raise

    def _roll_back(self, reason: str) -> bool:
        """Go back to the weights of latest.pt at half the learning rates; return False if that is not possible.

        Training continues with the next images, and the state is saved as the new latest.pt.
        """
        latest = None if self.saver.folder is None else self.saver.folder / "latest.pt"
        if latest is None or not latest.is_file():
            log.warning("--on_nan rollback: nothing was saved yet to go back to")
            return False
        if self.players.rollbacks >= MAX_ROLLBACKS:
            log.warning("--on_nan rollback: %d rollbacks have not helped", MAX_ROLLBACKS)
            return False
        saved = checkpoint.load(latest)
        self.players.load_weights(saved)
        self.players.halve_rates()
        self.players.zero_grad()
        # Nothing is known about the steps before this one.
        self.history, self.players.norms = LossHistory(), {}
        if self.players.plateau is not None:
            self.players.plateau.history = LossHistory()
        log.warning(
            "%s; rolled back to the weights of latest.pt at step %d and halved the learning rates (rollback %d of %d)",
            *(reason.split(";")[0], saved["step"], self.players.rollbacks, MAX_ROLLBACKS),
        )
        self.save()
        return True

    def save(self, epoch: int | None = None, best: bool = False) -> None:
        """Write `latest.pt`, and `epoch_<epoch>.pt` and `best.pt` if asked.

        Raises:
            Diverged: if anything in the state is not finite; nothing is written then.
        """
        self.check_losses()
        self.saver.save(self.state_dict(), epoch, best)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training depends on, as tensors and plain values."""
        return self.players.state_dict() | {
            "options": self.options,
            "spec": self.model.spec.as_dict(),
            "data": self.seen,
            "history": self.history.state_dict(),
            "norms": {name: float(norm) for name, norm in self.players.norms.items()},
            "statistics": self.model.statistics_state(),
            "random": random_states(self.stream.device),
            "step": self.step,
            "images": self.images,
            "epoch_length": len(self.stream),
            **{observer.name: observer.state_dict() for observer in self.observers if observer.name},
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from the checkpoint `saved`; options that differ now take effect.

        Raises:
            UserError: if it is of another architecture or of other classes; names the difference.
        """
        classes, now = tuple(saved["spec"]["classes"]), self.model.spec.classes
        if classes != now:
            raise UserError(f"the checkpoint knows the classes {', '.join(classes)}, the data has {', '.join(now)}")
        self.players.load_state_dict(saved)
        self.players.norms = {name: torch.tensor(norm) for name, norm in saved["norms"].items()}
        self.model.load_statistics_state(saved["statistics"])
        self.history.load_state_dict(saved["history"])
        self.step = saved["step"]
        self.stream.seek(_position(saved["images"], saved["epoch_length"], len(self.stream)))
        for observer in self.observers:
            if (state := saved.get(observer.name)) is not None:
                observer.load_state_dict(state)
        restore_random_states(saved["random"], self.stream.device)


def _detached(value: Tensor) -> Tensor:
    value = value.detach()
    # A loss may be a view of a whole map, as that of torch's MSE is, which would stay alive with it.
    return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value


def _position(images: int, old_length: int, new_length: int) -> int:
    """Return the position with as many finished epochs in a data set whose size has changed."""
    if old_length == new_length:
        return images
    log.warning("an epoch had %d images and has %d now; going on as far into the epochs", old_length, new_length)
    return images * new_length // old_length
