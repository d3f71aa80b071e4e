"""Images that are equal, or nearly so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from i2i.tools.check.measure import View

MOST_BITS = 4  # of the 64 of a perceptual hash, that differ between near duplicates
LEAST_CORRELATION = 0.95  # between the grey 32 x 32 pictures: simple drawings share hashes without being alike
PARTS = MOST_BITS + 1


def groups(views: Sequence[View]) -> list[list[int]]:
    """The indices of images that are equal or nearly so, a list for every group of two or more.

    Images without any contrast are left out: all of them look alike, and `flat` names them.
    """
    shown = np.array([number for number, view in enumerate(views) if not view.flat], np.int64)
    if len(shown) < 2:
        return []
    _, first, copy_of = np.unique([views[number].sha for number in shown], return_index=True, return_inverse=True)
    group_of = _groups_of_distinct([views[number] for number in shown[first]])[copy_of]
    order = np.argsort(group_of, kind="stable")
    bounds = np.flatnonzero(np.diff(group_of[order])) + 1
    return sorted(shown[members].tolist() for members in np.split(order, bounds) if len(members) > 1)


def are_equal(views: Sequence[View]) -> bool:
    """Return True if all the images have the same pixels."""
    return len({view.sha for view in views}) == 1


def _groups_of_distinct(views: Sequence[View]) -> np.ndarray:
    """For every image a number that those which are nearly equal share, directly or through others."""
    hashes = np.array([view.phash for view in views], np.uint64)
    pictures = np.stack([view.picture.ravel() for view in views])
    group_of = np.arange(len(views))
    for one, others in _near(hashes):
        others = others[group_of[others] != group_of[one]]
        if len(others) and len(alike := others[_correlation(pictures[others], pictures[one]) >= LEAST_CORRELATION]):
            group_of[np.isin(group_of, group_of[alike])] = group_of[one]
    return group_of


def _near(hashes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For every hash others that differ in MOST_BITS bits at most: of one part more than that, one is the same."""
    width = np.uint64(-(-64 // PARTS))
    for part in range(PARTS):
        keys = (hashes >> (np.uint64(part) * width)) & ((np.uint64(1) << width) - np.uint64(1))
        order = np.argsort(keys, kind="stable")
        ends = np.searchsorted(keys[order], keys[order], side="right")
        for place, end in enumerate(ends.tolist()):
            one, others = order[place], order[place + 1 : end]
            yield int(one), others[np.bitwise_count(hashes[others] ^ hashes[one]) <= MOST_BITS]


def _correlation(pictures: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return _unit(pictures) @ _unit(picture[None])[0]


def _unit(pictures: np.ndarray) -> np.ndarray:
    centred = pictures - pictures.mean(axis=1, keepdims=True, dtype=np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
