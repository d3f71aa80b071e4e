"""Texts of boards beside curves and pictures: names by group, captions, findings."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from i2i.data.images.sheets import sample_sheet
from i2i.watch.boards.board import Example, Finding, Progress

GROUPS = ("val", "train", "lr", "grad", "doctor")
SPEED = ("seconds_per_image", "data_share")


def group_of(name: str) -> str:
    """Return the group of a logged number: one of GROUPS, by its prefix, or `speed`, or `loss`."""
    prefix = name.partition("_")[0]
    return prefix if prefix in GROUPS else "speed" if name in SPEED else "loss"


def grouped(name: str) -> str:
    """A logged name with its group ahead, as boards fold their charts by it: `val_l1` is `val/l1`, `D_A` `loss/D_A`."""
    group = group_of(name)
    return f"{group}/{name.removeprefix(f'{group}_')}"


def position(progress: Progress) -> str:
    """Describe the progress of a run in words."""
    return f"{progress.images:,} images, epoch {progress.epoch}"


def caption(example: Example) -> str:
    """An example's name and figures on one line."""
    return " ".join([example.name, *(f"{name} {figure:.4g}" for name, figure in example.figures.items())])


def sentence(finding: Finding) -> str:
    """A finding on one line: how bad, what, and what helps."""
    return f"{finding.severity}: {finding.message} {finding.advice}"


def example_sheet(examples: Sequence[Example]) -> Image.Image:
    """The pictures of each example in a row of their own, which may differ in size; at least one example."""
    rows = [
        sample_sheet({label: image[None] for label, image in example.pictures.items()}).image for example in examples
    ]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
