"""A metrics card: figures with all that is needed to read and to repeat them, as JSON, text and a page."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.atomic import temporary_beside
from i2i.errors import UserError
from i2i.metrics import METRICS, Metric
from i2i.metrics.judging import Score

SCHEMA = 2
SSIM_OF_SCHEMA_1 = "these SSIM values include windows that cross the border; this version of i2i leaves those out"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A metric's score, those of the baselines by name, and why others of them are left out."""

    name: str
    score: Score
    baselines: dict[str, Score]
    left_out: dict[str, str]

    @property
    def metric(self) -> Metric:
        """What it measures."""
        return METRICS[self.name]


@dataclasses.dataclass(frozen=True)
class Card:
    """Figures of one set of images; all but these are words by name, and the options values by program and name.

    `subject` says what was judged, `protocol` how: cards may be compared where that is the same.
    """

    title: str
    subject: dict[str, str]
    figures: list[Figure]
    baselines: dict[str, str]
    protocol: dict[str, str]
    warnings: list[str]
    options: dict[str, dict[str, Any]]
    environment: dict[str, str]
    command: str
    created: str

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON, which has no infinite numbers: None, with a note beside it."""
        figures = [
            {
                "name": figure.name,
                "title": figure.metric.title,
                "higher_is_better": figure.metric.higher_is_better,
                **_plain(figure.score),
                "baselines": {name: _plain(score) for name, score in figure.baselines.items()},
                "left_out": figure.left_out,
            }
            for figure in self.figures
        ]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"schema": SCHEMA, **fields, "figures": figures}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """From what `as_dict` gave."""
        figures = [
            Figure(
                found["name"],
                _score(found),
                {name: _score(score) for name, score in found["baselines"].items()},
                found["left_out"],
            )
            for found in values["figures"]
        ]
        fields = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        return cls(**fields | {"figures": figures})

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read a card's JSON file.

        Raises:
            ValueError: if there is none, or it is no card that this version reads.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            values = _from_schema_1(values) if values["schema"] == 1 else values
            if values["schema"] != SCHEMA:
                raise UserError(f"{path} is a card of schema {values['schema']}, this version of i2i reads {SCHEMA}")
            card = cls.from_dict(values)
            if unknown := [figure.name for figure in card.figures if figure.name not in METRICS]:
                raise UserError(f"{path} has {', '.join(unknown)}, which this version of i2i does not know")
            return card
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path} is no metrics card, as test.py --metrics or i2i.evaluate --json write") from None

    def save(self, path: str | Path) -> None:
        """Write the JSON file, never seen half written."""
        write_whole(Path(path), json.dumps(self.as_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _from_schema_1(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a card whose l1 and cycle are of images in [0, 1], as of images in [-1, 1]."""
    figures = [_doubled(figure) if figure["name"] in ("l1", "cycle") else figure for figure in values["figures"]]
    has_ssim = any(figure["name"] == "ssim" for figure in figures)
    return values | {
        "schema": SCHEMA,
        "figures": figures,
        "warnings": [*values["warnings"], *[SSIM_OF_SCHEMA_1] * has_ssim],
    }


def _doubled(score: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: 2 * score[name] for name in ("value", "low", "high") if score.get(name) is not None}
    baselines = {name: _doubled(baseline) for name, baseline in score.get("baselines", {}).items()}
    return score | numbers | ({"baselines": baselines} if baselines else {})


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all; a pipe or a device is written to, and not replaced."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8", errors="replace")
        return
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(score: Score) -> dict[str, Any]:
    numbers = {name: value if math.isfinite(value or 0) else None for name, value in score._asdict().items()}
    return numbers if math.isfinite(score.value) else numbers | {"note": str(score.value)}


def _score(values: Mapping[str, Any]) -> Score:
    value = float(values["note"]) if "note" in values else values["value"]
    return Score(value, values["low"], values["high"], values["fakes"], values["reals"])
