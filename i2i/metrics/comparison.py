"""Cards as text: one with its baselines, or several beside each other with what tells their protocols apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from i2i.metrics.card import Card, Figure
from i2i.metrics.judging import Score
from i2i.metrics.protocol import IMMATERIAL


def card_text(card: Card) -> str:
    """What a card says first, as a table for a terminal."""
    names = list(card.baselines)
    rows = [["", "better", "generated", *names]]
    for figure in card.figures:
        beside = [shown(figure.baselines[name]) if name in figure.baselines else "-" for name in names]
        rows.append([figure.metric.title, better(figure), with_interval(figure.score), *beside])
    subject = [f"{name}: {text}" for name, text in card.subject.items()]
    counts = f"{card.protocol['generated images']} generated and {card.protocol['real images']} real images"
    counts += ", paired by name" if card.protocol["pairs"] != "none" else ""
    baselines = [f"{name}: {text}" for name, text in card.baselines.items()]
    return "\n".join([card.title, *subject, counts, "", *_aligned(rows), "", *baselines, *map(_warning, card.warnings)])


def comparison_text(cards: Sequence[Card]) -> str:
    """The figures of several cards in one table, and a warning for each difference of protocol."""
    rows = [["", "better", *titles(cards)]]
    for figures in by_metric(cards).values():
        first = next(figure for figure in figures if figure is not None)
        scores = [with_interval(figure.score) if figure else "-" for figure in figures]
        rows.append([first.metric.title, better(first), *scores])
    return "\n".join([*_aligned(rows), *map(_warning, differences(cards))])


def titles(cards: Sequence[Card]) -> list[str]:
    """The cards' titles, numbered where two are the same."""
    names = [card.title for card in cards]
    return [f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names, 1)]


def by_metric(cards: Sequence[Card]) -> dict[str, list[Figure | None]]:
    """Every metric with the figure that each card has of it."""
    found = [{figure.name: figure for figure in card.figures} for card in cards]
    names = dict.fromkeys(name for figures in found for name in figures)
    return {name: [figures.get(name) for figures in found] for name in names}


def best(figures: Sequence[Figure | None]) -> int | None:
    """Which card has the best figure, if any of them is worse."""
    scored = [(figure.score.value, number) for number, figure in enumerate(figures) if figure is not None]
    if len({value for value, _ in scored}) < 2:
        return None
    higher = next(figure.metric.higher_is_better for figure in figures if figure is not None)
    return (max if higher else min)(scored)[1]


def differences(cards: Sequence[Card]) -> list[str]:
    """What differs between the protocols of cards that share a metric, each in one line: they are not comparable."""
    names = dict.fromkeys(name for card in cards for name in card.protocol if name not in IMMATERIAL)
    lines = []
    for name in names:
        told = _told_apart(cards, name)
        values = [
            f"{title}: {card.protocol[name]}" for title, card in zip(titles(cards), cards, strict=True) if card in told
        ]
        if told:
            lines.append(f"the protocols differ in {name}: {'; '.join(values)}")
    return lines


def _told_apart(cards: Sequence[Card], name: str) -> list[Card]:
    """The cards that share a metric with another one whose protocol says something else of `name`."""
    # What only some cards have, such as a network, is of metrics that the others lack.
    having = [card for card in cards if name in card.protocol]
    metrics = {id(card): {figure.name for figure in card.figures} for card in having}
    apart = [
        pair
        for pair in combinations(having, 2)
        if pair[0].protocol[name] != pair[1].protocol[name] and metrics[id(pair[0])] & metrics[id(pair[1])]
    ]
    return [card for pair in apart for card in pair]


def better(figure: Figure) -> str:
    """Which way is better, as a word."""
    return "higher" if figure.metric.higher_is_better else "lower"


def arrow(figure: Figure) -> str:
    """Which way is better, as a sign, which not every terminal has."""
    return "↑" if figure.metric.higher_is_better else "↓"


def shown(score: Score) -> str:
    """The number in four digits."""
    return f"{score.value:.4g}"


def interval(score: Score) -> str:
    """The ends of its interval in brackets; nothing if it has none."""
    return "" if score.low is None or score.high is None else f"[{score.low:.4g}, {score.high:.4g}]"


def with_interval(score: Score) -> str:
    """The number and its interval."""
    return f"{shown(score)} {interval(score)}".rstrip()


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _warning(text: str) -> str:
    return f"warning: {text}"
