"""The trainer: runs a model's phases and owns all that is the same for every model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.data import Batch, BatchStream
from i2i.models.base import GanModel, Phase
from i2i.training import checkpoint
from i2i.training.config import PRECISIONS, TrainConfig
from i2i.training.ema import MovingAverage
from i2i.training.history import LossHistory
from i2i.training.interrupt import Interruption
from i2i.training.progress import ProgressBar
from i2i.training.schedules import POLICIES
from i2i.visuals import Boards, Progress

log = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """Training has produced values that are not finite."""


class Trainer:
    """Trains `model` on `stream`, in `folder`, reporting to `boards`.

    `options` is stored in the checkpoints as it is: what a program needs to build the model again. `samples` is a
    batch whose pictures are shown as training goes on. Without a folder nothing is saved.
    """

    save_seconds = 600.0

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
    ) -> None:
        if config.precision == "fp16" and stream.device.type != "cuda":
            raise ValueError(f"--precision fp16 needs CUDA, the device is {stream.device.type}; use bf16 or fp32")
        self.model, self.stream, self.config = model, stream, config
        self.folder, self.options, self.samples = folder, options or {}, samples
        self.boards, self.resume_command = boards or Boards([]), resume_command
        self.step = 0
        self.optimizers = {name: self._optimizer(name) for name in model.players}
        modules = tuple(module for player in model.players.values() if player.ema for module in player.modules)
        self.ema = MovingAverage(model, modules, config.ema) if config.ema else None
        self.scaler = torch.amp.GradScaler(stream.device.type, enabled=config.precision == "fp16")
        self.plateaus = self._plateaus() if config.lr_policy == "plateau" else {}
        self.history, self.epoch_history = LossHistory(), LossHistory()
        self._saved_at = time.monotonic()

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

    def _learning_rate(self, player: str) -> float:
        config = self.config
        base = config.lr_D if player == "discriminator" and config.lr_D is not None else config.lr
        return base * POLICIES[config.lr_policy](
            self.epoch, config.n_epochs, config.n_epochs_decay, config.lr_decay_iters
        )

    def _optimizer(self, player: str) -> torch.optim.Optimizer:
        betas = (self.config.beta1, self.config.beta2)
        parameters = self.model.players[player].parameters()
        return torch.optim.Adam(parameters, self._learning_rate(player), betas, fused=True)

    def _plateaus(self) -> dict[str, torch.optim.lr_scheduler.ReduceLROnPlateau]:
        rule = torch.optim.lr_scheduler.ReduceLROnPlateau
        return {n: rule(o, "min", factor=0.2, threshold=0.01, patience=5) for n, o in self.optimizers.items()}

    def train_step(self) -> None:
        """One step of the model: every phase, over `accumulate` batches."""
        if not self.plateaus:
            for name, optimizer in self.optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = self._learning_rate(name)
        parts = [self.model.training_step(self.stream, self.step) for _ in range(self.config.accumulate)]
        losses: dict[str, Tensor] = {}
        while (phase := self._phase(parts, losses)) is not None:
            if phase.step:
                self._update(phase.player)
        self.step += 1
        self.history.add(self.step, losses)
        if self.plateaus:
            self.epoch_history.add(self.step, losses)

    def _phase(self, parts: list[Iterator[Phase]], losses: dict[str, Tensor]) -> Phase | None:
        """Take every part of the step through its next phase; gradients add up, `losses` collects the means."""
        phase = None
        for part in parts:
            with self._autocast():
                phase = next(part, None)
            if phase is None:
                return None
            self._backward(phase)
            for name, value in (phase.losses | phase.logs).items():
                share = value.detach() / len(parts)
                losses[name] = losses[name] + share if name in losses else share
        return phase

    def _autocast(self) -> AbstractContextManager:
        dtype = PRECISIONS[self.config.precision]
        return torch.autocast(self.stream.device.type, dtype) if dtype else nullcontext()

    def _backward(self, phase: Phase) -> None:
        objective = torch.stack([loss.float() if loss.dtype.itemsize < 4 else loss for loss in phase.losses.values()])
        loss = self.scaler.scale(objective.sum() / self.config.accumulate)
        loss.backward(inputs=self.model.players[phase.player].parameters())

    def _update(self, player: str) -> None:
        optimizer = self.optimizers[player]
        if self.config.clip_grad is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.players[player].parameters(), self.config.clip_grad)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        if self.ema is not None and self.model.players[player].ema:
            self.ema.update()

    def fit(self) -> bool:
        """Train to the last epoch; True when it is reached, False when interrupted. State is saved either way.

        Raises:
            Diverged: when a loss or a weight is not finite; what was saved before stays.
            ImageError: for a file that cannot be used.
        """
        total = self.config.epochs * len(self.stream)
        if self.images >= total:
            log.warning("all %d epochs are done already; a larger --n_epochs goes on", self.config.epochs)
            return True
        self.model.train()
        with Interruption() as interruption, ProgressBar(total, self.images) as bar:
            self._started = (time.monotonic(), self.images, self.stream.waited)
            if self.step == 0:
                self._show_samples()
            while self.images < total and not interruption.requested:
                before = self.images
                self.train_step()
                self._after_step(before, bar)
            self._log(bar)
            self.save_latest()
            self._show_samples()
            self.boards.close()
        if interruption.requested:
            where = f"{self.folder / 'latest.pt'}; go on with: {self.resume_command}" if self.folder else "nothing"
            log.warning("stopped after %d images, saved %s", self.images, where)
        return not interruption.requested

    def _after_step(self, before: int, bar: ProgressBar) -> None:
        config, epoch_length = self.config, len(self.stream)

        def crossed(frequency: int) -> bool:
            return self.images // frequency > before // frequency

        bar.advance(self.images)
        if crossed(config.print_freq):
            self._log(bar)
        if crossed(config.display_freq):
            self._show_samples()
        if crossed(epoch_length):
            self._end_of_epoch()
        if crossed(config.save_latest_freq) or time.monotonic() - self._saved_at > self.save_seconds:
            self.save_latest()
        if crossed(config.save_epoch_freq * epoch_length):
            self._save_epoch()

    def _log(self, bar: ProgressBar) -> None:
        losses = self.history.means()
        self._check_losses()
        if not losses:
            return
        now = (time.monotonic(), self.images, self.stream.waited)
        seconds, images, waited = (new - old for new, old in zip(now, self._started, strict=True))
        self._started = now
        speed = {"seconds_per_image": seconds / max(images, 1), "data_share": waited / max(seconds, 1e-9)}
        rates = {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}
        self.boards.scalars(self.progress, losses | rates | speed)
        bar.show(self.progress, losses, **speed)

    def _end_of_epoch(self) -> None:
        if not self.plateaus:
            return
        means = self.epoch_history.means()
        name = self.config.plateau_loss or self.model.plateau_loss
        if name not in means:
            raise ValueError(f"--plateau_loss {name}: no such loss; choose from {', '.join(means)}")
        for plateau in self.plateaus.values():
            plateau.step(means[name])

    def _show_samples(self) -> None:
        if self.samples is None:
            return
        average = self.ema.applied() if self.ema is not None else nullcontext()
        with average, torch.random.fork_rng():
            pictures = self.model.visuals(self.samples)
        self.boards.images(self.progress, {label: images.float().cpu() for label, images in pictures.items()})

    def state_dict(self) -> dict[str, Any]:
        """Everything that training depends on, as tensors and plain values."""
        return {
            "options": self.options,
            "spec": self.model.spec._asdict(),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "plateaus": {name: plateau.state_dict() for name, plateau in self.plateaus.items()},
            "epoch_losses": self.epoch_history.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": checkpoint.random_states(),
            "step": self.step,
            "images": self.images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: if it is of another architecture; names the options that differ.
        """
        self.model.load_checkpoint(state["model"], state["options"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, plateau in self.plateaus.items():
            if name in state["plateaus"]:
                plateau.load_state_dict(state["plateaus"][name])
        self.epoch_history.load_state_dict(state["epoch_losses"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.stream.seek(state["images"])
        checkpoint.restore_random_states(state["random"])

    def save_latest(self) -> None:
        """Write `latest.pt`, if every loss and weight is finite."""
        self._check_losses()
        self._check_weights()
        if self.folder is not None:
            checkpoint.save(self.state_dict(), self.folder / "latest.pt")
        self._saved_at = time.monotonic()

    def _save_epoch(self) -> None:
        self.save_latest()
        if self.folder is not None:
            checkpoint.save_as_well(self.folder / "latest.pt", self.folder / f"epoch_{self.epoch}.pt")
            checkpoint.prune(self.folder, self.config.keep_checkpoints)

    def _check_losses(self) -> None:
        self.history.fetch()
        if self.history.first_bad is not None:
            step, names = self.history.first_bad
            raise Diverged(f"{', '.join(names)} not finite at step {step}; {self._way_out()}")

    def _check_weights(self) -> None:
        finite = [torch.isfinite(value).all() for value in self.model.state_dict().values() if torch.is_tensor(value)]
        if not torch.stack(finite).all():
            raise Diverged(f"weights not finite after step {self.step}; {self._way_out()}")

    def _way_out(self) -> str:
        latest = self.folder / "latest.pt" if self.folder is not None else None
        saved = f"{latest} is the last clean state" if latest is not None and latest.is_file() else "nothing was saved"
        return f"{saved}; a lower --lr, --clip_grad 1 or --precision fp32 may help"
