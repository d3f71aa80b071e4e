"""Models by name: each says which player's weights move on which losses. A new one is a file and a line here."""

from contextlib import nullcontext
from typing import Any

from i2i.data.batch import DataSpec
from i2i.models.base import GanModel, Phase, Player
from i2i.models.cgan import CGAN
from i2i.models.cyclegan import CycleGAN
from i2i.models.pix2pix import Pix2Pix
from i2i.random_state import SkipInit

MODELS: dict[str, type[GanModel]] = {
    "cgan": CGAN,
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
}

__all__ = ["CGAN", "MODELS", "CycleGAN", "GanModel", "Phase", "Pix2Pix", "Player", "build_model"]


def build_model(name: str, options: Any, spec: DataSpec, *, drawn: bool = True) -> GanModel:
    """Build the model `name` with its `Config`, for data of `spec`.

    Unless `drawn`, weights are left uninitialised, to be loaded from a checkpoint.

    Raises:
        UserError: if options and data do not fit together.
    """
    with nullcontext() if drawn else SkipInit():
        return MODELS[name](options, spec)
