"""Losses by name: GAN objectives as pairs, image distances as terms of formulas, regularizers, the replay pool."""

from .distance import DISTANCES, Distance, parse_formula
from .gan import GAN_OBJECTIVES, Objective
from .pool import ReplayPool
from .regularizers import gradient_penalty

__all__ = [
    "DISTANCES",
    "GAN_OBJECTIVES",
    "Distance",
    "Objective",
    "ReplayPool",
    "gradient_penalty",
    "parse_formula",
]
