"""How long a folder takes to translate, beside the textbook's: `python benchmarks/translate.py`; see --help.

A column is a program, words joined by +:

    textbook                    the reference implementation's way, written plainly (textbook.py)
    auto fp32 tf32 bf16 fp16    test.py in this precision, and all else as it chooses by itself
    compile, two, eval          with --compile on, --processes 2, --eval

Whole processes from start to end, one after the other, A B C A B C: times are medians, ratios medians of the turns'
ratios to the first column. All read the same JPEG files and the same weights and write the same pictures, which is
checked. Memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import turns
from turns import MIB, Taken, say

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"resnet_9blocks": "cyclegan", "unet_256": "pix2pix"}
PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
ARGUMENTS = {precision: ("--precision", precision) for precision in PRECISIONS} | {
    "compile": ("--compile", "on"),
    "two": ("--processes", "2"),
    "eval": ("--eval",),
}
TITLES = ("generator", "column", "s", "images/s", "peak MiB", "of the first's", "speed to it")
LABELS = ("real_A", "fake_B")
NEAR = 2  # levels of 256: the textbook cuts off what i2i rounds


def prepare(folder: Path, generators: Sequence[str], size: int, count: int, photos: str | None) -> None:
    """Write the images, and a file of random weights for every generator."""
    import torch
    from data import write_images
    from textbook_networks import GENERATORS, initialize

    (folder / "images").mkdir()
    write_images(folder / "images", "jpg", size, count, photos)
    for name in generators:
        torch.manual_seed(0)
        generator = GENERATORS[name]()
        initialize(generator)
        (folder / name).mkdir()
        torch.save(generator.state_dict(), folder / name / "latest_net_G.pth")


def command(generator: str, column: str, folder: Path, size: int, device: str) -> list[str | Path]:
    """What translates the images of `folder` into `results` of it."""
    weights, images, results = folder / generator / "latest_net_G.pth", folder / "images", results_of(generator, column)
    if column == "textbook":
        program = Path(__file__).with_name("textbook.py")
        return [sys.executable, program, generator, weights, images, results, str(size), device]
    options = [word for name in column.split("+") for word in ARGUMENTS[name]]
    what = ("--model", MODELS[generator], "--reference_weights", weights, "--input", images, "--device", device)
    return [sys.executable, ROOT / "test.py", *what, "--results_dir", results, *options]


def results_of(generator: str, column: str) -> Path:
    """Where a column puts its pictures, below the folder of all."""
    return Path("results") / generator / column


def check(folder: Path, other: Path, count: int, alike: bool) -> None:
    """Compare the pictures of two columns.

    Raises:
        SystemExit: if these are not the same number of pictures of the same sizes, or, where they should be `alike`,
            differ by more than rounding.
    """
    import numpy as np
    from PIL import Image

    for label in LABELS:
        files, others = (sorted(place.rglob(f"*_{label}.png"), key=lambda file: file.name) for place in (folder, other))
        if [file.name for file in files] != [file.name for file in others] or len(files) != count:
            raise SystemExit(f"{folder} and {other} do not hold the same {count} pictures *_{label}.png")
        for file, another in zip(files, others, strict=True):
            one, two = (np.asarray(Image.open(path)).astype(int) for path in (file, another))
            if one.shape != two.shape or (alike and np.abs(one - two).max() > NEAR):
                raise SystemExit(f"{another} is not the picture {file}")


def table(generator: str, names: Sequence[str], folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The rows of a generator."""
    common = (folder, arguments.size, arguments.device)
    actions = {name: partial(turns.run, command(generator, name, *common), folder) for name in names}
    taken = turns.take_turns(actions, arguments.turns)
    first, *others = (folder / results_of(generator, name) for name in names)
    for name, other in zip(names[1:], others, strict=True):
        # Dropout draws other numbers in the one than in the other, and half precision rounds more.
        alike = generator.startswith("resnet") and {"fp32", "eval"} & set(name.split("+"))
        turns.in_own_process(check, first, other, arguments.count, bool(alike))
    return [generator_row(generator, name, taken, arguments.count) for name in names]


def generator_row(generator: str, name: str, taken: dict[str, list[Taken]], count: int) -> str:
    """One column of a generator as a row of the table."""
    own, first = taken[name], next(iter(taken.values()))
    seconds, memory = turns.median_seconds(own), turns.peak(own)
    cells = (generator, name, f"{seconds:.1f}", f"{count / seconds:.1f}", f"{memory / MIB:,.0f}")
    return turns.row((*cells, f"{memory / turns.peak(first):.2f}", f"{turns.speed_ratio(own, first):.2f}"))


def column_name(text: str) -> str:
    """A column's name, if its words are known."""
    if unknown := [word for word in text.split("+") if word not in ("textbook", *ARGUMENTS)]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of textbook, {', '.join(ARGUMENTS)}")
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--columns", nargs="+", type=column_name, default=["textbook", "fp32", "bf16"])
    parser.add_argument("--images", metavar="FOLDER", help="photographs to make the files of (default: drawn noise)")
    parser.add_argument("--count", type=turns.positive, default=100, help="JPEG files")
    parser.add_argument("--size", type=turns.positive, default=256, help="their width and height")
    parser.add_argument("--turns", type=turns.positive, default=3)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        what = (arguments.generators, arguments.size, arguments.count, arguments.images)
        turns.in_own_process(prepare, folder, *what)
        say(turns.head(*TITLES))
        for generator in arguments.generators:
            for line in table(generator, arguments.columns, folder, arguments):
                say(line)


if __name__ == "__main__":
    main()
