"""The report in words and tables: how far a run is, what was found, its figures, what it was made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from i2i.metrics import METRICS
from i2i.watch.boards.captions import group_of
from i2i.watch.boards.curves import smooth
from i2i.watch.report.run import Run, metric_of, title_of

WHERE = ("name", "checkpoints_dir", "dataroot", "dataroot_A", "dataroot_B")  # options that say where, not how
DATA = ("dataroot", "dataroot_A", "dataroot_B", "direction", "max_dataset_size", "preprocess", "load_size", "crop_size")
IMAGES_BY = (*DATA, "val_phase", "val_fraction", "val_size")  # options that say which images are validated on


class Found(NamedTuple):
    """A finding, however often it was made."""

    name: str
    severity: str
    message: str
    advice: str
    times: int
    first: int  # images
    last: int


class Figure(NamedTuple):
    """A figure of several runs: each one's text, and whose is the best, if any is."""

    title: str
    about: str
    texts: list[str]
    winners: list[bool]


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """Return the key figures at the top of the page: name, value, and a remark."""
    shown: list[tuple[str, str, str]] = [("images", f"{run.images:,}", f"of {run.total:,}" if run.total else "")]
    if run.epoch is not None:
        epochs = run.options.get("n_epochs", 0) + run.options.get("n_epochs_decay", 0)
        shown.append(("epoch", f"{run.epoch:,}", f"of {epochs:,}" if epochs else ""))
    if run.seconds_per_image is not None:
        shown.append(("trained for", duration(float(run.clock.values[-1])), ""))
        shown.append(("speed", number(1 / run.seconds_per_image), "images a second"))
        if run.state == "running" and run.total is not None:
            shown.append(("to go", duration((run.total - run.images) * run.seconds_per_image), ""))
    if "data_share" in run.curves:
        waited = run.curves["data_share"].values[-20:].mean()
        shown.append(("waits for data", f"{waited:.0%}", "of the time"))
    return shown


def findings(run: Run) -> list[Found]:
    """Return the doctor's findings by name with their newest text: alarms first, then the newest."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for finding in run.findings:
        grouped.setdefault(finding["name"], []).append(finding)
    found = [
        Found(
            name,
            "alarm" if any(entry["severity"] == "alarm" for entry in entries) else entries[-1]["severity"],
            entries[-1]["message"],
            entries[-1]["advice"],
            len(entries),
            entries[0]["images"],
            entries[-1]["images"],
        )
        for name, entries in grouped.items()
    ]
    return sorted(found, key=lambda one: (one.severity != "alarm", -one.last))


def validated(run: Run) -> list[dict[str, Any]]:
    """The figures of the validations: title, newest value, best value and where, newest value of training images.

    `chooses` marks the metric that best.pt goes by.
    """
    rows = []
    for name, curve in run.curves.items():
        if not name.startswith("val_"):
            continue
        metric = METRICS.get(metric_of(name))
        train = run.curves.get(name.replace("val_", "train_", 1))
        rows.append(
            {
                "title": title_of(name),
                "about": metric.about if metric else "",
                "last": number(curve.values[-1]),
                "best": (number(best[1]), f"{best[0]:,.0f}") if (best := run.best(name)) else None,
                "train": number(train.values[-1]) if train else "",
                "chooses": metric is not None and metric_of(name) == run.about.get("best_metric"),
            }
        )
    return rows


def comparison(runs: Sequence[Run]) -> list[Figure]:
    """The best validation figures of the runs beside each other, then the newest losses."""
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    is_contest = not other_images(runs)
    validated = [_best_figure(name, runs, is_contest) for name in names if group_of(name) == "val"]
    return validated + [_newest_figure(name, runs) for name in names if group_of(name) == "loss"]


def other_images(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The options by which the runs were not validated on the same images, with the values of those validated."""
    validated = [run for run in runs if any(group_of(name) == "val" for name in run.curves)]
    seed = ("seed",) if any(run.options.get("val_fraction") for run in validated) else ()
    return _differing(validated, (*IMAGES_BY, *seed))


def options(run: Run) -> list[tuple[str, str, bool]]:
    """The options with their values; those that are not at their defaults, where run.json says which, come first."""
    changed = set(run.about.get("changed", ()))
    rows = [(name, shown(value), name in changed) for name, value in run.options.items()]
    return sorted(rows, key=lambda row: not row[2])


def options_that_differ(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The options that are not the same in all runs, with each run's value."""
    return _differing(runs, dict.fromkeys(name for run in runs for name in run.options if name not in WHERE))


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested values as flat lines of a name and a text."""
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        title = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            lines += [(f"{title}, {inner}", text) for inner, text in facts(value)]
        else:
            lines.append((title, shown(value)))
    return lines


def shown(value: Any) -> str:
    """A plain value as people write it."""
    if value is None or value == [] or value == ():
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Four digits that count."""
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def score(found: Mapping[str, Any]) -> str:
    """A score of a metrics card; one that is not finite has its words in a note."""
    return str(found["note"]) if found["value"] is None else number(found["value"])


def duration(seconds: float) -> str:
    """Rounded to two units."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if days >= 2:
        return f"{days:.1f} days"
    if hours >= 1:
        return f"{int(hours)} h {int(minutes) % 60:02d} min"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def _differing(runs: Sequence[Run], names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The options among `names` that are not the same in all runs, with each run's value."""
    rows = [(name, [shown(run.options[name]) if name in run.options else "" for run in runs]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _best_figure(name: str, runs: Sequence[Run], is_contest: bool) -> Figure:
    metric = METRICS.get(metric_of(name))
    found = [run.best(name) for run in runs]
    texts = [f"{number(best[1])} at {best[0]:,.0f}" if best else "" for best in found]
    values = [best[1] if best else None for best in found]
    known = [value for value in values if value is not None]
    target = (max if metric and metric.higher_is_better else min)(known) if is_contest and len(known) > 1 else None
    winners = [value is not None and value == target for value in values]
    return Figure(title_of(name), metric.about if metric else "", texts, winners)


def _newest_figure(name: str, runs: Sequence[Run]) -> Figure:
    curves = [run.curves.get(name) for run in runs]
    texts = [number(smooth(curve.values)[-1]) if curve else "" for curve in curves]
    return Figure(name, "loss, smoothed, at the end", texts, [False] * len(runs))
