"""The pictures of the report: samples over time, those of several runs beside each other, best and worst images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from i2i.watch.boards.files import evenly_spaced
from i2i.watch.report.pictures import PictureStore, Row
from i2i.watch.report.run import Run

KINDS = ("best", "worst")
FRAMES = 40  # points in time at most
FRAMES_SIZE = 5_500_000  # characters that their pictures take in the page, about


class SampleFrames(NamedTuple):
    """Labels of the columns, and frames: a point in time (`images`, `epoch`, `step`) and `rows` of pictures' keys.

    `common` are the labels under which several runs show the same.
    """

    labels: list[str]
    frames: list[dict[str, Any]]
    common: list[str] = []

    @property
    def keys(self) -> set[str]:
        """The keys of all pictures."""
        return {key for frame in self.frames for row in frame["rows"] for key in row}


def over_time(run: Run, pictures: PictureStore) -> SampleFrames:
    """The run's samples at up to 40 points in time, fewer if they are large; as many and as labelled as the newest."""
    labels, count = (run.samples[-1]["labels"], len(run.samples[-1]["boxes"])) if run.samples else ([], 0)
    alike = {
        sample["images"]: sample
        for sample in run.samples
        if sample["labels"] == labels and len(sample["boxes"]) == count
    }
    ends = [_frame(run, alike[images], pictures) for images in sorted({min(alike), max(alike)})] if alike else []
    first, last = (SampleFrames(labels, shown).keys for shown in (ends[:1], ends[-1:]))
    fitting = max(2, FRAMES_SIZE // (pictures.size(last - first) or 1))
    chosen = evenly_spaced(sorted(alike), min(FRAMES, fitting))
    shown = [_frame(run, alike[images], pictures) for images in chosen]
    return SampleFrames(labels, [frame for frame in shown if frame["rows"]])


def beside_each_other(runs: Sequence[Run], pictures: PictureStore) -> SampleFrames:
    """The newest samples of all runs as one frame: what runs have in common once, the rest by label and run."""
    newest = {run.name: rows for run in runs if run.samples and (rows := _rows(run, run.samples[-1], pictures))}
    if not newest:
        return SampleFrames([], [])
    count = min(map(len, newest.values()))
    common: dict[str, list[str]] = {}
    apart: dict[str, list[str]] = {}
    for label in dict.fromkeys(label for rows in newest.values() for label in rows[0]):
        columns = {name: [row[label] for row in rows[:count]] for name, rows in newest.items() if label in rows[0]}
        first = next(iter(columns.values()))
        if len(columns) > 1 and all(column == first for column in columns.values()):
            common[label] = first
        else:
            apart |= {f"{label}, {name}": column for name, column in columns.items()}
    shown = common | apart
    return SampleFrames(list(shown), [{"rows": [list(row) for row in zip(*shown.values(), strict=True)]}], list(common))


def examples(run: Run, pictures: PictureStore) -> dict[str, Any]:
    """The best and worst images of the newest validation with their pictures' keys by label; empty without one."""
    if run.examples is None:
        return {}
    shown = run.examples
    groups = {kind: [one for entry in shown[kind] if (one := _example(run, entry, pictures))] for kind in KINDS}
    return {**shown, **groups}


def _frame(run: Run, sample: Mapping[str, Any], pictures: PictureStore) -> dict[str, Any]:
    rows = [list(row.values()) for row in _rows(run, sample, pictures)]
    return {"images": sample["images"], "epoch": sample["epoch"], "step": sample["step"], "rows": rows}


def _rows(run: Run, sample: Mapping[str, Any], pictures: PictureStore) -> list[Row]:
    """No rows where the file is gone, as that of a run under way may be."""
    try:
        return pictures.sheet(run.folder / "web" / sample["picture"], sample)
    except OSError:
        return []


def _example(run: Run, entry: Mapping[str, Any], pictures: PictureStore) -> dict[str, Any] | None:
    """None where a file is gone."""
    try:
        keys = {label: pictures.file(run.folder / "web" / path) for label, path in entry["pictures"].items()}
    except OSError:
        return None
    return {**entry, "pictures": keys}
