"""Make or fetch a data set: `python datasets/prepare.py NAME`, by default into the folder NAME beside this file."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folders
from command_line import Parser, bounded, folder, run
from digits import write_digits
from download import write_source
from shapes import write_shapes
from sources import SOURCES, print_table


def build_parser() -> Parser:
    """The command line: a subcommand for every data set, and `list`."""
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    commands.add_parser("list", help="print the table of data sets that can be fetched")
    shapes = _add_dataset(commands, "shapes", "draw a procedural set: paired, unpaired, with ground truth")
    shapes.add_argument("--size", type=bounded(int, 16), default=64, help="height and width in pixels")
    shapes.add_argument("--count", type=bounded(int, 1), default=512, help="training images")
    shapes.add_argument("--test_count", type=bounded(int, 1), default=32, help="test images")
    shapes.add_argument("--seed", type=bounded(int, 0), default=0)
    digits = _add_dataset(commands, "digits", "5,000 handwritten digits as class folders, without a download")
    digits.add_argument("--test_fraction", type=bounded(float, 0.01, 0.99), default=0.1, help="share of test images")
    digits.add_argument("--seed", type=bounded(int, 0), default=0)
    for name, source in SOURCES.items():
        fetched = _add_dataset(commands, name, f"{source.about} ({source.size}; {source.terms})")
        fetched.add_argument("--any_checksum", action="store_true", help="accept what is not the archive known so far")
    return parser


def _add_dataset(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, formatter_class=formatter
    )
    default = Path(__file__).resolve().parent / name
    parser.add_argument("--out", type=folder, metavar="DIR", default=default, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that was made differently")
    return parser


def find_writer(name: str, options: dict[str, Any], downloads: Path, any_checksum: bool) -> Callable[[Path], None]:
    """The function that fills an empty folder with the data set."""
    if name == "shapes":
        return lambda folder: write_shapes(folder, **options)
    if name == "digits":
        return lambda folder: write_digits(folder, **options)
    return lambda folder: write_source(SOURCES[name], folder, downloads, any_checksum)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; wrong input ends in one line and exit code 2."""
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    name = options.pop("name")
    if name == "list":
        print_table()
        return
    out, overwrite = options.pop("out").resolve(), options.pop("overwrite")
    any_checksum = options.pop("any_checksum", False)
    write = find_writer(name, options, out.with_name(out.name + ".download"), any_checksum)
    try:
        made = folders.fill(out, {"name": name, **options}, write, overwrite)
    except (ValueError, OSError) as error:
        parser.error(f"{name}: {error}")
    print(f"{out}: {'ready' if made else 'already there'}")


if __name__ == "__main__":
    run(main)
