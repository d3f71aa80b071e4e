"""Read a run's files for the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from i2i.metrics import METRICS
from i2i.records import read_records
from i2i.watch.boards.curves import Curve, curves_of
from i2i.watch.boards.examples import read_examples

SILENCE = timedelta(hours=1)  # without a number, after which a run no longer counts as running
STOPPED_EARLY = "stopped_early"  # a line of findings.jsonl: that the run has ended by itself
RECENT = 20  # rows of the log that the speed of a run is taken from


class Run:
    """A run's folder; files that are missing leave empty what they would have told.

    `closed` says that its training process has ended, which the files do not.
    """

    def __init__(self, folder: Path, name: str | None = None, closed: bool = False) -> None:
        self.folder, self.name, self._closed = folder, name or folder.resolve().name, closed
        self.newest: dict[str, Any] = {}
        self.curves = curves_of(self._rows(folder / "metrics.jsonl"))
        found = _lines(folder / "findings.jsonl")
        self.findings = [finding for finding in found if finding["name"] != STOPPED_EARLY]
        self._endings = [finding for finding in found if finding["name"] == STOPPED_EARLY]
        self.samples = _lines(folder / "web" / "samples.jsonl")
        self.examples = read_examples(folder / "web" / "examples.json")
        self.about = _object(folder / "run.json")
        self.options = _yaml(folder / "options.yaml")

    @property
    def images(self) -> int:
        """Images seen."""
        return max((record["images"] for record in [self.newest, *self.samples[-1:]] if record), default=0)

    @property
    def epoch(self) -> int | None:
        """The epoch under way, from 1; None before anything was recorded."""
        return next((record["epoch"] for record in [self.newest, *self.samples[-1:]] if record), None)

    @property
    def updated(self) -> datetime | None:
        """When the last number was recorded."""
        return datetime.fromisoformat(self.newest["time"]) if self.newest else None

    @property
    def total(self) -> int | None:
        """Images that the run is to see, where that is known."""
        return self.about.get("total_images")

    @property
    def state(self) -> str:
        """`finished`, `stopped early`, `stopped`, or `running`, as one that was killed seems to be for an hour."""
        if self.total is not None and self.images >= self.total:
            return "finished"
        if self.ending is not None:
            return "stopped early"
        silent = self.updated is None or datetime.now(UTC) - self.updated > SILENCE
        return "stopped" if self._closed or silent else "running"

    @property
    def ending(self) -> str | None:
        """Why the run stopped early, if it did and has not gone on since."""
        return next((end["message"] for end in self._endings if end["images"] >= self.images), None)

    @property
    def was_watched(self) -> bool:
        """True if the doctor's figures are among the numbers."""
        return any(name.startswith("doctor_") for name in self.curves)

    @cached_property
    def clock(self) -> Curve:
        """Seconds of training by images seen, without the time between an interruption and a resume."""
        images, pace = self.curves.get("seconds_per_image", Curve(np.empty(0), np.empty(0)))
        return Curve(images, np.cumsum(np.diff(images, prepend=0.0) * pace))

    @property
    def seconds_per_image(self) -> float | None:
        """Over the last rows of the log."""
        images, seconds = (np.concatenate([[0.0], values])[-RECENT - 1 :] for values in self.clock)
        return float((seconds[-1] - seconds[0]) / (images[-1] - images[0])) if images[-1] > images[0] else None

    def best(self, name: str) -> tuple[float, float] | None:
        """Images and value where the figure `name` of the validations was best; None if no way is the better one."""
        metric = metric_of(name)
        if not name.startswith("val_") or metric not in METRICS or name not in self.curves:
            return None
        images, values = self.curves[name]
        index = int(values.argmax() if METRICS[metric].higher_is_better else values.argmin())
        return float(images[index]), float(values[index])

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        """The rows of the log one by one, since a long run's take up much memory; the last stays in `newest`."""
        for self.newest in read_records(path) if path.is_file() else ():
            yield self.newest


def metric_of(name: str) -> str:
    """The metric that a curve like `val_kid_A` or `train_l1` is of."""
    metric = name.removeprefix("val_").removeprefix("train_")
    return metric if metric in METRICS else metric.removesuffix("_A").removesuffix("_B")


def title_of(name: str) -> str:
    """Return the title of a validation figure: its metric, and its domain."""
    figure, metric = name.removeprefix("val_"), metric_of(name)
    return METRICS[metric].title + figure.removeprefix(metric).replace("_", " ") if metric in METRICS else figure


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(read_records(path)) if path.is_file() else []


def _object(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}
