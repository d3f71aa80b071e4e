"""Losses by name: GAN objectives as pairs, image distances as terms of formulas, regularizers, the replay pool."""

from i2i.losses.distance import DISTANCES, Distance, parse_formula
from i2i.losses.features import feature_matching
from i2i.losses.gan import GAN_OBJECTIVES, Objective, build_objective, keep_top
from i2i.losses.maps import Logits, flattened, maps_of, sum_over_maps
from i2i.losses.pool import ReplayPool
from i2i.losses.regularizers import check_one_size, gradient_penalty, r1_penalty

__all__ = [
    "DISTANCES",
    "GAN_OBJECTIVES",
    "Logits",
    "Distance",
    "Objective",
    "ReplayPool",
    "build_objective",
    "check_one_size",
    "feature_matching",
    "flattened",
    "gradient_penalty",
    "keep_top",
    "maps_of",
    "parse_formula",
    "r1_penalty",
    "sum_over_maps",
]
