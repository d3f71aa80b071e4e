"""What looks on while a model trains: boards, the doctor, validation. None of it moves a weight or a random state."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from i2i.acceleration import autocast, eagerly
from i2i.data import Batch
from i2i.data.images.display import displayed
from i2i.metrics import METRICS
from i2i.models.game import Game
from i2i.random_state import isolated
from i2i.training.progress import ProgressBar
from i2i.training.recovery import Skipping
from i2i.training.saving import Diverged
from i2i.watch.boards import Finding
from i2i.watch.doctor import Doctor, not_finite
from i2i.watch.validation import Selection, Validation, ValidationConfig, Validator

if TYPE_CHECKING:
    from i2i.training.trainer import Trainer

log = logging.getLogger(__name__)

TOLD_OF = (1, 10, 100, 1000, 10_000)  # steps that are left out
NAMED = 10  # of them, with their images


class Monitor:
    """Reports how `trainer` gets on, has a doctor look at it, and validates it on what `validator` holds.

    `val_freq` is the number of images between two validations, None for none; `selection` knows which validation was
    the best, None where nothing says what good is. `norms` are those of the players' gradients in the first step after
    each line of the log.
    """

    def __init__(
        self, trainer: Trainer, samples: Batch | None, validator: Validator | None, config: ValidationConfig
    ) -> None:
        self.trainer, self.samples, self.validator, self.config = trainer, samples, validator, config
        self.doctor = Doctor() if trainer.config.doctor else None
        translated = len(validator) * len(trainer.model.targets) if validator is not None else 0
        self.val_freq = config.frequency(translated, len(trainer.stream)) if validator is not None else None
        metric = validator.best_metric if validator is not None else None
        self.selection = Selection(metric, METRICS[metric].higher_is_better) if metric is not None else None
        self.norms: dict[str, Tensor] = {}
        self._games = {name: module for name, module in trainer.model.named_modules() if isinstance(module, Game)}
        self._validated_at = -1
        self._read_at = (time.monotonic(), 0, 0.0)

    @property
    def exhausted(self) -> bool:
        """Whether validations have brought nothing better for longer than `--patience`."""
        return self.selection is not None and self.selection.exhausted(self.config.patience)

    def plan(self) -> str:
        """What is validated, how often, and what for, in a line; nothing where nothing is."""
        if self.validator is None or self.val_freq is None:
            return ""
        best = f", best.pt by {self.selection.metric}" if self.selection is not None else ""
        times = -(-self.trainer.config.epochs * len(self.trainer.stream) // self.val_freq)
        patience = self.config.patience
        never = f"; --patience {patience} cannot end it" if patience is not None and times <= patience else ""
        return f"validation of {len(self.validator)} images every {self.val_freq:,}, {times} times{best}{never}"

    def start(self) -> None:
        """Time runs from here."""
        trainer = self.trainer
        self._read_at = (time.monotonic(), trainer.images, trainer.stream.waited)
        if trainer.step == 0:
            self.show_samples()

    def find_best(self) -> None:
        """See that `best.pt` is what `selection` says: a crash may have come before it, or it has been put aside."""
        selection, folder = self.selection, self.trainer.saver.folder
        if selection is None or selection.best is None or folder is None:
            return
        if selection.best_images == self.trainer.images:
            self.trainer.save(best=True)
        elif not (folder / "best.pt").is_file():
            log.warning("there is no best.pt any more: the next validation counts as the best")
            self.selection = Selection(selection.metric, selection.higher_is_better)

    def report(self, bar: ProgressBar) -> None:
        """Show the means of the losses since the last report, and what the doctor makes of them.

        Raises:
            Diverged: if one of them was not finite.
        """
        trainer = self.trainer
        self.check_losses()
        losses = trainer.history.means()
        if not losses:
            return
        now = (time.monotonic(), trainer.images, trainer.stream.waited)
        seconds, images, waited = (new - old for new, old in zip(now, self._read_at, strict=True))
        self._read_at = now
        speed = {"seconds_per_image": seconds / max(images, 1), "data_share": waited / max(seconds, 1e-9)}
        rates = {f"lr_{name}": optimizer.param_groups[0]["lr"] for name, optimizer in trainer.optimizers.items()}
        norms = {name: float(norm) for name, norm in self.norms.items()}
        if trainer.scaler.is_enabled():  # which sees to gradients that are not finite
            norms = {name: norm for name, norm in norms.items() if math.isfinite(norm)}
        self.norms = {}
        games = {name: game.observed() for name, game in self._games.items()}
        self._ask(lambda doctor: doctor.losses(trainer.progress, losses, norms, games))
        figures = self.doctor.figures if self.doctor is not None else {}
        gradients = {f"grad_{name}": norm for name, norm in norms.items()}
        trainer.boards.scalars(trainer.progress, losses | rates | gradients | figures | speed)
        bar.show(trainer.progress, losses, **speed)

    def check_losses(self) -> None:
        """Raise Diverged if a loss was not finite, and show that."""
        history = self.trainer.history
        try:
            self.trainer.saver.check_losses(history)
        except Diverged:
            assert history.first_bad is not None
            step, names = history.first_bad
            finding = not_finite(names, step)
            if self.trainer.config.on_nan == "rollback":
                finding = finding._replace(advice="It is for --on_nan rollback to go back to the last save.")
            self.tell([finding])
            raise

    def show_samples(self) -> None:
        """Show what the model makes of the samples."""
        if self.samples is None:
            return
        trainer = self.trainer
        with self._looking(), autocast(trainer.acceleration, trainer.stream.device):
            pictures = trainer.model.visuals(self.samples)
        shown = displayed({label: images.float() for label, images in pictures.items()}, *trainer.model.spec.domains)
        on_cpu = {label: images.cpu() for label, images in shown.items()}
        trainer.boards.images(trainer.progress, on_cpu)
        self._ask(lambda doctor: doctor.pictures(trainer.progress, on_cpu))

    def validate(self) -> None:
        """Validate, unless that has been done with these weights, and save them if none were better before.

        Raises:
            Diverged: if a loss since the last report was not finite.
        """
        trainer, validator = self.trainer, self.validator
        if validator is None or self.val_freq is None or self._validated_at == trainer.images:
            return
        self.check_losses()
        try:
            with self._looking():
                found = validator.run(trainer.model)
        except Exception:  # of images that do not fit the network or the memory, say: nothing learned is lost by it
            trainer.save()
            log.warning("validation has failed; --val_freq 0 goes on without it")
            raise
        self._validated_at = trainer.images
        selection = self.selection
        is_best = selection is not None and selection.update(found.figures, trainer.images, len(validator))
        self._show_validation(found, is_best)
        held_out = (found.figures, found.train_figures, found.thumbnails)
        self._ask(lambda doctor: doctor.validated(trainer.progress, *held_out))
        if selection is not None and trainer.plateau is not None:
            trainer.plateau.validated(selection.watched(found.figures))
        if is_best:
            trainer.save(best=True)

    def _show_validation(self, found: Validation, is_best: bool) -> None:
        trainer = self.trainer
        values = {f"val_{name}": value for name, value in found.figures.items()}
        values |= {f"train_{name}": value for name, value in found.train_figures.items()}
        trainer.boards.scalars(trainer.progress, values)
        if found.best:
            trainer.boards.examples(trainer.progress, found.ranked_by, found.best, found.worst)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.figures.items())
        best = f"; the best {self.selection.metric} so far, best.pt" if is_best and self.selection is not None else ""
        log.info("validation after %s images: %s%s", f"{trainer.images:,}", shown, best)

    def sum_up(self) -> None:
        """Say, if training is over, which checkpoint is the best, whether patience ended it, and what was left out."""
        trainer, selection, skipping = self.trainer, self.selection, self.trainer.skipping
        is_done = trainer.images >= trainer.config.epochs * len(trainer.stream)
        if not (is_done or self.exhausted):
            return
        if selection is not None and selection.best is not None:
            log.info("best.pt: %s", selection)
        if not is_done:
            advice = "A larger --patience goes on, with --continue_train."
            self.tell([Finding("stopped_early", "warning", 0.0, f"Stopped early: {selection}.", advice)])
        if skipping is not None and skipping.skipped:
            self.tell([skipping.summary(trainer.step)])

    def _ask(self, question: Callable[[Doctor], list[Finding]]) -> None:
        """Show what the doctor finds; a doctor that fails is sent away, and never stops the run."""
        if self.doctor is None:
            return
        try:
            findings = question(self.doctor)
        except Exception as error:
            self.doctor = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("the doctor has failed, the run goes on without: %s", reason)
        else:
            self.tell(findings)

    def tell(self, findings: list[Finding]) -> None:
        """Show what the doctor has found."""
        for finding in findings:
            log.warning("doctor, %s: %s %s", finding.name, finding.message, finding.advice)
        if findings:
            self.trainer.boards.findings(self.trainer.progress, findings)

    def tell_skipped(self, skipping: Skipping, paths: Sequence[str]) -> None:
        """Name a step that was left out and its images; boards are told of the first, the tenth, the hundredth."""
        trainer = self.trainer
        if skipping.skipped <= NAMED or skipping.skipped in TOLD_OF:
            log.warning("%s", skipping.described(trainer.step, paths))
        if skipping.skipped in TOLD_OF:
            trainer.boards.findings(trainer.progress, [skipping.finding(trainer.step, paths)])

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """The averaged weights, if there are any, uncompiled, and random states that come back."""
        trainer = self.trainer
        average = trainer.ema.applied() if trainer.ema is not None else nullcontext()
        with average, eagerly(trainer.generators), isolated(trainer.stream.device):
            yield

    def observations(self) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
        """What has been observed of the games and of the gradients since the last report."""
        return {name: game.observations() for name, game in self._games.items()}, dict(self.norms)

    def load_observations(self, observations: tuple[dict[str, list[float]], dict[str, Tensor]]) -> None:
        """Go back to what `observations` gave."""
        games, self.norms = observations
        for name, observed in games.items():
            if name in self._games:
                self._games[name].load_observations(observed)

    def state_dict(self) -> dict[str, Any]:
        """What the next reports depend on, as plain values."""
        games, norms = self.observations()
        return {
            "doctor": self.doctor.state_dict() if self.doctor is not None else None,
            "games": games,
            "norms": {name: float(norm) for name, norm in norms.items()},
            "validated_at": self._validated_at,
        }

    def validation_state(self) -> dict[str, Any] | None:
        """Which validation was the best so far, as plain values."""
        return self.selection.state_dict() if self.selection is not None else None

    def load_state_dict(self, state: dict[str, Any], validation: dict[str, Any] | None) -> None:
        """Go on from what `state_dict` and `validation_state` gave; another best metric starts anew."""
        if self.doctor is not None and state.get("doctor"):
            self.doctor.load_state_dict(state["doctor"])
        norms = {name: torch.tensor(norm) for name, norm in state.get("norms", {}).items()}
        self.load_observations((state.get("games", {}), norms))
        self._validated_at = state.get("validated_at", -1)
        if self.selection is not None and validation is not None and validation["metric"] == self.selection.metric:
            self.selection.load_state_dict(validation)
