"""Validation as an observer of a run: the best checkpoint and early stopping."""

from __future__ import annotations

import logging
from typing import Any

from i2i.metrics import METRICS
from i2i.training.observer import Finding, Observation, Observer, RunView, log_findings
from i2i.watch.validation.best_checkpoint import BestCheckpoint
from i2i.watch.validation.config import ValidationConfig
from i2i.watch.validation.validator import Validation, Validator

log = logging.getLogger(__name__)


class ValidationObserver(Observer):
    """Validates every `every` images, asks to save the best weights, and to stop after `--patience` validations.

    `selection` keeps track of the best validation; it is None if no metric measures quality.
    """

    name = "validation"

    def __init__(self, validator: Validator, config: ValidationConfig, targets: int, epoch_length: int) -> None:
        self.validator, self.config = validator, config
        self.every = config.frequency(len(validator) * targets, epoch_length)
        self.plateau_metric = validator.best_metric
        self.selection = self._new_selection()
        self._validated_at = -1

    def _new_selection(self) -> BestCheckpoint | None:
        metric = self.validator.best_metric
        return BestCheckpoint(metric, METRICS[metric].higher_is_better) if metric is not None else None

    @property
    def exhausted(self) -> bool:
        """True after `--patience` validations without improvement."""
        return self.selection is not None and self.selection.exhausted(self.config.patience)

    def plan(self, images: int) -> str:
        """Return a line on what is validated and how often, for a run over `images` images; empty for nothing."""
        if self.every is None:
            return ""
        best = f", best.pt by {self.selection.metric}" if self.selection is not None else ""
        times, patience = -(-images // self.every), self.config.patience
        never = f"; --patience {patience} cannot end it" if patience is not None and times <= patience else ""
        return f"validation of {len(self.validator)} images every {self.every:,}, {times} times{best}{never}"

    def begin(self, run: RunView) -> Observation | None:
        selection = self.selection
        if self.exhausted:
            log.warning("training has stopped early already; a larger --patience goes on")
            return Observation(stop=True)
        if selection is None or selection.best is None or run.folder is None:
            return None
        if selection.best_images == run.progress.images:  # a crash may have come between latest.pt and best.pt
            return Observation(save_best=True)
        if not (run.folder / "best.pt").is_file():
            log.warning("there is no best.pt any more: the next validation counts as the best")
            self.selection = self._new_selection()
        return None

    def observe(self, run: RunView) -> Observation | None:
        if self._validated_at == run.progress.images:
            return None
        try:
            found = self.validator.run(run.model)
        except Exception:
            log.warning("validation has failed; --val_freq 0 goes on without it")
            raise
        self._validated_at, selection = run.progress.images, self.selection
        is_best = selection is not None and selection.update(found.figures, run.progress.images, len(self.validator))
        self._log(run, found, is_best)
        values = {f"val_{name}": value for name, value in found.figures.items()}
        values |= {f"train_{name}": value for name, value in found.train_figures.items()}
        watched = None if selection is None else selection.watched(found.figures)
        return Observation(values=values, validation=found, save_best=is_best, stop=self.exhausted, plateau=watched)

    def _log(self, run: RunView, found: Validation, is_best: bool) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.figures.items())
        best = f"; the best {self.selection.metric} so far, best.pt" if is_best and self.selection is not None else ""
        log.info("validation after %s images: %s%s", f"{run.progress.images:,}", shown, best)

    def end(self, run: RunView) -> Observation | None:
        if not (run.is_over or self.exhausted):
            return None
        if self.selection is not None and self.selection.best is not None:
            log.info("best.pt: %s", self.selection)
        if run.is_over:
            return None
        advice = "A larger --patience goes on, with --continue_train."
        findings = [Finding("stopped_early", "warning", 0.0, f"Stopped early: {self.selection}.", advice)]
        log_findings(findings)
        return Observation(findings=findings)

    def state_dict(self) -> dict[str, Any]:
        selection = self.selection.state_dict() if self.selection is not None else {}
        return selection | {"validated_at": self._validated_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._validated_at = state["validated_at"]
        if self.selection is not None and state.get("metric") == self.selection.metric:
            self.selection.load_state_dict(state)
