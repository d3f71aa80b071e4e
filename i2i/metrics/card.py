"""A metrics card: scores together with everything needed to interpret and reproduce them, saved as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.atomic import replace_text
from i2i.errors import UserError
from i2i.metrics import METRICS, Metric
from i2i.metrics.suite import Score

SCHEMA = 2
SSIM_OF_SCHEMA_1 = "these SSIM values include windows that cross the border; this version of i2i leaves those out"


@dataclasses.dataclass(frozen=True)
class MetricResult:
    """The score of a metric, those of the baselines by name, and why other baselines are missing."""

    name: str
    score: Score
    baselines: dict[str, Score]
    left_out: dict[str, str]

    @property
    def metric(self) -> Metric:
        """The entry of METRICS."""
        return METRICS[self.name]


@dataclasses.dataclass(frozen=True)
class Card:
    """The results (`figures`) for one set of images.

    `subject` says what was evaluated and `protocol` how; cards with the same protocol are comparable. `baselines`
    describes each baseline, `options` holds option values by program.
    """

    title: str
    subject: dict[str, str]
    figures: list[MetricResult]
    baselines: dict[str, str]
    protocol: dict[str, str]
    warnings: list[str]
    options: dict[str, dict[str, Any]]
    environment: dict[str, str]
    command: str
    created: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for strict JSON: a number that is not finite becomes None, with a note beside it."""
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
        """Build a card from the result of `as_dict`."""
        figures = [
            MetricResult(
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
        """Load a card from its JSON file.

        Raises:
            UserError: if the file does not exist, or is not a card that this version can read.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            values = _from_schema_1(values) if values["schema"] == 1 else values
            if values["schema"] != SCHEMA:
                raise UserError(
                    f"{path} is a card of schema {values['schema']}; this version of i2i reads schema {SCHEMA}"
                )
            card = cls.from_dict(values)
            if unknown := [figure.name for figure in card.figures if figure.name not in METRICS]:
                raise UserError(f"{path} has {', '.join(unknown)}, unknown to this version of i2i")
            return card
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{path} is not a metrics card, as test.py --metrics or i2i.evaluate --json write"
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the JSON file atomically."""
        replace_text(Path(path), json.dumps(self.as_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _from_schema_1(values: dict[str, Any]) -> dict[str, Any]:
    """Convert l1 and cycle of a card of schema 1, which are for images in [0, 1], to images in [-1, 1]."""
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


def _plain(score: Score) -> dict[str, Any]:
    numbers = {name: value if math.isfinite(value or 0) else None for name, value in score._asdict().items()}
    return numbers if math.isfinite(score.value) else numbers | {"note": str(score.value)}


def _score(values: Mapping[str, Any]) -> Score:
    value = float(values["note"]) if "note" in values else values["value"]
    return Score(value, values["low"], values["high"], values["fakes"], values["reals"])
