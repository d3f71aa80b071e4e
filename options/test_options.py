"""The options of test.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.config import as_dict, tokens_from
from i2i.data import DataConfig
from i2i.models import MODELS
from i2i.models.pix2pix import Pix2Pix
from i2i.run import checkpoint_path
from i2i.training import checkpoint
from i2i.translation import Labels, TestConfig
from i2i.translator import Translator, load_model
from options.base_options import BaseOptions

STORED = ("direction", "dataset_mode", "crop_size")  # what a test takes over from its run, besides the model


class TestOptions(BaseOptions):
    """Options of a test: those of the model, its direction and its layout come from the run's checkpoint.

    A run folder of the reference implementation serves as well: its generator's architecture is read off the weights.
    """

    __test__ = False  # not a test case, whatever its name makes pytest think

    program = "test.py"
    description = "Translate images with a trained model, or generate images of classes."
    models = (*MODELS, "test")
    defaults = {"phase": "test", "preprocess": "none", "flip": False, "serial_batches": True, "batch_size": 8}
    test: TestConfig

    def sections(self) -> dict[str, type]:
        return super().sections() | {"test": TestConfig}

    def stored(self, tokens: list[str]) -> list[str]:
        self.weights = self._peek(tokens, "--reference_weights")
        self.checkpoint: dict[str, Any] | None = None
        self.opposite = False
        if self.weights is not None or {"-h", "--help"} & set(tokens):
            return self._sizes(tokens)
        folder = Path(self._peek(tokens, "--checkpoints_dir", default="./checkpoints"))
        folder /= self._peek(tokens, "--name", default="experiment_name")
        epoch = self._peek(tokens, "--epoch", default="latest")
        self.weights = self._reference_file(folder, epoch, tokens)
        if self.weights is not None:
            return self._sizes(tokens)
        self.path = checkpoint_path(folder, epoch)
        self.checkpoint = checkpoint.load(self.path)
        options = self.checkpoint["options"]
        own = {field.name for field in dataclasses.fields(MODELS[options["model"]].Config)} | set(STORED)
        self._direction(options, tokens)
        kept = {name: value for name, value in options.items() if name in own}
        return ["--model", options["model"], *tokens_from(kept | {"load_size": options["crop_size"]})]

    def _sizes(self, tokens: list[str]) -> list[str]:
        crop = self._peek(tokens, "--crop_size", nargs="+") or ["256"]
        return ["--load_size", *crop]

    def _direction(self, options: Mapping[str, Any], tokens: list[str]) -> None:
        given = self._peek(tokens, "--direction", default=options["direction"])
        self.opposite = given != options["direction"]
        if self.opposite and options["model"] != "cyclegan":
            raise ValueError(
                f"--direction {given}: {self.path.parent} is a {options['model']} trained {options['direction']}, "
                "and only a cyclegan has a generator for the other way; train another run"
            )

    def _reference_file(self, folder: Path, epoch: str, tokens: list[str]) -> str | None:
        """The generator's file in a run folder of the reference; None where that holds no such files or ours too."""
        iteration = int(self._peek(tokens, "--load_iter", default="0"))
        label = f"iter_{iteration}" if iteration else epoch
        there = sorted(path.name for path in folder.glob(f"{label}_net_G*.pth"))
        if not there or (folder / "latest.pt").is_file():
            return None
        suffix = self._peek(tokens, "--model_suffix", default="")
        if f"{label}_net_G{suffix}.pth" not in there and not suffix:
            suffix = "_B" if self._peek(tokens, "--direction", default="AtoB") == "BtoA" else "_A"
        if f"{label}_net_G{suffix}.pth" not in there:
            raise ValueError(f"{folder / f'{label}_net_G{suffix}.pth'} does not exist; there are: {', '.join(there)}")
        self.opposite = suffix == "_B"
        return str(folder / f"{label}_net_G{suffix}.pth")

    def _chosen_model(self, tokens: list[str]) -> str:
        given = super()._chosen_model(tokens)
        if self.checkpoint is None:
            return given
        model = self.checkpoint["options"]["model"]
        if given not in (model, "test"):
            raise ValueError(f"--model {given}: {self.path} is a {model}; leave --model out")
        return model

    @property
    def config_class(self) -> type:
        return MODELS[self.model_name].Config if self.model_name in MODELS else Pix2Pix.Config

    def model_defaults(self) -> Mapping[str, Any]:
        return MODELS[self.model_name].defaults if self.model_name in MODELS else {"dataset_mode": "single"}

    def _parse(self, given: list[str]) -> None:
        super()._parse(given)
        sized = self._peek(given, "--load_size", nargs="+") or self._peek(given, "--crop_size", nargs="+")
        if sized and self.data.preprocess == "none":
            self.notice("sizes have no effect with --preprocess none, which keeps the images' own; see --preprocess")
        self._given_norm = self._peek(given, "--norm")

    def translator(self) -> Translator:
        """The model to translate with, on its device."""
        common: dict[str, Any] = {
            "device": self.run.device,
            "seed": self.run.seed,
            "running_statistics": self.test.eval,
        }
        if self.checkpoint is None:
            dropout = self.model.dropout
            return Translator.from_reference(self.weights, norm=self._given_norm, dropout=dropout, **common)
        model = load_model(self.checkpoint, as_dict(self.model), self.test.ema)
        return Translator(model, target="a" if self.opposite else "b", **common)

    def images(self, translator: Translator) -> DataConfig:
        """What to translate, with the channels that the model takes."""
        ends = (translator.model.spec.in_channels, translator.model.spec.out_channels)
        first, second = ends if translator.target == "b" else ends[::-1]
        return dataclasses.replace(
            self.data,
            dataroot=self.test.input or self.data.dataroot,
            dataset_mode="single" if self.test.input else self.data.dataset_mode,
            max_dataset_size=self.test.num_test or self.data.max_dataset_size,
            in_channels=first,
            out_channels=second,
        )

    @property
    def labels(self) -> Labels:
        """What the files of the input, the output and the truth are called."""
        if self.model_name == "test":
            return Labels("real", "fake", "truth")
        return Labels("real_B", "fake_A", "real_A") if self.opposite else Labels("real_A", "fake_B", "real_B")

    @property
    def folder(self) -> Path:
        """Where the results go."""
        phase = Path(self.test.input).stem if self.test.input else self.data.phase
        which = self.test.epoch if self.checkpoint is not None else Path(self.weights).stem.split("_net_")[0]
        return Path(self.test.results_dir) / self.run.name / f"{phase}_{which}"
