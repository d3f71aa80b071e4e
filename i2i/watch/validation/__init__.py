"""Validation on images that are not trained on. Read config, data, accumulator, validator, observer, in this order."""

from i2i.watch.validation.best_checkpoint import BestCheckpoint
from i2i.watch.validation.config import ValidationConfig
from i2i.watch.validation.data import validation_data
from i2i.watch.validation.validator import Thumbnails, Validation, Validator, build_validator

Selection = BestCheckpoint  # its former name

__all__ = [
    "BestCheckpoint",
    "Selection",
    "Thumbnails",
    "Validation",
    "ValidationConfig",
    "Validator",
    "build_validator",
    "validation_data",
]
