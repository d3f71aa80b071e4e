"""run.json: how a run came about, for its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from i2i.atomic import replace_text
from i2i.data import DataConfig
from i2i.environment import environment
from i2i.errors import file_errors
from i2i.training import Trainer
from i2i.watch.validation.observer import ValidationObserver


@file_errors("--checkpoints_dir")
def write_run_record(
    folder: Path, trainer: Trainer, *, command: str, changed: Sequence[str], data: DataConfig, notes: Sequence[str] = ()
) -> None:
    """Write run.json: the options that differ from their defaults, the command, machine, data and players.

    `notes` say which weights the run started from and which are frozen.
    """
    validation = next((o for o in trainer.observers if isinstance(o, ValidationObserver)), None)
    players = trainer.model.players.items()
    record = {
        "changed": list(changed),
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "total_images": trainer.total,
        "best_metric": None if validation is None else validation.validator.best_metric,
        "environment": environment(trainer.stream.device),
        "data": _data(trainer, data, 0 if validation is None else len(validation.validator)),
        "parameters": {name: sum(p.numel() for p in player.parameters()) / 1e6 for name, player in players},
        "notes": list(notes),
    }
    replace_text(folder / "run.json", json.dumps(record, indent=1) + "\n")


def _data(trainer: Trainer, config: DataConfig, validated: int) -> dict[str, Any]:
    spec = trainer.model.spec
    about = {
        "dataroot": config.dataroot,
        "layout": config.dataset_mode,
        "images an epoch": len(trainer.stream),
        "images validated on": validated,
        "size": "x".join(map(str, spec.image_size)),
        "classes": list(spec.classes),
    }
    for name, domains in zip("ab", spec.domains, strict=True):
        about[name] = " and ".join(f"{domain.channels} channels of {domain.kind}" for domain in domains)
    return about
