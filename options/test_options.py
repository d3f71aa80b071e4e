"""The options of test.py."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.acceleration import AccelerationConfig
from i2i.atomic import fitting
from i2i.config import OptionParser, as_dict
from i2i.data import DataConfig, ImageDataset
from i2i.data.seen import refuse_wrong_layout
from i2i.errors import UserError, file_errors
from i2i.metrics.config import CardConfig, JudgesConfig
from i2i.models import MODELS
from i2i.models.pix2pix import Pix2Pix
from i2i.run import RunConfig, saved_epochs
from i2i.translate import REFERENCE_LABELS, Labels, TestConfig, suitable_batch_size, suitable_readers
from i2i.translate.material import of_generation, of_translation
from i2i.translate.metrics import Assessment, about_weights
from i2i.translate.translator import Translator, load_model
from options.base_options import BaseOptions
from options.retired import IGNORED

ENDS = ("in_channels", "out_channels", "in_classes", "out_classes", "in_range", "out_range")
DOMAINS = (*ENDS, "conditions", "condition_channels", "condition_classes")
READING = ("derive", "derive_scale", "alpha", "pages", "max_pixels")
# What a test takes over from its run, besides the model's.
STORED = ("model", "direction", "dataset_mode", "crop_size", *DOMAINS, *READING)
# Decided by the model, or fixed.
TRAINING = ("augment", "augment_preset", "augment_color", "augment_file", "cache", "cache_limit", "cache_dir")
HIDDEN = (*DOMAINS, *TRAINING, "flip", "serial_batches", "max_dataset_size")
SUITABLE = ("batch_size", "num_threads")  # which the translation chooses unless they are given


class TestOptions(BaseOptions):
    """Options of a test: those of the model, its direction and its layout come from the run's checkpoint.

    A run folder of the reference implementation serves as well: its generator's architecture is read off the weights.
    """

    __test__ = False  # not a test case, whatever its name makes pytest think

    program = "test.py"
    description = "Translate images with a trained model, or generate images of classes."
    models = (*MODELS, "test")
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
    judges: JudgesConfig
    weights: Path | None = None  # a generator of the reference implementation, instead of a checkpoint
    opposite: bool = False  # whether a CycleGAN's other generator is asked for

    def sections(self) -> dict[str, type]:
        return {
            "run": RunConfig,
            "test": TestConfig,
            "acceleration": AccelerationConfig,
            "data": DataConfig,
            "card": CardConfig,
            "judges": JudgesConfig,
        }

    def shown_defaults(self) -> dict[str, str | None]:
        hidden = [*HIDDEN, *(field.name for field in dataclasses.fields(self.config_class))]
        words = {"load_size": "the crop_size"} | dict.fromkeys(SUITABLE, "what suits the network and the device")
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

    def stored(self) -> dict[str, Any]:
        values = self._peek(RunConfig, TestConfig, DataConfig)
        folder = Path(values["checkpoints_dir"]) / values["name"]
        weights = values["reference_weights"] or _reference_file(folder, values)
        if weights is not None:
            self.weights = Path(weights)
            return {}
        options = self._load_checkpoint(folder, values["epoch"], mapped=True)
        own = {field.name for field in dataclasses.fields(MODELS[options["model"]].Config)}
        return {name: value for name, value in options.items() if name in own.union(STORED)}

    @property
    def config_class(self) -> type:
        return MODELS.get(self.model_name, Pix2Pix).Config

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
            raise UserError("--truncation: this run translates images, and only a cgan draws noise to truncate")
        if {"load_size", "crop_size"} & set(self.given) and self.data.preprocess == "none":
            self.notice("sizes have no effect with --preprocess none, which keeps the images' own; see --preprocess")

    def _write_what_is_judged(self) -> None:
        if self.test.part:
            raise UserError(f"--metrics judges a whole folder: leave --part {self.test.part} out, or run i2i.evaluate")
        restores = self.model_name == "cyclegan" and {"auto", "cycle"} & set(self.card.metrics or ())
        if restores or self.test.pictures == "fake":
            self.test = dataclasses.replace(self.test, pictures="all" if restores else "real_fake")

    def assessment(self, translator: Translator, dataset: ImageDataset | None, folder: Path) -> Assessment | None:
        """What judges the pictures of this test in `folder`, where --metrics asks for it; `dataset` are its inputs.

        Raises:
            ValueError: if anything is missing that the metrics need.
        """
        if not self.card.metrics:
            return None
        trained_on = self.checkpoint["options"] if self.checkpoint is not None else None
        if dataset is None:
            material = of_generation(translator, self.test, self.data, trained_on)
        else:
            material = of_translation(dataset, self.data, trained_on)
        about = about_weights(self.weights or self.path, self.checkpoint, self.test.ema, self.data.phase)
        places = {"data": self.data.dataroot, "inputs": self.test.input}
        about["subject"] |= {name: place for name, place in places.items() if place}
        about |= {
            "title": f"{self.run.name}: {folder.name}",
            "options": {"test.py": self.as_dict()} | ({"train.py": trained_on} if trained_on else {}),
            "command": shlex.join(["python", "test.py", *self.argv]),
        }
        labels = Labels(target="fake") if dataset is None else self.labels
        return Assessment(translator, self.test, self.card, self.judges, material, labels, about)

    def _compare_direction(self, trained: str) -> None:
        self.opposite = self.data.direction != trained
        if self.opposite and self.model_name != "cyclegan":
            raise UserError(
                f"--direction {self.data.direction}: {self.path} is a {self.model_name} trained {trained}, "
                "and only a cyclegan has a generator for the other way; train another run"
            )

    def translator(self) -> Translator:
        """The model to translate with; sets what suits it of `data`."""
        translator = self._load_translator()
        batch_size, readers = suitable_batch_size(translator), suitable_readers(translator.device, self.test.processes)
        suitable: dict[str, Any] = dict(zip(SUITABLE, (batch_size, readers), strict=True))
        self.data = dataclasses.replace(self.data, **{k: v for k, v in suitable.items() if k not in self.given})
        return translator

    def _load_translator(self) -> Translator:
        common: dict[str, Any] = {
            "device": self.run.device,
            "seed": self.run.seed,
            "running_statistics": self.test.eval,
            "acceleration": self.acceleration,
        }
        if self.checkpoint is None:
            assert self.weights is not None  # a test has the one or the other
            norm = self.model.norm if "norm" in self.given else None
            return Translator.from_reference(self.weights, norm=norm, dropout=self.model.dropout, **common)
        model = load_model(self.checkpoint, as_dict(self.model), self.test.ema)
        averaged = self.test.ema and self.checkpoint["ema"] is not None
        return Translator(model, target="a" if self.opposite else "b", averaged=averaged, **common)

    def images(self, translator: Translator) -> DataConfig:
        """What to translate, read as the model takes it."""
        data = dataclasses.replace(self.data, max_dataset_size=self.test.num_test or self.data.max_dataset_size)
        spec = translator.model.spec
        if self.checkpoint is not None:
            data = data.swapped() if self.opposite else data
        elif spec.a:  # the reference's colorization
            data = dataclasses.replace(data, derive="colorization", in_channels=3, out_channels=3)
        else:
            data = dataclasses.replace(data, in_channels=spec.in_channels, out_channels=spec.out_channels)
        if self.test.input and data.conditions:
            raise UserError(
                "--input is one image, the run takes several: lay them out below --dataroot as for training"
            )
        if self.test.input:
            data = dataclasses.replace(data, dataroot=self.test.input, dataset_mode="single")
        return data

    def way_on(self) -> str:
        is_known = hasattr(self, "model_name") and not self.generates
        return "the same command with --skip_existing goes on" if is_known else ""

    def check_layout(self, dataset: ImageDataset) -> None:
        """Compare the files to translate with those of training: single images and pairs side by side are mixed up.

        Nothing is checked where --dataset_mode says how they are to be read, or the checkpoint does not tell.

        Raises:
            UserError: if they certainly are of another layout; a note is printed if they may be.
        """
        seen = self.checkpoint.get("data") if self.checkpoint is not None else None
        insists = "dataset_mode" in self.given and self.data.dataset_mode == dataset.config.dataset_mode
        if seen and not insists and (message := refuse_wrong_layout(dataset, seen, "b" if self.opposite else "a")):
            self.notice(message)

    def ways_out(self) -> str:
        ways = "a smaller one, --precision bf16, and smaller images (--preprocess scale_width --load_size 512)"
        return f"--batch_size {self.data.batch_size} was too much; {ways} all take less"

    @property
    def generates(self) -> bool:
        """Whether images come from labels, not from images."""
        return self.model_name == "cgan"

    @property
    def labels(self) -> Labels:
        """What the files of the input, the output and the truth are called."""
        if self.model_name == "test":
            return REFERENCE_LABELS
        return Labels("real_B", "fake_A", "real_A") if self.opposite else Labels("real_A", "fake_B", "real_B")

    @property
    def folder(self) -> Path:
        """Where the results go, unless others lie there already: see `i2i.results.results_folder`."""
        what = Path(self.test.input).resolve().name.replace(".", "_") if self.test.input else self.data.phase
        which = self.test.epoch if self.weights is None else self.weights.stem.split("_net_")[0]
        backwards = f"_{self.data.direction}" if self.opposite else ""
        end = f"_{which}{backwards}{self.test.suffix}"
        return Path(self.test.results_dir) / self.run.name / fitting(what, end)


@file_errors("--checkpoints_dir")
def _reference_file(folder: Path, values: Mapping[str, Any]) -> Path | None:
    """The generator's file in a run folder of the reference implementation; None for any other folder.

    Raises:
        ValueError: if it has no file of that epoch or suffix; names those that it has.
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
