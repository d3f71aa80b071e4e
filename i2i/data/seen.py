"""Record the layout and sizes of the training images, and compare images to translate with them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from i2i.data.batch import ImageError
from i2i.data.layouts.aligned import PAIR
from i2i.data.layouts.base import ImageDataset
from i2i.errors import UserError

HEADERS = 24  # largest number of files whose headers are read
TOLERANCE = 1.03  # factor by which an aspect ratio may differ from the training images'
FAR = 1.3  # factor from which a differing aspect ratio causes a warning
MOST = 0.8  # share of the files that have to agree

Size = tuple[int, int]  # width and height


def seen_by(dataset: ImageDataset) -> dict[str, Any]:
    """Return the layout of a data set and the sizes of its images, as plain values for a checkpoint.

    They are read from the headers of a few files. The size of a side-by-side pair is that of one half.
    """
    halved = _is_side_by_side(dataset)
    sizes = {"a": _sizes(dataset, dataset.files, halved)}
    sizes["b"] = sizes["a"] if halved or not dataset.outputs else _sizes(dataset, dataset.outputs, False)
    return {
        "side_by_side": halved,
        **{side: _ranges(found) for side, found in sizes.items() if found},
    }


class LayoutProblem(NamedTuple):
    """A mismatch between images to translate and the training images; `refused` if it is certain."""

    message: str
    refused: bool


def wrong_layout(dataset: ImageDataset, seen: Mapping[str, Any], side: str = "a") -> LayoutProblem | None:
    """Compare the files of `dataset` with what `seen_by` returned for the training data; None if they agree.

    `side` is the domain of the files in the training data. Images of any size and shape can be translated, so only two
    cases are refused: single images that would be read as pairs, and pairs that would be read as single images.
    """
    if side not in seen:
        return None
    halved = _is_side_by_side(dataset)
    sizes = _sizes(dataset, dataset.files, halved=False)
    low, high = seen[side]["aspect"]
    if not sizes:
        return None
    width, height = sizes[0]
    what = f"{dataset.root} holds images of {width}x{height}"
    shape = f"{_shown(seen[side]['width'])}x{_shown(seen[side]['height'])}"
    if halved and _are(sizes, low, high) and not _any(sizes, 2 * low, 2 * high):
        return LayoutProblem(
            f"{what}, the shape of one image of training ({shape}), not of two side by side, and would be cut in half: "
            f"translate single images by --input {dataset.root}; if the files are pairs, give --dataset_mode aligned",
            refused=True,
        )
    if halved and not _any(sizes, 2 * low / FAR, 2 * high * FAR):
        return LayoutProblem(
            f"{what}, which are read as pairs side by side of {width // 2}x{height} each, and training saw {shape}; "
            f"single images are translated by --input {dataset.root}",
            refused=False,
        )
    if not halved and _are(sizes, 2 * low, 2 * high) and not _any(sizes, low, high):
        return _of_pairs(what, shape, dataset, seen["side_by_side"])
    return None


def _of_pairs(what: str, shape: str, dataset: ImageDataset, trained_on_pairs: bool) -> LayoutProblem:
    phase = dataset.config.phase
    if trained_on_pairs:
        return LayoutProblem(
            f"{what}, the shape of two images of training ({shape}) side by side, and would be translated whole: for "
            f"pairs give --dataroot ROOT with the files in ROOT/{phase}; if the files are single images, give "
            "--dataset_mode single",
            refused=True,
        )
    return LayoutProblem(
        f"{what}, twice as wide as those of training ({shape}), and are translated whole; if they are pairs side by "
        "side, cut them into two folders first",
        refused=False,
    )


def _is_side_by_side(dataset: ImageDataset) -> bool:
    return dataset.input_names == (PAIR,)


def _sizes(dataset: ImageDataset, files: Sequence[str], halved: bool) -> list[Size]:
    """Return the sizes of a few readable files, or of their halves."""
    sizes = []
    for path in itertools.islice(files, 0, None, -(-len(files) // HEADERS) or 1):
        try:
            info = dataset.pipeline.reader.info(path)
        except ImageError:  # reported when the file is loaded
            continue
        if info.width and info.height:
            sizes.append((info.width // (1 + halved) or 1, info.height))
    return sizes


def _ranges(sizes: Sequence[Size]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "aspect": [width / height for width, height in sizes],
    }
    return {name: [min(found), max(found)] for name, found in values.items()}


def _are(sizes: Sequence[Size], low: float, high: float) -> bool:
    """Return True if most of the sizes have an aspect ratio from `low` to `high`."""
    return sum(_fits(size, low, high) for size in sizes) >= MOST * len(sizes)


def _any(sizes: Sequence[Size], low: float, high: float) -> bool:
    return sum(_fits(size, low, high) for size in sizes) > (1 - MOST) * len(sizes)


def _fits(size: Size, low: float, high: float) -> bool:
    return low / TOLERANCE <= size[0] / size[1] <= high * TOLERANCE


def _shown(ends: Sequence[float]) -> str:
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def refuse_wrong_layout(dataset: ImageDataset, seen: Mapping[str, Any], side: str = "a") -> str:
    """Return a warning if the files may have another layout than the training data; else an empty string.

    Raises:
        UserError: if they certainly have another layout.
    """
    problem = wrong_layout(dataset, seen, side)
    if problem is not None and problem.refused:
        raise UserError(problem.message)
    return "" if problem is None else problem.message
