"""Models: whose weights move on which losses."""

from typing import Any

from i2i.data.batch import DataSpec
from i2i.models.base import GanModel, Phase, Player
from i2i.models.cgan import CGAN
from i2i.models.cyclegan import CycleGAN
from i2i.models.pix2pix import Pix2Pix

MODELS: dict[str, type[GanModel]] = {
    "cgan": CGAN,
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
}

__all__ = ["CGAN", "MODELS", "CycleGAN", "GanModel", "Phase", "Pix2Pix", "Player", "build_model"]


def build_model(name: str, options: Any, spec: DataSpec) -> GanModel:
    """The model `name` with its `Config`, for data of `spec`.

    Raises:
        ValueError: if the options and the data do not fit together.
    """
    return MODELS[name](options, spec)
