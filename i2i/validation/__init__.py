"""Validation on images that training does not see."""

from i2i.validation.config import ValidationConfig
from i2i.validation.held_out import validation_data
from i2i.validation.selection import Selection
from i2i.validation.validator import Thumbnails, Validation, Validator, build_validator

__all__ = [
    "Selection",
    "Thumbnails",
    "Validation",
    "ValidationConfig",
    "Validator",
    "build_validator",
    "validation_data",
]
