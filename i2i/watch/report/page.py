"""The report as one HTML file that needs no other and asks for none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2i.records import finite
from i2i.watch.report import summary
from i2i.watch.report.panels import clock_of, groups_of, points_of
from i2i.watch.report.pictures import PictureStore
from i2i.watch.report.run import Run
from i2i.watch.report.samples import KINDS, SampleFrames, beside_each_other, examples, over_time

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def build_report(
    runs: Sequence[Path],
    *,
    cards: Sequence[Mapping[str, Any]] = (),
    pictures: PictureStore | None = None,
    with_pictures: bool = True,
    closed: bool = False,
) -> str:
    """The page of a run, or one that compares several, from what is in their folders; missing files leave parts out.

    `cards` are metrics cards as plain values. `pictures` holds encoded pictures from one call to the next; without
    `with_pictures` samples and examples are left out. `closed` says that nothing more is going to be added.
    """
    pictures = pictures or PictureStore()
    read = [Run(folder, name, closed) for folder, name in zip(runs, _names(runs), strict=True)]
    alone = len(read) == 1
    samples, shown = SampleFrames([], []), {}
    if with_pictures:
        samples = over_time(read[0], pictures) if alone else beside_each_other(read, pictures)
        shown = examples(read[0], pictures) if alone else {}
    groups, keys = groups_of(read), samples.keys | _keys(shown)
    pictures.keep(keys)
    values = {
        "title": read[0].name if alone else f"{len(read)} runs compared",
        "runs": read,
        "groups": groups,
        "samples": samples,
        "examples": shown,
        "cards": cards,
        "summary": summary,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    data = {
        "runs": [_run_data(run) for run in read],
        "groups": [[panel._asdict() for panel in group.panels] for group in groups],
        "samples": samples._asdict(),
        "examples": {kind: shown.get(kind, []) for kind in KINDS},
        "pictures": pictures.uris(keys),
    }
    page = _environment().get_template("run.html" if alone else "runs.html")
    return page.render(values, data=_script_json(data), plotly=_plotly())


def _run_data(run: Run) -> dict[str, Any]:
    best = {name: place for name in run.curves if (place := run.best(name))}
    return {"name": run.name, "curves": points_of(run), "clock": clock_of(run), "best": best}


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names, or where two have the same one, their paths."""
    names = [run.resolve().name for run in runs]
    return [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _keys(shown: dict[str, Any]) -> set[str]:
    return {key for kind in KINDS for one in shown.get(kind, []) for key in one["pictures"].values()}


def _script_json(value: Any) -> str:
    """JSON that no script element can be closed by, whatever names it holds."""
    return json.dumps(finite(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("i2i.watch.report")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["flags"] = _flags
    return environment


def _flags(text: str) -> Markup:
    """Text with its flags set as code, so that a line does not break within one."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<![\w/.-])--?[A-Za-z][\w-]*", lambda flag: f"<code>{flag[0]}</code>", escape(text)))


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
