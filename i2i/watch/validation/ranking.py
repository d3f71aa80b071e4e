"""The images on which a validation does best and worst."""

from __future__ import annotations

import math
from collections.abc import Iterable

from i2i.metrics import METRICS
from i2i.watch.boards.board import Example

SHOWN = 4  # at either end


class Ranking:
    """Ranks examples by their figure of `metric` as they come, and keeps those at both ends; `None` keeps none."""

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self._ranked: list[Example] = []

    def add(self, examples: Iterable[Example]) -> None:
        """Rank some more."""
        ranked = sorted([*self._ranked, *examples], key=self._badness)
        self._ranked = ranked if len(ranked) <= 2 * SHOWN else ranked[:SHOWN] + ranked[-SHOWN:]

    @property
    def best(self) -> list[Example]:
        """At most four, the best first."""
        return self._ranked[: self._half]

    @property
    def worst(self) -> list[Example]:
        """At most four others, the worst first."""
        return self._ranked[: self._half - 1 : -1][:SHOWN] if self._ranked else []

    @property
    def _half(self) -> int:
        return (len(self._ranked) + 1) // 2

    def _badness(self, example: Example) -> float:
        assert self.metric is not None
        value = example.figures[self.metric]
        if math.isnan(value):
            return math.inf
        return -value if METRICS[self.metric].higher_is_better else value
