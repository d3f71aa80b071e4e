"""What benchmarks/digits.py measured, as a table and as curves."""

from __future__ import annotations

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


# Title -> the figure of generated images and that of as many real ones, and how it is written.
FIGURES: dict[str, tuple[Callable[[Row], dict[str, float]], Callable[[float], str]]] = {
    "accuracy": (itemgetter("accuracy"), percent),
    "GAN-train": (lambda final: final["gan_train"]["accuracy"], percent),
    "FID": (itemgetter("fid"), number),
    "precision": (itemgetter("precision"), number),
    "recall": (itemgetter("recall"), number),
    "diversity": (itemgetter("diversity"), number),
    "nearest, ratio": (lambda final: {"generated": final["nearest_ratio"], "real": 1.0}, number),
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
        figures = (
            spread([of(row["final"])["generated"] for row in seeds], written) for of, written in FIGURES.values()
        )
        lines.append(turns.row([preset, sizes, len(seeds), minutes, f"{seeds[0]['steps']:,}", *figures]))
    real = (written(of(rows[0]["final"])["real"]) for of, written in FIGURES.values())
    return "\n".join([*lines, turns.row(["real images", *[""] * (len(TITLES) - 1), *real])])


def spread(values: Sequence[float], written: Callable[[float], str]) -> str:
    """The mean, and between what it lies."""
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
            values = [point[name] for point in row["curve"]]
            panel.plot(minutes, values, ".-", color=f"C{presets.index(row['preset'])}", label=row["preset"])
    accuracy.set(xlabel="minutes of training", ylabel="share drawn as the class asked for")
    fid.set(xlabel="minutes of training", ylabel="FID in the classifier's features", yscale="log")
    fid.axhline(rows[0]["curve"][0]["fid_floor"], color="black", linestyle=":", label="real images")
    handles = {line.get_label(): line for line in fid.get_lines()}  # one of each preset
    fid.legend(handles.values(), handles)
    for panel in (accuracy, fid):
        panel.grid(alpha=0.3)
    figure.savefig(path)
