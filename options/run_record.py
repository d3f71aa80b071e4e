"""How a run came about, for its report and whoever looks into its folder."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from i2i.config import as_dict, from_values
from i2i.environment import environment

if TYPE_CHECKING:
    from i2i.training import Trainer
    from options.train_options import TrainOptions


def run_record(options: TrainOptions, trainer: Trainer) -> dict[str, Any]:
    """What run.json holds, as plain values."""
    players = {name: sum(p.numel() for p in player.parameters()) for name, player in trainer.model.players.items()}
    return {
        "changed": _changed(options),
        "command": shlex.join(["python", *sys.argv]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "total_images": options.train.epochs * len(trainer.stream),
        "best_metric": None if trainer.monitor.validator is None else trainer.monitor.validator.best_metric,
        "environment": environment(trainer.stream.device),
        "data": _data(options, trainer),
        "parameters": {name: count / 1e6 for name, count in players.items()},
    }


def _data(options: TrainOptions, trainer: Trainer) -> dict[str, Any]:
    spec, validator = trainer.model.spec, trainer.monitor.validator
    data = {
        "dataroot": options.data.dataroot,
        "layout": options.data.dataset_mode,
        "images an epoch": len(trainer.stream),
        "images validated on": 0 if validator is None else len(validator),
        "size": "x".join(map(str, spec.image_size)),
        "classes": list(spec.classes),
    }
    for name, domains in zip("ab", spec.domains, strict=True):
        data[name] = " and ".join(f"{domain.channels} channels of {domain.kind}" for domain in domains)
    return data


def _changed(options: TrainOptions) -> list[str]:
    """The options that are not at their defaults."""
    defaults = options.parser().defaults
    usual = {"model": options.default_model}
    for config in (*options.sections().values(), options.config_class):
        usual |= as_dict(from_values(config, defaults))
    return [name for name, value in options.as_dict().items() if usual[name] != value]
