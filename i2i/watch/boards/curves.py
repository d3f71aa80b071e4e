"""Loss curves from metrics.jsonl as a PNG; `python -m i2i.visuals.curves RUN_FOLDER` draws them by hand."""

import argparse
import math
import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from i2i.records import POSITION_KEYS, read_records, replacing
from i2i.watch.boards.captions import group_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Curve(NamedTuple):
    """One logged quantity: image counts and the finite values there, of equal length."""

    images: NDArray[np.float64]
    values: NDArray[np.float64]


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """The curves of a metrics.jsonl by name, in order of first appearance; values that are null are left out."""
    return curves_of(read_records(Path(path)))


def curves_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curves in records as metrics.jsonl holds them, by name, without values that are null or not finite."""
    points: dict[str, tuple[array[float], array[float]]] = defaultdict(lambda: (array("d"), array("d")))
    for record in records:
        for name, value in record.items():
            if name not in POSITION_KEYS and value is not None and math.isfinite(value):
                images, values = points[name]
                images.append(record["images"])
                values.append(value)
    return {name: Curve(np.array(images), np.array(values)) for name, (images, values) in points.items()}


def plot_curves(metrics_path: str | Path, png_path: str | Path) -> None:
    """Draw the losses and validation figures of a metrics.jsonl over the images seen, smoothed, the raw values faint.

    Counterparts (`D_A` and `D_B`, `D_real` and `D_fake`) share a panel. Without any value nothing is written.
    """
    curves = {name: curve for name, curve in read_metrics(metrics_path).items() if group_of(name) in ("loss", "val")}
    if not curves:
        return
    from matplotlib.figure import Figure

    panels = panels_of(curves)
    columns = min(3, math.ceil(math.sqrt(len(panels))))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5 * columns, 0.4 + 2.6 * rows), layout="constrained", dpi=100)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (title, names) in zip(axes, panels.items(), strict=False):
        _draw(panel, title, {name: curves[name] for name in names})
    for unused in axes[len(panels) :]:
        unused.remove()
    with replacing(Path(png_path)) as temporary:
        figure.savefig(temporary, format="png")


def panels_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by panel: what differs only in its domain (A, B) or in real and fake belongs together."""
    panels: dict[str, list[str]] = {}
    for name in names:
        panels.setdefault(re.sub(r"_(A|B|real|fake)$", "", name), []).append(name)
    return panels


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over a centred window of 5 % of the values, as much of it as there is at the ends."""
    index, half = np.arange(len(values)), len(values) // 40
    start, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[end] - sums[start]) / (end - start)


def thin(curve: Curve, points: int) -> Curve:
    """At most about `points` points of a curve: the least and greatest value of each stretch, so that peaks stay."""
    if len(curve.values) <= points:
        return curve
    edges = np.linspace(0, len(curve.values), points // 2 + 1).astype(int)
    stretches = zip(edges, edges[1:], strict=False)
    kept = sorted(
        start + int(extreme)
        for start, end in stretches
        for extreme in (np.argmin(curve.values[start:end]), np.argmax(curve.values[start:end]))
    )
    return Curve(curve.images[kept], curve.values[kept])


def _draw(axes: "Axes", title: str, curves: dict[str, Curve]) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    for number, (name, curve) in enumerate(curves.items()):
        smoothed = thin(Curve(curve.images, smooth(curve.values)), 1000)
        axes.plot(*thin(curve, 1000), color=f"C{number}", alpha=0.2, linewidth=0.8)
        axes.plot(*smoothed, color=f"C{number}", linewidth=1.6, label=name)
    # One peak in a thousand would flatten everything else.
    values = np.concatenate([curve.values for curve in curves.values()])
    low, high = np.percentile(values, [0.5, 99.5])
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_title(title, fontsize=11)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9)


def main() -> None:
    """Draw a run's curves to RUN_FOLDER/web/loss_curves.png and print that path."""
    parser = argparse.ArgumentParser(prog="python -m i2i.visuals.curves", description="Draw the loss curves of a run.")
    parser.add_argument("run_folder", type=Path, help="folder that holds metrics.jsonl, such as checkpoints/NAME")
    folder = parser.parse_args().run_folder
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        parser.error(f"no metrics.jsonl in '{folder}'; give the folder of a run, such as checkpoints/NAME")
    output = folder / "web" / "loss_curves.png"
    output.parent.mkdir(exist_ok=True)
    plot_curves(metrics, output)
    print(output)


if __name__ == "__main__":
    main()
