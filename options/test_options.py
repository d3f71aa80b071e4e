"""The options of test.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.acceleration import AccelerationConfig
from i2i.atomic import fitting
from i2i.config import OptionParser
from i2i.data import DataConfig
from i2i.errors import UserError, file_errors
from i2i.metrics.config import CardConfig, MetricNetworksConfig
from i2i.models import MODELS
from i2i.models.pix2pix import Pix2Pix
from i2i.run import RunConfig, saved_epochs
from i2i.translate import REFERENCE_LABELS, Labels, TestConfig
from options.base_options import BaseOptions
from options.retired import IGNORED

ENDS = ("in_channels", "out_channels", "in_classes", "out_classes", "in_range", "out_range")
DOMAINS = (*ENDS, "conditions", "condition_channels", "condition_classes")
READING = ("derive", "derive_scale", "alpha", "pages", "max_pixels")
# Options that a test takes from its run, besides those of the model.
STORED = ("model", "direction", "dataset_mode", "crop_size", *DOMAINS, *READING)
# Options of the data that a test does not have.
TRAINING = ("augment", "augment_preset", "augment_color", "augment_file", "cache", "cache_limit", "cache_dir")
HIDDEN = (*DOMAINS, *TRAINING, "flip", "serial_batches", "max_dataset_size")
BY_NETWORK = ("batch_size", "num_threads")  # chosen for the network and the device unless they are given


class TestOptions(BaseOptions):
    """Options of a test. Those of the model, its direction and its layout come from the run's checkpoint.

    `--name` may also be a run folder of the reference implementation.
    """

    __test__ = False  # not a test case, whatever its name makes pytest think

    program = "test.py"
    description = "Translate images with a trained model, or generate images of classes."
    shown_model = "the run's"
    defaults = {
        "phase": "test",
        "preprocess": "none",
        "load_size": None,
        "flip": False,
        "augment_preset": "none",
        "serial_batches": True,
    }
    ignored = IGNORED | {
        flag: (flag != "--use_wandb", "only train.py shows anything on visdom or Weights & Biases")
        for flag in ("--display_env", "--display_server", "--display_port", "--use_wandb", "--wandb_project_name")
    }
    test: TestConfig
    acceleration: AccelerationConfig
    card: CardConfig
    metric_networks: MetricNetworksConfig
    weights: Path | None = None  # a generator of the reference implementation, in place of a checkpoint
    opposite: bool = False  # True: use a CycleGAN's generator for the other direction

    def model_names(self) -> list[str]:
        return [*MODELS, "test"]

    def sections(self) -> dict[str, type]:
        return {
            "run": RunConfig,
            "test": TestConfig,
            "acceleration": AccelerationConfig,
            "data": DataConfig,
            "card": CardConfig,
            "metric_networks": MetricNetworksConfig,
        }

    def shown_defaults(self) -> dict[str, str | None]:
        hidden = [*HIDDEN, *(field.name for field in dataclasses.fields(self.config_class))]
        words = {"load_size": "the crop_size"} | dict.fromkeys(BY_NETWORK, "by network and device")
        return dict.fromkeys(STORED, "the run's") | dict.fromkeys(hidden) | words

    def add_commands(self, parser: OptionParser) -> None:
        super().add_commands(parser)
        parser.add_argument(
            "--model_suffix", metavar="TEXT", help="of a reference run's file, latest_net_G<suffix>.pth"
        )

    def epilog(self) -> str:
        return (
            "The model and its options come from the run. A file of the reference implementation does not tell all: "
            "--norm none says that it had no normalisation, --no_dropout that it had no dropout."
        )

    def early_configs(self) -> tuple[type, ...]:
        return (*super().early_configs(), TestConfig, DataConfig)

    def stored(self, first: dict[str, Any]) -> dict[str, Any]:
        folder = Path(first["checkpoints_dir"]) / first["name"]
        weights = first["reference_weights"] or reference_file(folder, first)
        if weights is not None:
            self.weights = Path(weights)
            return {}
        options = self._load_checkpoint(folder, first["epoch"], mapped=True)
        own = {field.name for field in dataclasses.fields(MODELS[options["model"]].Config)}
        return {name: value for name, value in options.items() if name in own.union(STORED)}

    @property
    def config_class(self) -> type:
        return MODELS.get(self.model_name, Pix2Pix).Config

    @property
    def targets(self) -> tuple[str, ...]:
        """The domains that the run translates to."""
        return MODELS.get(self.model_name, Pix2Pix).targets

    def model_defaults(self) -> Mapping[str, Any]:
        return MODELS[self.model_name].defaults if self.model_name in MODELS else {"dataset_mode": "single"}

    def _build(self, values: dict[str, Any]) -> None:
        values = values | {"load_size": values["load_size"] or values["crop_size"]}
        self.opposite = self.weights is not None and self.weights.stem.endswith("_net_G_B")
        if self.opposite and "direction" not in self.given:
            values["direction"] = "BtoA"
        super()._build(values)
        if self.checkpoint is not None:
            self._compare_direction(self.checkpoint["options"]["direction"])
        if self.generates and (self.test.part or self.test.processes > 1):
            raise UserError("--part and --processes share the images of a folder; leave them out to generate images")
        if self.card.metrics:
            self._write_what_is_judged()
        if self.test.truncation is not None and not self.generates:
            raise UserError(
                "--truncation: this run translates images, and only runs that generate images draw noise to truncate"
            )
        if {"load_size", "crop_size"} & set(self.given) and self.data.preprocess == "none":
            self.notice("sizes have no effect with --preprocess none, which keeps the images' own; see --preprocess")

    def _write_what_is_judged(self) -> None:
        if self.test.part:
            raise UserError(f"--metrics judges a whole folder: leave --part {self.test.part} out, or run i2i.evaluate")
        restores = "a" in self.targets and {"auto", "cycle"} & set(self.card.metrics or ())
        if restores or self.test.pictures == "fake":
            self.test = dataclasses.replace(self.test, pictures="all" if restores else "real_fake")

    def _compare_direction(self, trained: str) -> None:
        self.opposite = self.data.direction != trained
        if self.opposite and "a" not in self.targets:
            raise UserError(
                f"--direction {self.data.direction}: {self.path} is a {self.model_name} trained {trained}, "
                "which has no generator for the other direction; train another run"
            )

    def way_on(self) -> str:
        """Return how to continue after the test was stopped."""
        return "" if self.generates else "the same command with --skip_existing goes on"

    def less_memory(self) -> str:
        """Return which options reduce the memory that a test takes."""
        ways = "a smaller one, --precision bf16, and smaller images (--preprocess scale_width --load_size 512)"
        return f"--batch_size {self.data.batch_size} was too much; {ways} all take less memory"

    @property
    def generates(self) -> bool:
        """True if the run makes images from labels, and translates none."""
        return self.model_name in MODELS and MODELS[self.model_name].generates

    @property
    def labels(self) -> Labels:
        """The labels in the names of the files of input, output and truth."""
        if self.model_name == "test":
            return REFERENCE_LABELS
        return Labels("real_B", "fake_A", "real_A") if self.opposite else Labels("real_A", "fake_B", "real_B")

    @property
    def folder(self) -> Path:
        """The results folder, unless it holds other results: see `i2i.results.results_folder`."""
        what = Path(self.test.input).resolve().name.replace(".", "_") if self.test.input else self.data.phase
        which = self.test.epoch if self.weights is None else self.weights.stem.split("_net_")[0]
        backwards = f"_{self.data.direction}" if self.opposite else ""
        end = f"_{which}{backwards}{self.test.suffix}"
        return Path(self.test.results_dir) / self.run.name / fitting(what, end)


@file_errors("--checkpoints_dir")
def reference_file(folder: Path, values: Mapping[str, Any]) -> Path | None:
    """Return the generator's file in a run folder of the reference implementation, or None for another folder.

    Raises:
        UserError: if it has no file of that epoch or suffix; names those that it has.
    """
    there = sorted(path.name for path in folder.glob("*_net_G*.pth"))
    if not there or saved_epochs(folder):
        return None
    given = values.get("model_suffix")
    suffixes = ["", "_B" if values["direction"] == "BtoA" else "_A"] if given is None else [given]
    wanted = [f"{values['epoch']}_net_G{suffix}.pth" for suffix in suffixes]
    found = [name for name in wanted if name in there]
    if not found:
        raise UserError(f"{folder / wanted[-1]} does not exist; there are: {', '.join(there)}")
    return folder / found[0]
