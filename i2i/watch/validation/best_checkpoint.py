"""Keep track of the best validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

GAIN = 1e-4  # relative improvement that patience counts as one


class BestCheckpoint:
    """Compares validations by `metric`; NaN is never the best.

    `best` is the best value so far, after `best_images` training images. `since_best` counts the validations since one
    improved on `mark` by more than rounding.
    """

    def __init__(self, metric: str, higher_is_better: bool) -> None:
        self.metric, self.higher_is_better = metric, higher_is_better
        self.best: float | None = None
        self.mark: float | None = None
        self.best_images = self.count = self.since_best = self.size = 0
        self.figures: dict[str, float] = {}
        self.best_figures: dict[str, float] = {}

    def update(self, figures: Mapping[str, float], images: int, size: int) -> bool:
        """Take in a validation on `size` images after `images` training images; return True if it is the new best."""
        self.figures, self.size = dict(figures), size
        self.count += 1
        watched = self.watched(figures)
        is_best = watched < math.inf and (self.best is None or watched < self._less_is_better(self.best))
        if is_best:
            self.best, self.best_images, self.best_figures = figures[self.metric], images, dict(figures)
        is_better = is_best and (self.mark is None or watched < self.mark - GAIN * abs(self.mark))
        self.mark = watched if is_better else self.mark
        self.since_best = 0 if is_better else self.since_best + 1
        return is_best

    def watched(self, figures: Mapping[str, float]) -> float:
        """Return the value of the metric, negated if higher is better; infinite if it is missing or NaN."""
        value = figures.get(self.metric, math.nan)
        return math.inf if math.isnan(value) else self._less_is_better(value)

    def exhausted(self, patience: int | None) -> bool:
        """Return True after `patience` validations in a row without improvement."""
        return patience is not None and self.since_best >= patience

    def __str__(self) -> str:
        if self.best is None:
            return f"none of {self.count} validations gave a {self.metric}"
        idle = f"{self.since_best} validation{'s' * (self.since_best != 1)}"
        return f"the best {self.metric}, {self.best:.4g}, was after {self.best_images:,} images; {idle} brought no gain"

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        vars(self).update({name: state[name] for name in vars(self)})

    def _less_is_better(self, value: float) -> float:
        return -value if self.higher_is_better else value
