"""Command lines whose complaints are one line, with exit code 2."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def run(main: Callable[[], None]) -> None:
    """Run a command line; end quietly, with exit code 141, where nobody reads its output any more (`| head`)."""
    try:
        main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        raise SystemExit(141) from None


def folder(text: str) -> Path:
    """An argparse type: a path whose `~` is expanded."""
    return Path(os.path.expanduser(text))


def bounded(kind: type, low: float, high: float = float("inf")) -> Callable[[str], Any]:
    """An argparse type: a number of the given kind within [low, high]."""

    bounds = f"at least {low}" if high == float("inf") else f"from {low} to {high}"

    def parse(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is out of range: give a number {bounds}")
        return value

    parse.__name__ = kind.__name__  # argparse names the type by it: "invalid int value"
    return parse
