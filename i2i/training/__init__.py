"""Training: a loop over a model's phases, players that move weights, checkpoints, and the observer protocol."""

from i2i.training.config import TrainConfig
from i2i.training.nonfinite import Diverged
from i2i.training.observer import Finding, LossReport, Observation, Observer, Progress, RunView
from i2i.training.trainer import Trainer

__all__ = [
    "Diverged",
    "Finding",
    "LossReport",
    "Observation",
    "Observer",
    "Progress",
    "RunView",
    "TrainConfig",
    "Trainer",
]
