"""Overfitting: metrics that get worse on held-out images while they get better on those of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from i2i.metrics import METRICS
from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign

APART = 0.05  # share of a value, both for better and for worse; on the same images it wavers by half of that
LEAST = 0.2  # of which a share is taken, of similarities and accuracies: near 0 they waver by more


class Best(NamedTuple):
    """The validation that a metric was best at."""

    held_out: float
    training: float


class GapWatch:
    """Remembers each metric's best validation, to see it get worse on held-out images and better on training images."""

    def __init__(self) -> None:
        self._best: dict[str, Best] = {}

    def look(
        self, figures: Mapping[str, float], train_figures: Mapping[str, float]
    ) -> tuple[list[Sign], dict[str, float]]:
        """One sign over all metrics, and their gaps for the log: how much better they are on training images."""
        both = [name for name in figures if name in train_figures and name in METRICS]
        names = [name for name in both if math.isfinite(figures[name] + train_figures[name])]
        parted = [name for name in names if self._has_parted(name, figures[name], train_figures[name])]
        signs = [self._sign(parted, figures, train_figures)] if names else []
        gaps = {f"gap_{name}": _gain(name, figures[name], train_figures[name]) for name in names}
        return signs, gaps

    def _has_parted(self, name: str, held_out: float, training: float) -> bool:
        best = self._best.get(name)
        if best is None or _gain(name, best.held_out, held_out) > 0:
            self._best[name] = Best(held_out, training)
            return False
        worse = _gain(name, held_out, best.held_out) > _margin(name, best.held_out)
        return worse and _gain(name, best.training, training) > _margin(name, best.training)

    def _sign(self, parted: list[str], figures: Mapping[str, float], train_figures: Mapping[str, float]) -> Sign:
        shown = [
            f"{METRICS[name].title} {figures[name]:.4g} after {self._best[name].held_out:.4g} at its best, on training "
            f"images {train_figures[name]:.4g}"
            for name in parted
        ]
        gap = _gain(parted[0], figures[parted[0]], train_figures[parted[0]]) if parted else 0.0
        message = (
            f"The model overfits: held-out images get worse while training images get better ({'; '.join(shown)})."
        )
        advice = (
            "Use the best checkpoint (--epoch best) and stop earlier (--patience, or fewer --n_epochs); more images, "
            "--augment_preset or --dropout, or fewer --generator_filters help a new run."
        )
        return Sign("", bool(parted), Finding("overfitting", "warning", gap, message, advice))

    def state_dict(self) -> dict[str, Any]:
        """The best validations as plain values."""
        return {name: list(best) for name, best in self._best.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._best = {name: Best(*values) for name, values in state.items()}


def _margin(name: str, value: float) -> float:
    return APART * max(abs(value), LEAST if METRICS[name].higher_is_better else 0.0)


def _gain(name: str, value: float, other: float) -> float:
    """By how much `other` is better than `value`."""
    return other - value if METRICS[name].higher_is_better else value - other
