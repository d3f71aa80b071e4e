"""Training: phases to weights, weights to checkpoints."""

from i2i.training.config import TrainConfig
from i2i.training.saving import Diverged
from i2i.training.trainer import Trainer

__all__ = ["Diverged", "TrainConfig", "Trainer"]
