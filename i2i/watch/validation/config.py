"""The options of validation."""

from __future__ import annotations

import dataclasses
import math

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.metrics import METRICS

TRAINED_ON = 50  # images between two validations for each that is translated: the cost is about a percent


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """On which images a model is validated while it trains, how often, and which checkpoint is called the best."""

    val_freq: int | None = option(
        None,
        f"images between validations; 0: none (default: whole epochs, {TRAINED_ON} images for each translated)",
    )
    val_phase: str | None = option(None, "part of the data to validate on (default: val, where there is such data)")
    val_fraction: float = option(0.0, "hold out such a share of the training images instead, chosen by --seed")
    val_size: int = option(50, "images validated on at most, and as many training images beside them")
    val_metrics: tuple[str, ...] | None = option(
        None, "metrics (default: what the data and the networks at hand allow)", choices=METRICS
    )
    best_metric: str | None = option(
        None,
        "metric by which a checkpoint is the best (default: lpips or l1 of pairs, miou of label maps, else kid)",
        choices=METRICS,
    )
    patience: int | None = option(None, "validations without a better --best_metric after which training stops")

    def __post_init__(self) -> None:
        check_range("val_freq", self.val_freq, 0)
        check_range("val_size", self.val_size, 1)
        check_range("patience", self.patience, 1)
        check_range("val_fraction", self.val_fraction, 0, 0.99)
        for name in self.val_metrics or ():
            check_choice("val_metrics", name, METRICS)
        if self.best_metric is not None:
            check_choice("best_metric", self.best_metric, METRICS)
            if self.val_metrics is not None:
                check_choice("best_metric", self.best_metric, self.val_metrics)
        if self.val_fraction and self.val_phase is not None:
            raise UserError(
                f"--val_phase {self.val_phase} and --val_fraction {self.val_fraction:g} both say what to validate on; "
                "give one of them"
            )
        if self.val_freq == 0 and (self.patience is not None or self.best_metric is not None):
            name = "patience" if self.patience is not None else "best_metric"
            raise UserError(f"--val_freq 0 validates nothing, --{name} goes by validations; leave one of them out")

    def frequency(self, validated: int, epoch: int) -> int | None:
        """Images between validations that translate `validated` images, where an epoch has `epoch`; None for none."""
        if self.val_freq is not None:
            return self.val_freq or None
        return math.ceil(TRAINED_ON * validated / epoch) * epoch
