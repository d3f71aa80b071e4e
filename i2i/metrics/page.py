"""A card, or several beside each other, as one HTML file that needs no other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from i2i.metrics import comparison
from i2i.metrics.card import Card, Figure, write_whole
from i2i.metrics.judging import Score

if TYPE_CHECKING:
    from jinja2 import Environment


class Row(NamedTuple):
    """A score, and where it and its interval lie, in percent from the worst of a figure's numbers to the best."""

    name: str
    score: Score
    place: float | None  # None where there is nothing to compare it with, or it is infinite
    low: float
    high: float


def save_page(cards: Sequence[Card], path: Path) -> None:
    """Write the page, never seen half written."""
    template, values = ("card.html", {"card": cards[0]}) if len(cards) == 1 else ("comparison.html", {"cards": cards})
    page = _environment().get_template(template)
    write_whole(path, page.render(values, comparison=comparison, scale=scale))


def scale(figure: Figure) -> list[Row]:
    """A figure's score among those of its baselines, the best first."""
    scores = {"generated": figure.score, **figure.baselines}
    ends = {name: _ends(score) for name, score in scores.items() if all(map(math.isfinite, _ends(score)))}
    sign = 1 if figure.metric.higher_is_better else -1
    numbers = [sign * number for triple in ends.values() for number in triple]
    worst, spread = min(numbers, default=0), max(numbers, default=0) - min(numbers, default=0)

    def row(name: str) -> Row:
        if name not in ends or spread == 0:
            return Row(name, scores[name], None, 0, 0)
        place, *interval = (100 * (sign * number - worst) / spread for number in ends[name])
        return Row(name, scores[name], place, min(interval), max(interval))

    return sorted(map(row, scores), key=lambda row: (math.isnan(row.score.value), -sign * row.score.value))


def _ends(score: Score) -> tuple[float, float, float]:
    low, high = (score.value if end is None else end for end in (score.low, score.high))
    return score.value, low, high


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("i2i.metrics"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
