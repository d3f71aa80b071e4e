"""Pairs whose images fit other rows better than each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from i2i.tools.check.measure import View

ROWS = 4096  # that are compared with each other: a wrong partner is rarely far away
FEWEST = 20  # rows, below which there is no telling what is usual
OWN, OTHER = 1.0, 3.5  # standard deviations of the agreement between images that do not belong together


class Mispaired(NamedTuple):
    """The row of an image b, and the row of the image a whose structure it has."""

    row: int
    fits: int


def mispaired(a: Sequence[View], b: Sequence[View]) -> list[Mispaired]:
    """Rows in which b has the edges of another row's a and not of its own, which that a confirms."""
    starts = range(0, len(a), ROWS)
    return [
        Mispaired(start + row, start + fits)
        for start in starts
        for row, fits in _in_block(_units(a[start : start + ROWS]), _units(b[start : start + ROWS]))
    ]


def _in_block(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    count = len(a)
    if count < FEWEST:
        return []
    agreement = b @ a.T
    own, spread = agreement.diagonal().copy(), _spread(agreement)
    np.fill_diagonal(agreement, -1)
    fits = agreement.argmax(axis=1)
    # Among many rows, chance alone makes one agree well.
    least = max(OTHER, float(np.sqrt(2 * np.log(count))) + 0.2)
    wrong = (agreement.max(axis=1) > least * spread) & (own < OWN * spread)
    mutual = agreement[:, fits].argmax(axis=0) == np.arange(count)
    return [(int(row), int(fits[row])) for row in np.flatnonzero(wrong & mutual)]


def _spread(agreement: np.ndarray) -> np.ndarray:
    """The standard deviation of each row about 0, from its median so that a partner among them does not count."""
    return np.median(np.abs(agreement), axis=1) * 1.4826


def _units(views: Sequence[View]) -> np.ndarray:
    """The edges of every image as a vector of length 1, without what all of them have in common."""
    edges = np.stack([view.edges for view in views]).reshape(len(views), -1).astype(np.float32)
    for axis in (1, 0):
        edges -= edges.mean(axis=axis, keepdims=True)
        edges /= np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-6)
    return edges
