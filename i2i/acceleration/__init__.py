"""Acceleration: the same mathematics faster, or faster still in lower precision, without a line of it in models."""

from i2i.acceleration.apply import accelerate, autocast, eagerly, mark_step, uncompile
from i2i.acceleration.choices import Choices, Work, choose
from i2i.acceleration.config import AccelerationConfig

__all__ = [
    "AccelerationConfig",
    "Choices",
    "Work",
    "accelerate",
    "autocast",
    "choose",
    "eagerly",
    "mark_step",
    "uncompile",
]
