"""The protocol by which validation, the doctor, boards and reports watch a training run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from i2i.models.adversarial import DiscriminatorStatistics
from i2i.models.base import GanModel

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """The progress of a run: optimisation steps, images seen, and the current epoch, counted from 1."""

    step: int
    images: int
    epoch: int


class Finding(NamedTuple):
    """A problem of a run: the figure that shows it, what it means, and what helps."""

    name: str  # such as not_finite, discriminator_won, collapse
    severity: str  # "warning" or "alarm"
    figure: float
    message: str  # a plain sentence with the figure in it
    advice: str  # which option helps


class LossReport(NamedTuple):
    """The numbers of one line of the log: means since the last line, by name."""

    losses: dict[str, float]
    rates: dict[str, float]  # learning rates by player
    norms: dict[str, float]  # gradient norms by player, of the first step after the last line
    statistics: dict[str, DiscriminatorStatistics]  # by the name of the adversarial loss in the model
    speed: dict[str, float]  # seconds_per_image, data_share

    @property
    def values(self) -> dict[str, float]:
        """All numbers under the names of metrics.jsonl."""
        rates = {f"lr_{name}": rate for name, rate in self.rates.items()}
        return self.losses | rates | {f"grad_{name}": norm for name, norm in self.norms.items()} | self.speed


class Observation(NamedTuple):
    """Results and requests of an observer; the trainer passes the results on to all observers."""

    values: Mapping[str, float] = {}  # numbers to record
    pictures: Mapping[str, Tensor] = {}  # batches (N, C, H, W), float on the CPU in [-1, 1], by label
    findings: Sequence[Finding] = ()
    validation: Any = None  # an `i2i.watch.validation.Validation`
    save_best: bool = False  # save these weights as best.pt
    stop: bool = False  # end the training, as if the last epoch were over
    plateau: float | None = None  # a held-out figure, less is better, for --lr_policy plateau

    @property
    def has_news(self) -> bool:
        """True if there is anything for other observers."""
        return bool(self.values or self.pictures or self.findings or self.validation is not None)


@dataclass(frozen=True)
class RunView:
    """The part of a run that observers may read. They must not change the model."""

    model: GanModel
    device: torch.device
    folder: Path | None
    progress: Progress
    images: int  # of the whole run
    epoch_length: int
    autocast: Callable[[], AbstractContextManager]

    @property
    def is_over(self) -> bool:
        """True once all epochs are done."""
        return self.progress.images >= self.images


class Observer:
    """Watches a run. All methods may be left as they are.

    `observe` is called every `every` images and at the end, with the averaged weights if there are any. For all methods
    the trainer restores the random state, the weights and the train mode afterwards: a run trains the same weights with
    and without observers. The state is saved in checkpoints under `name`.
    """

    name: str = ""
    every: int | None = None
    plateau_metric: str | None = None  # the name of the figure that `Observation.plateau` holds, if it gives one

    def begin(self, run: RunView) -> Observation | None:
        """Start watching; called once, before the first step."""

    def observe(self, run: RunView) -> Observation | None:
        """Look at the model."""

    def report(self, run: RunView, report: LossReport) -> Observation | None:
        """Take in the losses, every `--print_freq` images; returned `values` are recorded with them."""

    def notice(self, run: RunView, observation: Observation) -> Observation | None:
        """Take in what another observer, or the trainer, has found."""

    def advance(self, images: int) -> None:
        """Take in that `images` are done, after every step."""

    def end(self, run: RunView) -> Observation | None:
        """Sum up; called when the last step is done or training was stopped."""

    def close(self) -> None:
        """Release what is open; called even after an error."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return plain values to be saved with the run, or None for nothing."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


def publish(observers: Iterable[Observer], run: RunView, observation: Observation) -> None:
    """Pass `observation` to all observers, and what they answer to all of them in turn."""
    observers = list(observers)
    for observer in observers if observation.has_news else ():
        if (answer := observer.notice(run, observation)) is not None:
            publish(observers, run, answer)


def log_findings(findings: Iterable[Finding]) -> None:
    """Log each finding as a warning."""
    for finding in findings:
        log.warning("doctor, %s: %s %s", finding.name, finding.message, finding.advice)
