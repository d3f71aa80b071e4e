"""Validation on images that training does not see."""

from i2i.watch.validation.config import ValidationConfig
from i2i.watch.validation.held_out import validation_data
from i2i.watch.validation.selection import Selection
from i2i.watch.validation.validator import Thumbnails, Validation, Validator, build_validator

__all__ = [
    "Selection",
    "Thumbnails",
    "Validation",
    "ValidationConfig",
    "Validator",
    "build_validator",
    "validation_data",
]
