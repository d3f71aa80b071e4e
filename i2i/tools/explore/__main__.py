"""The command line: `python -m i2i.explore COMMAND RUN`; --help lists the commands, COMMAND --help its options."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from i2i.config import OptionParser, from_values
from i2i.process import keep_freed_memory
from i2i.tools.explore.directions import DirectionsConfig, directions
from i2i.tools.explore.export import ExportConfig, export
from i2i.tools.explore.interpolation import InterpolationConfig, interpolate
from i2i.tools.explore.sampler import SourceConfig

PROGRAM = "python -m i2i.explore"


class Command(NamedTuple):
    """A command: its description, the dataclass of its options, and its function."""

    description: str
    config: type
    run: Callable[[SourceConfig, Any], str]


COMMANDS = {
    "interpolate": Command(
        "Draws the images between two, of one class or of two: a strip, a GIF and an MP4.",
        InterpolationConfig,
        interpolate,
    ),
    "directions": Command(
        "Finds directions of the latents that change images most, or that change an attribute, and draws along them.",
        DirectionsConfig,
        directions,
    ),
    "export": Command(
        "Writes generated images as the class folders of a data set. To train on real images as well, copy or link "
        "theirs into the same class folders.",
        ExportConfig,
        export,
    ),
}


def main() -> int:
    """Do what the command says, and give the exit code: 0, or 2 for options that are wrong."""
    name, *tokens = sys.argv[1:] or ["--help"]
    if name not in COMMANDS:
        overview = _overview()
        with overview.one_line():
            if name.startswith("-"):
                overview.given([name])
            overview.error(f"{name!r} is no command: choose from {', '.join(COMMANDS)}")
    command, parser = COMMANDS[name], _parser(name)
    with parser.one_line():
        values = parser.defaults | parser.given(_with_flag(tokens))
        print(command.run(from_values(SourceConfig, values), from_values(command.config, values)))
    return 0


def _overview() -> OptionParser:
    lines = [f"  {PROGRAM} {name} RUN [options]\n      {command.description}" for name, command in COMMANDS.items()]
    parser = OptionParser(prog=PROGRAM, description="Looks into what a class-conditional run has learned.")
    parser.usage = "\n".join(["%(prog)s COMMAND RUN [options]", *lines, "  COMMAND --help lists its options."])
    return parser


def _parser(name: str) -> OptionParser:
    parser = OptionParser(prog=f"{PROGRAM} {name}", description=COMMANDS[name].description)
    parser.usage = "%(prog)s RUN [options]"
    parser.add_options("run", SourceConfig)
    parser.add_options(name, COMMANDS[name].config)
    return parser


def _with_flag(tokens: list[str]) -> list[str]:
    """RUN may come first, without its flag."""
    return ["--run", *tokens] if tokens and not tokens[0].startswith("-") else tokens


def run_command() -> int:
    """Run as a process of its own: settings of the process, then `main`."""
    keep_freed_memory()
    logging.getLogger("i2i").setLevel(logging.ERROR)  # how networks are made faster is of no interest here
    return main()


if __name__ == "__main__":
    raise SystemExit(run_command())
