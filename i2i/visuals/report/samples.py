"""The pictures of the report: samples over time, those of several runs beside each other, best and worst images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from i2i.visuals.files import evenly_spaced
from i2i.visuals.report.pictures import Pictures, Row
from i2i.visuals.report.run import Run

FRAMES = 40  # points in time at most
FRAMES_SIZE = 5_500_000  # characters that their pictures take in the page, about


class Samples(NamedTuple):
    """Labels of the columns, and frames: a point in time (`images`, `epoch`, `step`) and `rows` of pictures' keys."""

    labels: list[str]
    frames: list[dict[str, Any]]

    @property
    def keys(self) -> set[str]:
        """Of all pictures."""
        return {key for frame in self.frames for row in frame["rows"] for key in row}


def over_time(run: Run, pictures: Pictures) -> Samples:
    """The run's samples at up to 40 points in time, fewer if they are large; all of them with the newest's labels."""
    labels = run.samples[-1]["labels"] if run.samples else []
    alike = {sample["images"]: sample for sample in run.samples if sample["labels"] == labels}
    ends = [_frame(run, alike[images], pictures) for images in sorted({min(alike), max(alike)})] if alike else []
    first, last = (Samples(labels, shown).keys for shown in (ends[:1], ends[-1:]))
    count = max(2, FRAMES_SIZE // (pictures.size(last - first) or 1))
    chosen = evenly_spaced(sorted(alike), min(FRAMES, count))
    shown = [_frame(run, alike[images], pictures) for images in chosen]
    return Samples(labels, [frame for frame in shown if frame["rows"]])


def beside_each_other(runs: Sequence[Run], pictures: Pictures) -> Samples:
    """The newest samples of all runs as one frame: what they have in common once, the rest by label and run."""
    newest = {run.name: _newest_rows(run, pictures) for run in runs if run.samples}
    if not newest:
        return Samples([], [])
    common = [label for label in next(iter(newest.values()))[0] if _is_common(label, list(newest.values()))]
    rows = [_merged(common, dict(zip(newest, row, strict=True))) for row in zip(*newest.values(), strict=False)]
    return Samples(list(rows[0]), [{"rows": [list(row.values()) for row in rows]}])


def examples(run: Run, pictures: Pictures) -> dict[str, Any]:
    """The best and worst images of the newest validation with their pictures' keys by label; empty without one."""
    if run.examples is None:
        return {}
    groups = {kind: [_example(run, entry, pictures) for entry in run.examples[kind]] for kind in ("best", "worst")}
    return {**run.examples, **groups}


def _frame(run: Run, sample: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    rows = [list(row.values()) for row in _rows(run, sample, pictures)]
    return {"images": sample["images"], "epoch": sample["epoch"], "step": sample["step"], "rows": rows}


def _rows(run: Run, sample: Mapping[str, Any], pictures: Pictures) -> list[Row]:
    """No rows where the file is gone, as that of a run under way may be."""
    try:
        return pictures.sheet(run.folder / "web" / sample["picture"], sample)
    except OSError:
        return []


def _newest_rows(run: Run, pictures: Pictures) -> list[Row]:
    return _rows(run, run.samples[-1], pictures)


def _is_common(label: str, runs: Sequence[Sequence[Row]]) -> bool:
    """Whether this picture of every sample is the same in all runs."""
    return all(len({row.get(label) for row in rows}) == 1 for rows in zip(*runs, strict=False))


def _merged(common: Sequence[str], rows: Mapping[str, Row]) -> Row:
    first = next(iter(rows.values()))
    labels = [label for label in dict.fromkeys(label for row in rows.values() for label in row) if label not in common]
    apart = {f"{label}, {name}": row[label] for label in labels for name, row in rows.items() if label in row}
    return {label: first[label] for label in common} | apart


def _example(run: Run, entry: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    keys = {label: pictures.file(run.folder / "web" / path) for label, path in entry["pictures"].items()}
    return {**entry, "pictures": keys}
