"""The options of train.py."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
import yaml

from i2i.config import tokens_from
from i2i.models import GanModel
from i2i.run import checkpoint_path, saved_epochs
from i2i.training import TrainConfig, checkpoint
from i2i.visuals.options import VisualsConfig
from options.base_options import BaseOptions

NOT_STORED = ("continue_train", "overwrite")


class TrainOptions(BaseOptions):
    """Options of a training run; `--continue_train` puts those of its checkpoint ahead of the given ones."""

    program = "train.py"
    description = "Train a model on a folder of images."
    train: TrainConfig
    visuals: VisualsConfig
    checkpoint: dict[str, Any] | None = None

    def sections(self) -> dict[str, type]:
        return super().sections() | {"train": TrainConfig, "visuals": VisualsConfig}

    def stored(self, tokens: list[str]) -> list[str]:
        if not self._peek(tokens, "--continue_train", action="store_true") or {"-h", "--help"} & set(tokens):
            return []
        folder = Path(self._peek(tokens, "--checkpoints_dir", default="./checkpoints"))
        self.path = checkpoint_path(folder / self._peek(tokens, "--name", default="experiment_name"), "latest")
        self.checkpoint = checkpoint.load(self.path)
        options = self.checkpoint["options"]
        model = self._chosen_model(["--model", options["model"], *tokens])
        if model != options["model"]:
            raise ValueError(f"--model {model}: {self.path} is a {options['model']}; leave --model out")
        return tokens_from({name: value for name, value in options.items() if name not in NOT_STORED})

    def prepare_folder(self) -> None:
        """Make the run's folder, or refuse one that holds a run; `options.yaml` there says how it was made.

        Raises:
            ValueError: if the folder holds a run, and neither continue_train nor overwrite says what to do about it.
            OSError: if it cannot be written.
        """
        folder = self.run.folder
        held = saved_epochs(folder)
        if held and not (self.train.continue_train or self.train.overwrite):
            raise ValueError(
                f"{folder} holds a run already; go on with it by --continue_train, delete it by --overwrite, or give "
                "another --name"
            )
        folder.mkdir(parents=True, exist_ok=True)
        if not self.train.continue_train:
            for name in held:
                (folder / ("latest.pt" if name == "latest" else f"epoch_{name}.pt")).unlink()
        values = {name: value for name, value in self.as_dict().items() if name not in NOT_STORED}
        (folder / "options.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def announce(self, model: GanModel, images: int, device: torch.device) -> None:
        """A few lines on what is about to be trained, and where its results will be."""
        if self.run.verbose:
            print(model)
        for name, player in model.players.items():
            print(f"{name}: {sum(p.numel() for p in player.parameters()) / 1e6:.3f} M parameters")
        epochs = f"{self.train.epochs} epochs of {images} images"
        print(f"{self.model_name} on {device}, {epochs}, into {self.run.folder}", flush=True)

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        words = ["--name", self.run.name]
        if self.run.checkpoints_dir != RUNS:
            words += ["--checkpoints_dir", self.run.checkpoints_dir]
        return shlex.join(["python", "train.py", *words, "--continue_train"])


RUNS = "./checkpoints"
