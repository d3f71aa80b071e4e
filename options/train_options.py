"""The options of train.py."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from i2i.acceleration import AccelerationConfig
from i2i.command import invocation
from i2i.config import OptionParser, as_dict, from_values
from i2i.errors import UserError
from i2i.metrics.config import MetricNetworksConfig
from i2i.models import MODELS
from i2i.run import RunConfig
from i2i.training import TrainConfig
from i2i.training.start import StartConfig
from i2i.watch.boards.options import VisualsConfig
from i2i.watch.build import OBSERVERS
from i2i.watch.validation import ValidationConfig
from options.base_options import BaseOptions

NOT_STORED = ("continue_train", "overwrite", "keep_memory")  # they belong to a start, not to the run
PLACE = ("name", "checkpoints_dir")  # where a run is now, wherever it was made


class TrainOptions(BaseOptions):
    """Options of a training run. With `--continue_train` those of its checkpoint come before the given ones."""

    program = "train.py"
    description = "Train a model on a folder of images."
    train: TrainConfig
    start: StartConfig
    validation: ValidationConfig
    metric_networks: MetricNetworksConfig
    acceleration: AccelerationConfig
    visuals: VisualsConfig

    def sections(self) -> dict[str, type]:
        return super().sections() | {
            "train": TrainConfig,
            "start": StartConfig,
            **{name: kind.config for name, kind in OBSERVERS.items() if kind.config is not None},
            "metric_networks": MetricNetworksConfig,
            "acceleration": AccelerationConfig,
            "visuals": VisualsConfig,
        }

    def add_commands(self, parser: OptionParser) -> None:
        super().add_commands(parser)
        parser.add_argument(
            "--epoch", metavar="N", help="checkpoint from which --continue_train continues (default: latest)"
        )

    def early_configs(self) -> tuple[type, ...]:
        return (*super().early_configs(), TrainConfig)

    def stored(self, first: dict[str, Any]) -> dict[str, Any]:
        if not first["continue_train"]:
            return {}
        folder = Path(first["checkpoints_dir"]) / first["name"]
        options = self._load_checkpoint(folder, first.get("epoch", "latest"))
        return {name: value for name, value in options.items() if name not in NOT_STORED + PLACE}

    def _build(self, values: dict[str, Any]) -> None:
        processes = os.environ.get("WORLD_SIZE", "1")
        if processes not in ("", "1"):
            raise UserError(
                f"WORLD_SIZE is {processes}: training on several devices is not there yet; start one process by "
                "python train.py"
            )
        if {"lambda_L1", "reconstruction"} <= set(self.given):
            raise UserError("--lambda_L1 and --reconstruction both weigh l1; give one of them")
        super()._build(values)
        if self.train.checkpoint_activations and self.acceleration.compile in ("on", "reduce-overhead"):
            raise UserError("--checkpoint_activations does not go with --compile; leave one of them out")
        if "init_from" in self.given and self.train.continue_train:
            raise UserError("--init_from starts a new run and --continue_train continues one; give one of them")
        layouts = MODELS[self.model_name].layouts
        if self.data.dataset_mode not in layouts:
            learns = " or ".join(layouts)
            raise UserError(f"--dataset_mode {self.data.dataset_mode}: {self.model_name} learns from {learns} data")

    def observers(self) -> dict[str, Any]:
        """Return the options of the observers by their names in OBSERVERS."""
        return {name: getattr(self, name) for name, kind in OBSERVERS.items() if kind.config is not None}

    def saved(self) -> dict[str, Any]:
        """Return the options that options.yaml and checkpoints hold."""
        return {name: value for name, value in self.as_dict().items() if name not in NOT_STORED}

    @property
    def changed(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        usual: dict[str, Any] = {"model": self.default_model}
        for config in (*self.sections().values(), self.config_class):
            values = {field.name: field.default for field in dataclasses.fields(config)}
            usual |= as_dict(
                from_values(config, values | {k: v for k, v in self.model_defaults().items() if k in values})
            )
        return [name for name, value in self.as_dict().items() if usual[name] != value]

    @property
    def crop_size(self) -> tuple[int, ...] | None:
        """The size of all training images, or None if they differ."""
        return self.data.crop_size if "crop" in self.data.preprocess else None

    @property
    def resume_command(self) -> str:
        """The command that continues this run."""
        words = ["--name", self.run.name]
        if self.run.checkpoints_dir != RunConfig().checkpoints_dir:
            words += ["--checkpoints_dir", self.run.checkpoints_dir]
        return shlex.join([*invocation("train.py"), *words, "--continue_train"])

    def way_on(self) -> str:
        """Return how to continue after the run was stopped; empty if nothing is saved."""
        return f"go on with: {self.resume_command}" if (self.run.folder / "latest.pt").is_file() else ""

    def less_memory(self) -> str:
        """Return which options reduce the memory that training takes."""
        latest = self.run.folder / "latest.pt"
        saved = f"go on from {latest} with: {self.resume_command}" if latest.is_file() else "nothing was saved yet"
        ways = {
            "--checkpoint_activations": not self.train.checkpoint_activations,
            "--precision bf16": self.acceleration.precision not in ("bf16", "fp16"),
            "a smaller --batch_size": self.data.batch_size > 1,
            "a smaller --crop_size": "crop" in self.data.preprocess,
            "--preprocess resize_and_crop": "crop" not in self.data.preprocess,
        }
        helping = " and ".join(way for way, helps in ways.items() if helps)
        return f"a batch of {self.data.batch_size} was too much; less memory is taken with {helping}; {saved}"
