"""Results of a run as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.atomic import temporary_beside
from i2i.data.batch import normalise
from i2i.data.images.sheets import labelled_grid, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from i2i.tools.digits.report import CurvePoint

FEW_CLASSES = 20  # whose counts can be read in a matrix


def draw_classes(predicted: Tensor, classes: Sequence[str], folder: Path) -> None:
    """Draw counts (asked, seen) of classes as the matrix confusion.png, or (1, seen) as the bars classes.png."""
    if len(predicted) > 1:
        _draw_confusion(predicted, classes, folder / "confusion.png")
    else:
        _draw_histogram(predicted[0], classes, folder / "classes.png")


def draw_pairs(generated: Tensor, originals: Tensor, path: Path) -> None:
    """Draw generated images (N, C, H, W) uint8 above the images for training that are nearest to them."""
    count = len(generated)
    rows = [0] * count + [1] * count
    names = ("generated", "nearest in training")
    save_png(labelled_grid(normalise(torch.cat([generated, originals])), rows, names, count), path)


def draw_curve(points: Sequence[CurvePoint], path: Path) -> None:
    """Draw accuracy and FID over the epochs, the latter with its floor."""
    figure = _figure(9, 3.4)
    epochs = [point.epoch for point in points]
    left, right = figure.subplots(1, 2)
    if points[0].accuracy is not None:
        left.plot(epochs, [point.accuracy for point in points], marker=".")
    right.plot(epochs, [point.fid for point in points], marker=".")
    right.plot(epochs, [point.fid_floor for point in points], "--", color="grey", label="real images")
    right.set_yscale("log")
    right.legend(frameon=False)
    for axes, title in ((left, "class-conditional accuracy"), (right, "FID")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.25)
    _save(figure, path)


def _draw_confusion(predicted: Tensor, classes: Sequence[str], path: Path) -> None:
    side = 2 + 0.45 * min(len(classes), 2 * FEW_CLASSES)
    figure = _figure(side, side)
    axes = figure.subplots()
    shares = predicted / predicted.sum(dim=1, keepdim=True)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="class that the classifier sees", ylabel="class that was asked for")
    axes.set_xticks(range(len(classes)), classes, rotation=90 if max(map(len, classes)) > 2 else 0)
    axes.set_yticks(range(len(classes)), classes)
    for asked, seen in predicted.nonzero().tolist() if len(classes) <= FEW_CLASSES else []:
        colour = "white" if shares[asked, seen] > 0.5 else "black"
        axes.text(seen, asked, f"{predicted[asked, seen]}", ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def _draw_histogram(counts: Tensor, classes: Sequence[str], path: Path) -> None:
    figure = _figure(2 + 0.45 * len(classes), 3.4)
    axes = figure.subplots()
    axes.bar(range(len(classes)), counts.tolist())
    axes.set_xticks(range(len(classes)), classes)
    axes.set(xlabel="class that the classifier sees", ylabel="images")
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def _save(figure: Figure, path: Path) -> None:
    temporary = temporary_beside(path)
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
