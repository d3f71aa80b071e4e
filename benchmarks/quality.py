"""Whether faster training learns as well: `python benchmarks/quality.py`; --help lists the options.

Trains the demo_pix2pix preset, outlines to filled shapes, in every way and from every seed, and prints the L1 distance
to the truth of test images that it has not seen, which every run translates in the same precision. A way agrees if its
mean differs from that of the first by no more than the seeds of either differ among themselves.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import turns
from turns import say

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "fp32": ("--precision", "fp32", "--compile", "off"),
    "bf16": ("--precision", "bf16", "--compile", "off"),
    "fp32+compile": ("--precision", "fp32", "--compile", "on"),
}
QUICK = {"ways": ["fp32"], "seeds": 1, "epochs": 2, "count": 16, "test_count": 2}


def validation_l1(folder: Path, way: str, seed: int, epochs: int) -> float:
    """Train on the shapes in `folder`; the L1 distance of pixels in [0, 1] to the truth of its test images."""
    name = ("--name", f"{way}_{seed}", "--dataroot", "shapes")
    length = ("--n_epochs", str(epochs - epochs // 2), "--n_epochs_decay", str(epochs // 2))
    train = (str(ROOT / "train.py"), "--options", "demo_pix2pix", *name, *length, "--seed", str(seed), *WAYS[way])
    turns.run([sys.executable, *train], folder)
    turns.run([sys.executable, str(ROOT / "test.py"), *name, "--precision", "fp32"], folder)
    return scored(folder / "results" / f"{way}_{seed}", folder / "shapes" / "test")


def scored(results: Path, pairs: Path) -> float:
    """The measure of datasets/score.py."""
    sys.path.append(str(ROOT / "datasets"))
    from score import read_pairs, score

    found = re.search(r"ground truth: ([\d.]+)", score(results, read_pairs(pairs)))
    assert found
    return float(found[1])


def verdict(distances: Sequence[float], first: Sequence[float]) -> str:
    """Whether the means of two ways differ by no more than their seeds do."""
    if distances is first or len(distances) < 2:
        return "-"
    difference = abs(statistics.mean(distances) - statistics.mean(first))
    return "yes" if difference <= max(max(values) - min(values) for values in (distances, first)) else "NO"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=turns.positive, default=3)
    parser.add_argument("--epochs", type=turns.positive, default=8, help="half of them at the full learning rate")
    parser.add_argument("--count", type=turns.positive, default=512, help="training images")
    parser.add_argument("--test_count", type=turns.positive, default=32, help="test images")
    parser.add_argument("--quick", action="store_true", help="a few steps of one way, to see that it runs")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        vars(arguments).update(QUICK)
    say(turns.head("way", *(f"seed {seed}" for seed in range(arguments.seeds)), "mean", "spread", "agrees"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = ("--count", str(arguments.count), "--test_count", str(arguments.test_count))
        prepare = str(ROOT / "datasets" / "prepare.py")
        turns.run([sys.executable, prepare, "shapes", "--out", "shapes", *size], folder)
        first: list[float] = []
        for way in arguments.ways:
            distances = [validation_l1(folder, way, seed, arguments.epochs) for seed in range(arguments.seeds)]
            first = first or distances
            spread = max(distances) - min(distances)
            shown = [f"{distance:.4f}" for distance in (*distances, statistics.mean(distances), spread)]
            say(turns.row([way, *shown, verdict(distances, first)]))


if __name__ == "__main__":
    main()
