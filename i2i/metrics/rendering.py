"""Render metrics cards as text for a terminal or as an HTML page: one card, or several side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from i2i.atomic import replace_text
from i2i.metrics.card import Card, MetricResult
from i2i.metrics.evaluation_protocol import IMMATERIAL
from i2i.metrics.suite import Score

if TYPE_CHECKING:
    from jinja2 import Environment


def card_text(card: Card) -> str:
    """Return the most important content of a card as a table."""
    names = list(card.baselines)
    rows = [["", "better", "generated", *names]]
    for result in card.figures:
        beside = [shown(result.baselines[name]) if name in result.baselines else "-" for name in names]
        rows.append([result.metric.title, better(result), with_interval(result.score), *beside])
    subject = [f"{name}: {text}" for name, text in card.subject.items()]
    counts = f"{card.protocol['generated images']} generated and {card.protocol['real images']} real images"
    counts += ", paired by name" if card.protocol["pairs"] != "none" else ""
    baselines = [f"{name}: {text}" for name, text in card.baselines.items()]
    warnings = [f"warning: {text}" for text in card.warnings]
    return "\n".join([card.title, *subject, counts, "", *_aligned(rows), "", *baselines, *warnings])


def comparison_text(cards: Sequence[Card]) -> str:
    """Return the scores of several cards as one table, with a warning for each difference of protocol."""
    rows = [["", "better", *titles(cards)]]
    for results in by_metric(cards).values():
        first = next(result for result in results if result is not None)
        scores = [with_interval(result.score) if result else "-" for result in results]
        rows.append([first.metric.title, better(first), *scores])
    return "\n".join([*_aligned(rows), *(f"warning: {text}" for text in differences(cards))])


def titles(cards: Sequence[Card]) -> list[str]:
    """Return the titles of cards, numbered where they are not unique."""
    names = [card.title for card in cards]
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]


def by_metric(cards: Sequence[Card]) -> dict[str, list[MetricResult | None]]:
    """Return the result of each card, or None, for every metric of any card."""
    found = [{result.name: result for result in card.figures} for card in cards]
    names = dict.fromkeys(name for results in found for name in results)
    return {name: [results.get(name) for results in found] for name in names}


def best(results: Sequence[MetricResult | None]) -> int | None:
    """Return the index of the best result; None if all are equal."""
    scored = [(result.score.value, number) for number, result in enumerate(results) if result is not None]
    if len({value for value, _ in scored}) < 2:
        return None
    higher = next(result.metric.higher_is_better for result in results if result is not None)
    return (max if higher else min)(scored)[1]


def differences(cards: Sequence[Card]) -> list[str]:
    """Return a line for each entry of the protocol in which cards differ that share a metric."""
    names = dict.fromkeys(name for card in cards for name in card.protocol if name not in IMMATERIAL)
    lines = []
    for name in names:
        apart = _differing(cards, name)
        values = [
            f"{title}: {card.protocol[name]}" for title, card in zip(titles(cards), cards, strict=True) if card in apart
        ]
        if apart:
            lines.append(f"the protocols differ in {name}: {'; '.join(values)}")
    return lines


def _differing(cards: Sequence[Card], name: str) -> list[Card]:
    """Return the cards that share a metric with a card whose protocol has another value of `name`."""
    # An entry that only some cards have, such as a network, belongs to metrics that the others lack.
    having = [card for card in cards if name in card.protocol]
    metrics = {id(card): {result.name for result in card.figures} for card in having}
    apart = [
        pair
        for pair in combinations(having, 2)
        if pair[0].protocol[name] != pair[1].protocol[name] and metrics[id(pair[0])] & metrics[id(pair[1])]
    ]
    return [card for pair in apart for card in pair]


def better(result: MetricResult) -> str:
    """Return "higher" or "lower", whichever is better."""
    return "higher" if result.metric.higher_is_better else "lower"


def arrow(result: MetricResult) -> str:
    """Return an arrow in the direction that is better, for pages; not every terminal can show it."""
    return "↑" if result.metric.higher_is_better else "↓"


def shown(score: Score) -> str:
    """Return the value with four digits."""
    return f"{score.value:.4g}"


def interval(score: Score) -> str:
    """Return the interval in brackets; an empty string if there is none."""
    return "" if score.low is None or score.high is None else f"[{score.low:.4g}, {score.high:.4g}]"


def with_interval(score: Score) -> str:
    """Return the value and its interval."""
    return f"{shown(score)} {interval(score)}".rstrip()


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


class ScaleRow(NamedTuple):
    """A score, and the places of its value and interval, in percent from the worst to the best of a metric's numbers.

    `place` is None if there is nothing to compare with, or the value is infinite.
    """

    name: str
    score: Score
    place: float | None
    low: float
    high: float


def save_page(cards: Sequence[Card], path: Path) -> None:
    """Write one card, or several side by side, as one self-contained HTML file."""
    template, values = ("card.html", {"card": cards[0]}) if len(cards) == 1 else ("comparison.html", {"cards": cards})
    page = _environment().get_template(template)
    replace_text(path, page.render(values))


def scale(result: MetricResult) -> list[ScaleRow]:
    """Return the score and those of the baselines, sorted from best to worst."""
    scores = {"generated": result.score, **result.baselines}
    ends = {name: _ends(score) for name, score in scores.items() if all(map(math.isfinite, _ends(score)))}
    sign = 1 if result.metric.higher_is_better else -1
    numbers = [sign * number for triple in ends.values() for number in triple]
    worst, spread = min(numbers, default=0), max(numbers, default=0) - min(numbers, default=0)

    def row(name: str) -> ScaleRow:
        if name not in ends or spread == 0:
            return ScaleRow(name, scores[name], None, 0, 0)
        place, *ends_of_interval = (100 * (sign * number - worst) / spread for number in ends[name])
        return ScaleRow(name, scores[name], place, min(ends_of_interval), max(ends_of_interval))

    return sorted(map(row, scores), key=lambda row: (math.isnan(row.score.value), -sign * row.score.value))


def _ends(score: Score) -> tuple[float, float, float]:
    low, high = (score.value if end is None else end for end in (score.low, score.high))
    return score.value, low, high


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("i2i.metrics")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    functions = (titles, by_metric, best, differences, better, arrow, shown, interval, with_interval, scale)
    environment.globals.update({function.__name__: function for function in functions})
    return environment
