"""What a run's files say, as the report reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from i2i.metrics import METRICS
from i2i.visuals.curves import Curve, curves_of
from i2i.visuals.examples import read_examples
from i2i.visuals.records import read_records

SILENCE = timedelta(hours=1)  # without a number, after which a run no longer counts as running
RECENT = 20  # rows of the log that the speed of a run is taken from


class Run:
    """A run's folder; files that are missing leave empty what they would have told.

    `closed` says that its training process has ended, which the files do not.
    """

    def __init__(self, folder: Path, name: str | None = None, closed: bool = False) -> None:
        self.folder, self.name, self._closed = folder, name or folder.resolve().name, closed
        self.records = without_rolled_back(_lines(folder / "metrics.jsonl"))
        self.curves = curves_of(self.records)
        self.findings = _lines(folder / "findings.jsonl")
        self.samples = _lines(folder / "web" / "samples.jsonl")
        self.examples = read_examples(folder / "web" / "examples.json")
        self.about = _object(folder / "run.json")
        self.options = _yaml(folder / "options.yaml")

    @property
    def images(self) -> int:
        """Images seen."""
        return max((record["images"] for record in [*self.records[-1:], *self.samples[-1:]]), default=0)

    @property
    def epoch(self) -> int | None:
        """The epoch under way, from 1; None before anything was recorded."""
        return next((record["epoch"] for record in [*self.records[-1:], *self.samples[-1:]]), None)

    @property
    def updated(self) -> datetime | None:
        """When the last number was recorded."""
        return datetime.fromisoformat(self.records[-1]["time"]) if self.records else None

    @property
    def total(self) -> int | None:
        """Images that the run is to see, where that is known."""
        return self.about.get("total_images")

    @property
    def state(self) -> str:
        """`finished`, `stopped`, or `running`, which a process that was killed seems to be for an hour."""
        if self.total is not None and self.images >= self.total:
            return "finished"
        silent = self.updated is None or datetime.now(UTC) - self.updated > SILENCE
        return "stopped" if self._closed or silent else "running"

    @property
    def was_watched(self) -> bool:
        """Whether the doctor's figures are among the numbers."""
        return any(name.startswith("doctor_") for name in self.curves)

    @cached_property
    def clock(self) -> Curve:
        """Seconds of training by images seen, without the time between an interruption and a resume."""
        pairs = [(record["images"], record.get("seconds_per_image")) for record in self.records]
        images, pace = np.array([pair for pair in pairs if pair[1] is not None], dtype=float).reshape(-1, 2).T
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


def metric_of(name: str) -> str:
    """The metric that a curve like `val_kid_A` or `train_l1` is of."""
    metric = name.removeprefix("val_").removeprefix("train_")
    return metric if metric in METRICS else metric.removesuffix("_A").removesuffix("_B")


def title_of(name: str) -> str:
    """What people call a validation's figure: its metric, and the domain that it is of."""
    figure, metric = name.removeprefix("val_"), metric_of(name)
    return METRICS[metric].title + figure.removeprefix(metric).replace("_", " ") if metric in METRICS else figure


def without_rolled_back(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of the way that led on: where the images go back, what had come after is left out."""
    kept: list[dict[str, Any]] = []
    for record in records:
        while kept and kept[-1]["images"] > record["images"]:
            kept.pop()
        kept.append(record)
    return kept


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(read_records(path)) if path.is_file() else []


def _object(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
