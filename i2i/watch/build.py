"""The observers that a run has by its options. A new one is a file, and a line in OBSERVERS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from i2i.data import ImageDataset, sample_batch
from i2i.metrics.config import MetricNetworksConfig
from i2i.models.base import GanModel
from i2i.training import Observer, TrainConfig
from i2i.watch.boards.observer import BoardsObserver
from i2i.watch.boards.options import VisualsConfig, build_boards
from i2i.watch.doctor import DoctorObserver
from i2i.watch.memory import MemoryObserver
from i2i.watch.samples import SampleObserver
from i2i.watch.terminal import TerminalObserver
from i2i.watch.validation import ValidationConfig, build_validator
from i2i.watch.validation.observer import ValidationObserver


class WatchContext(NamedTuple):
    """Everything that observers are built from besides their own options."""

    train: TrainConfig
    metric_networks: MetricNetworksConfig
    model: GanModel
    dataset: ImageDataset
    held_out: ImageDataset | None
    device: torch.device


class ObserverKind(NamedTuple):
    """How to build an observer from its options and the context, None for no observer; the dataclass of its options.

    The options are flags of train.py, in a section of the help that has the observer's name.
    """

    build: Callable[[Any, WatchContext], Observer | None]
    config: type | None = None


def _validation(config: ValidationConfig, context: WatchContext) -> Observer | None:
    targets = context.model.targets
    validator = build_validator(
        config, context.metric_networks, context.held_out, context.dataset, targets, context.device
    )
    if validator is None:
        return None
    return ValidationObserver(validator, config, len(targets), len(context.dataset))


def _samples(config: None, context: WatchContext) -> Observer:
    return SampleObserver(sample_batch(context.dataset, device=context.device), context.train.display_freq)


# In this order they are asked; the doctor comes before what it looks at is recorded by the boards.
OBSERVERS: dict[str, ObserverKind] = {
    "terminal": ObserverKind(lambda config, context: TerminalObserver()),
    "memory": ObserverKind(lambda config, context: MemoryObserver()),
    "doctor": ObserverKind(lambda config, context: DoctorObserver() if context.train.doctor else None),
    "samples": ObserverKind(_samples),
    "validation": ObserverKind(_validation, ValidationConfig),
}


def build_observers(configs: Mapping[str, Any], context: WatchContext) -> list[Observer]:
    """Build all observers of OBSERVERS, with their options by name; boards follow once the run has its folder.

    Raises:
        UserError: if the data, or the networks at hand, cannot give what the options ask for.
    """
    built = [kind.build(configs.get(name), context) for name, kind in OBSERVERS.items()]
    return [observer for observer in built if observer is not None]


def build_boards_observer(config: VisualsConfig, folder: Path, resumed: int | None) -> BoardsObserver:
    """Build the boards of the run in `folder`, which continues from `resumed` images, or is new for None."""
    return BoardsObserver(build_boards(config, folder, resumed))
