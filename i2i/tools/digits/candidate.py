"""A checkpoint that is judged, and the images that it generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from i2i.acceleration import Work
from i2i.data.images.sheets import to_uint8
from i2i.errors import UserError
from i2i.models import MODELS
from i2i.models.base import GanModel
from i2i.progress import shown
from i2i.run import checkpoint_path
from i2i.tools.digits.labelled import Labelled
from i2i.tools.digits.real_data import RealData
from i2i.training import checkpoint
from i2i.translate.translator import Translator, load_model

AT_ONCE = 500  # images


class Candidate:
    """A checkpoint of a cgan run, conditional or not.

    Raises:
        ValueError: if there is none, or it is of another model, or of other images than those of `real_data`.
    """

    def __init__(
        self, run: Path, epoch: str, real_data: RealData, truncation: float | None = None, device: str = "auto"
    ) -> None:
        state = read_checkpoint(run, epoch)
        model = load_model(state)
        self.epoch, self.step, self.truncation = epoch, int(state["step"]), truncation
        self.conditional = model.num_classes > 0
        _check_fit(run, model, real_data)
        self.num_classes = len(real_data.real.classes)
        self.translator = Translator(model, device)

    def generate(self, count: int, seed: int) -> Labelled:
        """`count` images; image i is of class i modulo the number of classes, and has the seed `seed + i`."""
        labels = torch.arange(count) % self.num_classes
        self.translator.inference.prepare(Work(False, count, AT_ONCE, self.translator.model.spec.image_size))
        batches = shown(labels.split(AT_ONCE), "batch", f"generating, epoch {self.epoch}")
        images = [
            to_uint8(self.translator.generate(batch, seed + number * AT_ONCE, self.truncation)).cpu()
            for number, batch in enumerate(batches)
        ]
        return Labelled(torch.cat(images), labels)


def read_checkpoint(run: Path, epoch: str) -> dict[str, Any]:
    """The state in the checkpoint of a cgan run.

    Raises:
        ValueError: if there is none, or it is of another model.
    """
    path = checkpoint_path(run, epoch)
    state = checkpoint.load(path, mapped=True)
    if not MODELS[name := state["options"]["model"]].generates:
        raise UserError(f"{path} is a {name}: what a cgan generates is judged, nothing else")
    return state


def _check_fit(run: Path, model: GanModel, real_data: RealData) -> None:
    made = (model.spec.out_channels, *model.spec.image_size[::-1])
    real = tuple(real_data.real.train.images.shape[1:])
    if made != real:
        own, others = "x".join(map(str, made)), "x".join(map(str, real))
        raise UserError(f"{run} makes images of {own} (channels, height, width), the real ones are read as {others}")
    if model.num_classes and model.spec.classes != real_data.real.classes:
        own, others = ", ".join(model.spec.classes), ", ".join(real_data.real.classes)
        raise UserError(f"{run} was trained on the classes {own}; --dataroot {real_data.dataroot} has {others}")
