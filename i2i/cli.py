"""The console command `i2i`: train, test, check, evaluate, explore, report, digits, from any folder."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from i2i.process import limit_spinning

PROGRAMS = {"train": "train a model on a folder of images", "test": "translate images with a trained run"}
TOOLS = {
    "check": ("i2i.tools.check.__main__", "check a data set before training"),
    "evaluate": ("i2i.tools.evaluate", "compute metrics of folders of images"),
    "explore": ("i2i.tools.explore.__main__", "interpolate in and edit the latents of a class-conditional run"),
    "report": ("i2i.tools.report", "write the page of a run, or one that compares several"),
    "digits": ("i2i.tools.digits.__main__", "judge a class-conditional run by a classifier"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return 0
    limit_spinning()  # before the first import of torch
    if name in PROGRAMS:
        sys.path.insert(0, str(programs_folder()))
        module, function = name, "main"
    elif name in TOOLS:
        module, function = TOOLS[name][0], "run_command"
    else:
        print(f"i2i: error: unknown command {name!r}: choose from {', '.join((*PROGRAMS, *TOOLS))}", file=sys.stderr)
        return 2
    sys.argv = [f"i2i {name}", *words[1:]]
    return int(getattr(importlib.import_module(module), function)() or 0)


def usage() -> str:
    """Return the help of the command."""
    about = PROGRAMS | {name: text for name, (_, text) in TOOLS.items()}
    lines = [f"  {name:10}{text}" for name, text in about.items()]
    return "\n".join(["usage: i2i COMMAND [options]", "", *lines, "", "i2i COMMAND --help lists the options."])


def programs_folder() -> Path:
    """Return the folder of train.py, test.py and options/: the checkout, or where they were installed.

    Raises:
        FileNotFoundError: if the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    installed = "share/i2i-gan"
    places = (package.parent, package.parent / installed, Path(sysconfig.get_path("data")) / installed)
    for folder in places:
        if (folder / "train.py").is_file() and (folder / "options" / "train_options.py").is_file():
            return folder
    raise FileNotFoundError(
        f"train.py and options/ are in none of {', '.join(map(str, places))}: install i2i-gan again"
    )


if __name__ == "__main__":
    raise SystemExit(main())
