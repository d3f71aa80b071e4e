"""What benchmarks/digit_presets.py measured, as a table and as curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import turns

Row = dict[str, Any]
TITLES = ("preset", "parameters G / D", "seeds", "minutes", "steps")


def percent(share: float) -> str:
    """A share of 1."""
    return f"{share:.2%}"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def gan_train(final: Row) -> dict[str, float]:
    """The GAN-train accuracy and that of real images; nothing for an unconditional run."""
    return (final["gan_train"] or {}).get("accuracy", {})


def figure(name: str) -> Callable[[Row], dict[str, float]]:
    """The figure of that name in a report; nothing where that has none."""
    return lambda final: final.get(name) or {}


# Title -> the figure of generated images and that of as many real ones, and how it is written.
FIGURES: dict[str, tuple[Callable[[Row], dict[str, float]], Callable[[float], str]]] = {
    "accuracy": (figure("accuracy"), percent),
    "GAN-train": (gan_train, percent),
    "FID": (figure("fid"), number),
    "precision": (figure("precision"), number),
    "recall": (figure("recall"), number),
    "diversity": (figure("diversity"), number),
    "nearest, share": (figure("nearest_share"), percent),
}


def table(rows: Sequence[Row]) -> str:
    """A line of Markdown for each preset, and one for real images.

    Several seeds are shown by their mean and, in brackets, the least and the most.
    """
    lines = [turns.head(*TITLES, *FIGURES)]
    for preset, of_preset in groupby(sorted(rows, key=itemgetter("preset")), itemgetter("preset")):
        seeds = list(of_preset)
        sizes = " / ".join(f"{seeds[0]['parameters'][player] / 1e6:.2f} M" for player in ("generator", "discriminator"))
        minutes = spread([max(row["minutes"].values()) for row in seeds], "{:.1f}".format)
        figures = (spread(values(seeds, of, "generated"), written) for of, written in FIGURES.values())
        lines.append(turns.row([preset, sizes, len(seeds), minutes, f"{seeds[0]['steps']:,}", *figures]))
    real = (spread(values(rows, of, "real")[:1], written) for of, written in FIGURES.values())
    return "\n".join([*lines, turns.row(["real images", *[""] * (len(TITLES) - 1), *real])])


def conditions(rows: Sequence[Row]) -> str:
    """What the table does not tell: what was compared, and how runs were trained, a line for each way."""
    compared = sorted({row["final"]["compared"] for row in rows})
    of_curve = sorted({point["compared"] for row in rows for point in row["curve"]})
    counts, fewer = (" or ".join(f"{count:,}" for count in found) for found in (compared, of_curve))
    lines = [f"From FID on {counts} generated images are compared with as many real ones; {fewer} in the curve."]
    ways: dict[str, list[str]] = {}
    for row in rows:
        way = f"threads {row['threads']}, jobs {row['jobs']}, device {row['device']}"
        ways.setdefault(way, []).append(f"{row['preset']} at seed {row['seed']}")
    return "\n".join([*lines, *(f"Trained with {way}: {', '.join(runs)}." for way, runs in ways.items())])


def values(rows: Sequence[Row], of: Callable[[Row], dict[str, float]], side: str) -> list[float]:
    """A figure of those rows that have it."""
    return [found[side] for row in rows if (found := of(row["final"]))]


def spread(values: Sequence[float], written: Callable[[float], str]) -> str:
    """The mean, and between what it lies; nothing of nothing."""
    if not values:
        return ""
    mean = written(statistics.mean(values))
    return mean if len(values) == 1 else f"{mean} ({written(min(values))} to {written(max(values))})"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw accuracy and FID of every checkpoint over minutes of training, a colour a preset and a line a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained", dpi=110)
    accuracy, fid = figure.subplots(1, 2)
    presets = sorted({row["preset"] for row in rows})
    for row in rows:
        minutes = [row["minutes"][str(point["epoch"])] for point in row["curve"]]
        for panel, name in ((accuracy, "accuracy"), (fid, "fid")):
            heights = [math.nan if point[name] is None else point[name] for point in row["curve"]]
            panel.plot(minutes, heights, ".-", color=f"C{presets.index(row['preset'])}", label=row["preset"])
    accuracy.set(xlabel="minutes of training", ylabel="share drawn as the class asked for")
    fid.set(xlabel="minutes of training", ylabel="FID in the classifier's features", yscale="log")
    fid.axhline(rows[0]["curve"][0]["fid_floor"], color="black", linestyle=":", label="real images")
    handles = {line.get_label(): line for line in fid.get_lines()}  # one of each preset
    fid.legend(handles.values(), handles)
    for panel in (accuracy, fid):
        panel.grid(alpha=0.3)
    figure.savefig(path)
