"""Group curves into panels of the report, and panels into groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from i2i.metrics import METRICS
from i2i.watch.boards.captions import group_of, grouped
from i2i.watch.boards.curves import Curve, panels_of, thin
from i2i.watch.report.run import Run, metric_of, title_of

POINTS = 1000  # of a curve
CLOCK_POINTS = 400
SPEED_TITLES = {"seconds_per_image": "seconds an image", "data_share": "share of the time spent waiting for data"}


class Panel(NamedTuple):
    """Curves in one plot."""

    title: str
    about: str
    names: list[str]


class Group(NamedTuple):
    """Plots under one heading, unfolded from the start or not."""

    title: str
    is_open: bool
    panels: list[Panel]


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """All curves of the runs in groups; of several runs each curve has a plot of its own, but for train beside val."""
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    members: dict[str, list[str]] = defaultdict(list)
    for name in names:
        members[group_of(name)].append(name)
    groups = [
        Group("Validation", True, _validation(members["val"] + members["train"], apart=len(runs) > 1)),
        Group("Losses", True, _losses(members["loss"], apart=len(runs) > 1)),
        Group("The doctor's figures", False, _single(members["doctor"])),
        Group("Gradient norms", False, _single(members["grad"])),
        Group("Learning rates", False, _single(members["lr"])),
        Group("Speed", False, [Panel(SPEED_TITLES[name], "", [name]) for name in members["speed"]]),
    ]
    return [group for group in groups if group.panels]


def points_of(run: Run) -> dict[str, dict[str, Any]]:
    """The run's curves for the page: points x, y, and where those are the extremes of many, the means of these."""
    return {name: _points(curve) for name, curve in run.curves.items()}


def clock_of(run: Run) -> dict[str, list[float]]:
    """Images and seconds of training there, for an axis of time."""
    count = len(run.clock.images)
    index = np.linspace(0, count - 1, min(count, CLOCK_POINTS)).round().astype(int)
    return _lists(Curve(*(values[index] for values in run.clock)))


def _validation(names: list[str], apart: bool) -> list[Panel]:
    figures = dict.fromkeys(name.removeprefix("val_").removeprefix("train_") for name in names)
    panels = {figure: [figure] for figure in figures} if apart else panels_of(figures)
    return [_validated(stem, [name for name in names if name.partition("_")[2] in panels[stem]]) for stem in panels]


def _validated(stem: str, names: list[str]) -> Panel:
    """The panel of a metric: `val_<metric>` and, behind it, `train_<metric>`, in each domain."""
    names = sorted(names, key=lambda name: (name.partition("_")[2], name.startswith("train_")))
    metric = METRICS.get(metric_of(stem))
    if metric is None:
        return Panel(stem, "", names)
    better = "higher" if metric.higher_is_better else "lower"
    return Panel(title_of(stem), f"{better} is better; {metric.about}", names)


def _losses(names: list[str], apart: bool) -> list[Panel]:
    panels = {name: [name] for name in names} if apart else panels_of(names)
    return [Panel(title, "", members) for title, members in panels.items()]


def _single(names: list[str]) -> list[Panel]:
    return [Panel(grouped(name).partition("/")[2], "", [name]) for name in names]


def _points(curve: Curve) -> dict[str, Any]:
    points: dict[str, Any] = _lists(thin(curve, POINTS))
    if len(curve.values) > POINTS:
        points["means"] = _lists(_means(curve, POINTS // 2))
    return points


def _means(curve: Curve, count: int) -> Curve:
    """The means of `count` stretches: what may be smoothed further, as the extremes that `thin` keeps may not."""
    starts = np.linspace(0, len(curve.values), count, endpoint=False).astype(int)
    lengths = np.diff(starts, append=len(curve.values))
    return Curve(*(np.add.reduceat(values, starts) / lengths for values in curve))


def _lists(curve: Curve) -> dict[str, list[float]]:
    return {"x": curve.images.round(3).tolist(), "y": [float(f"{value:.6g}") for value in curve.values]}
