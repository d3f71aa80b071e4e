"""The options of train.py."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from i2i.acceleration import AccelerationConfig, Choices, Work, choose
from i2i.config import OptionParser
from i2i.data import DataSpec, ImageDataset
from i2i.errors import UserError, file_errors
from i2i.metrics.config import JudgesConfig
from i2i.models import MODELS, GanModel, build_model
from i2i.records import replace_text
from i2i.run import RunConfig, checkpoint_path, resolve_device, saved_epochs, seed_everything
from i2i.training import Diverged, TrainConfig, Trainer, checkpoint
from i2i.training.memory import announce_memory
from i2i.watch.boards.options import VisualsConfig
from i2i.watch.validation import ValidationConfig, Validator, build_validator, validation_data
from options.base_options import BaseOptions
from options.run_record import run_record

NOT_STORED = ("continue_train", "overwrite", "keep_memory")
LOCK_SECONDS = 10  # the workers of a killed process hold its lock a few seconds longer
PLACE = ("name", "checkpoints_dir")  # of a run: where it is found now, wherever it was made


class TrainOptions(BaseOptions):
    """Options of a training run; `--continue_train` puts those of its checkpoint ahead of the given ones."""

    program = "train.py"
    description = "Train a model on a folder of images."
    train: TrainConfig
    validation: ValidationConfig
    judges: JudgesConfig
    acceleration: AccelerationConfig
    visuals: VisualsConfig

    def sections(self) -> dict[str, type]:
        own = {"train": TrainConfig, "validation": ValidationConfig, "judges": JudgesConfig}
        return super().sections() | own | {"acceleration": AccelerationConfig, "visuals": VisualsConfig}

    def add_commands(self, parser: OptionParser) -> None:
        super().add_commands(parser)
        parser.add_argument(
            "--epoch", metavar="N", help="checkpoint that --continue_train goes on from (default: latest)"
        )

    def stored(self) -> dict[str, Any]:
        values = self._peek(RunConfig, TrainConfig)
        if not values["continue_train"]:
            return {}
        folder = Path(values["checkpoints_dir"]) / values["name"]
        options = self._load_checkpoint(folder, values.get("epoch", "latest"))
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
        layouts = MODELS[self.model_name].layouts
        if self.data.dataset_mode not in layouts:
            learns = " or ".join(layouts)
            raise UserError(f"--dataset_mode {self.data.dataset_mode}: {self.model_name} learns from {learns} data")

    def one_line(self, work: Callable[[], Any]) -> Any:
        def finished() -> Any:
            try:
                return work()
            except Diverged as error:
                self.fail(str(error), code=1)

        return super().one_line(finished)

    def way_on(self) -> str:
        has_saved = hasattr(self, "run") and (self.run.folder / "latest.pt").is_file()
        return f"go on with: {self.resume_command}" if has_saved else ""

    @file_errors("--checkpoints_dir")
    def prepare_folder(self) -> Path:
        """Make the run's folder this process's own, or refuse; `options.yaml` there says how the run is made. Gives it.

        Checkpoints that are not gone on from are put aside: those of a run that is overwritten until the new one has
        saved, those behind an earlier epoch for good.

        Raises:
            ValueError: if another process trains there, it cannot be written, or the folder holds a run, and neither
                continue_train nor overwrite says what to do about it.
        """
        folder = self.run.folder
        if saved_epochs(folder) and not (self.train.continue_train or self.train.overwrite):
            raise UserError(
                f"{folder} holds a run already; go on with it by --continue_train, delete it by --overwrite, or give "
                "another --name"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(folder / ".lock")
        try:
            self.lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise UserError(f"another process is training in {folder}; stop it, or give another --name") from None
        self._put_aside(folder)
        text = yaml.safe_dump(self.saved(), sort_keys=False)
        replace_text(folder / "options.yaml", text)
        return folder

    def _put_aside(self, folder: Path) -> None:
        held = [checkpoint_path(folder, name) for name in saved_epochs(folder)]
        if not self.train.continue_train:
            newer, suffix = held, "replaced"
        elif self.path.name == "latest.pt":
            newer = []
        else:
            newer, suffix = [path for path in held if _images(path) > _images(self.path)], "aside"
        for path in newer:
            aside, number = path.with_name(f"{path.name}.{suffix}"), 2
            while suffix == "aside" and aside.exists():
                aside, number = path.with_name(f"{path.name}.{suffix}{number}"), number + 1
            path.replace(aside)
        if newer and self.train.continue_train:
            self.notice(f"what {folder} holds beyond {self.path.name} is put aside as *.aside")

    def saved(self) -> dict[str, Any]:
        """The options that belong to the run, not to this start of it: what options.yaml and checkpoints hold."""
        return {name: value for name, value in self.as_dict().items() if name not in NOT_STORED}

    def seeded_device(self) -> torch.device:
        """The device, where everything random is seeded from here on.

        Raises:
            ValueError: if this machine has no such device.
        """
        seed_everything(self.run.seed, self.train.deterministic)
        return resolve_device(self.run.device)

    def datasets(self, device: torch.device) -> tuple[ImageDataset, Validator | None]:
        """What is trained on, and what validates it on images that are held out, if there are any.

        Raises:
            ValueError: if there is no data, or what is asked for as validation cannot be had.
        """
        data = self.data.for_device(device.type)
        dataset, held_out = validation_data(self.validation, data, self.run.seed)
        targets = MODELS[self.model_name].targets
        return dataset, build_validator(self.validation, self.judges, held_out, dataset, targets, device)

    def built_model(self, spec: DataSpec, device: torch.device) -> GanModel:
        """The model for data of `spec`, its weights drawn unless they come from the checkpoint.

        Raises:
            ValueError: if the options do not go with the data, or weights that it learns by are missing.
        """
        model = build_model(self.model_name, self.model, spec, drawn=self.checkpoint is None).to(device)
        model.load_networks(self.judges.lpips_net, self.judges.lpips_weights, device)
        return model

    def resume(self, trainer: Trainer) -> int | None:
        """Go on from the checkpoint, if there is one; gives the images that it has seen."""
        if self.checkpoint is None:
            return None
        trainer.load_state_dict(self.checkpoint)
        self.checkpoint = None
        return trainer.images

    def choices(self, model: GanModel, images: int, device: torch.device) -> Choices:
        """How to train on `images` images an epoch.

        Raises:
            ValueError: for what the device or this machine cannot do.
        """
        size = self.data.crop_size if "crop" in self.data.preprocess else None
        checkpointed = self.train.checkpoint_activations
        work = Work(True, images * self.train.epochs, self.data.batch_size, size, checkpointed)
        networks = [network for player in model.players.values() for network in player.modules]
        return choose(self.acceleration, device, work, networks)

    def announce(self, trainer: Trainer) -> None:
        """A few lines on what is about to be trained, how, and where its results will be."""
        device = trainer.stream.device
        if self.run.verbose:
            print(trainer.model)
        for name, player in trainer.model.players.items():
            print(f"{name}: {sum(p.numel() for p in player.parameters()) / 1e6:.3f} M parameters")
        fused = "on" if self.train.fuses_adam(device) else "off"
        why = "auto: one pass over the weights" if self.train.fused_adam == "auto" else "by option"
        print(*trainer.acceleration.lines(), f"fused_adam {fused} ({why})", sep="\n")
        if self.train.checkpoint_activations:
            print("checkpoint_activations on (by option)")
        epochs = f"{self.train.epochs} epochs of {len(trainer.stream)} images"
        if line := trainer.monitor.plan():
            print(line)
        print(f"{self.model_name} on {device}, {epochs}, into {self.run.folder}, see report.html there", flush=True)
        announce_memory(trainer)

    @file_errors("--checkpoints_dir")
    def record(self, trainer: Trainer) -> None:
        """Write down in run.json how the run came about, for the report."""
        replace_text(self.run.folder / "run.json", json.dumps(run_record(self, trainer), indent=1) + "\n")

    def ways_out(self) -> str:
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
        return f"a batch of {self.data.batch_size} was too much; less is taken with {helping}; {saved}"

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        words = ["--name", self.run.name]
        if self.run.checkpoints_dir != RunConfig().checkpoints_dir:
            words += ["--checkpoints_dir", self.run.checkpoints_dir]
        program = sys.argv[0] if sys.argv[0].endswith("train.py") else "train.py"
        return shlex.join(["python", program, *words, "--continue_train"])


def _images(path: Path) -> float:
    """Images that a checkpoint has seen; infinite for a damaged one."""
    try:
        return checkpoint.load(path, mapped=True)["images"]
    except UserError:
        return math.inf
