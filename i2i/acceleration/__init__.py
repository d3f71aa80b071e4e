"""Acceleration: precision, memory layout, kernels and compiling, applied to networks from outside."""

from i2i.acceleration.apply import accelerate, autocast, eagerly, mark_step, uncompile
from i2i.acceleration.checkpointing import checkpoint_activations
from i2i.acceleration.choices import AccelerationConfig, Choices, Work, choose

__all__ = [
    "AccelerationConfig",
    "Choices",
    "Work",
    "accelerate",
    "autocast",
    "checkpoint_activations",
    "choose",
    "eagerly",
    "mark_step",
    "uncompile",
]
