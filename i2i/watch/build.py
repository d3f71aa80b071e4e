"""The observers that a run has by its options."""

from __future__ import annotations

from pathlib import Path

import torch

from i2i.data import ImageDataset, sample_batch
from i2i.metrics.config import JudgesConfig
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


def build_observers(
    train: TrainConfig,
    validation: ValidationConfig,
    judges: JudgesConfig,
    *,
    model: GanModel,
    dataset: ImageDataset,
    held_out: ImageDataset | None,
    device: torch.device,
) -> list[Observer]:
    """Build the terminal, the doctor, sample pictures and validation; boards follow once the run has its folder.

    Raises:
        UserError: if the data, or the networks at hand, cannot give what the options ask for.
    """
    observers: list[Observer] = [TerminalObserver(), MemoryObserver()]
    if train.doctor:
        observers.append(DoctorObserver())
    observers.append(SampleObserver(sample_batch(dataset, device=device), train.display_freq))
    validator = build_validator(validation, judges, held_out, dataset, model.targets, device)
    if validator is not None:
        observers.append(ValidationObserver(validator, validation, len(model.targets), len(dataset)))
    return observers


def build_boards_observer(config: VisualsConfig, folder: Path, resumed: int | None) -> BoardsObserver:
    """Build the boards of the run in `folder`, which continues from `resumed` images, or is new for None."""
    return BoardsObserver(build_boards(config, folder, resumed))
