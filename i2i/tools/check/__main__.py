"""The command line: `python -m i2i.check DATAROOT`; --help lists the options."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from i2i.config import OptionParser, check_range, expanded_path, from_values
from i2i.data import DataConfig
from i2i.errors import UserError, file_errors
from i2i.process import silence_libraries
from i2i.progress import Meter
from i2i.tools.check import check


def main() -> int:
    """Look, report, and give the exit code: 0, 1 if training would fail, 2 for options that are wrong."""
    parser = _parser()
    with parser.one_line():
        given = parser.given(_with_flag(sys.argv[1:]))
        for name, least in (("workers", 0), ("samples", 1)):
            check_range(name, given.get(name), least)
        for name in ("json", "html"):  # not when all is scanned
            if name in given and not Path(given[name]).absolute().parent.is_dir():
                raise UserError(f"--{name} {given[name]}: there is no such folder")
        if "conditions" in given:
            given.setdefault("dataset_mode", "aligned")  # as no other has any
        config = from_values(DataConfig, parser.defaults | given)
        with Meter(None, "sample", "looking") as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.done)

            workers = given.get("workers", _cores())
            report = check(config, workers, given.get("samples"), "dataset_mode" not in given, progress)
        print(report.text())
        if "json" in given:
            with file_errors("--json", given["json"]):
                Path(given["json"]).write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
        if "html" in given:
            from i2i.tools.check.page import write_page

            with file_errors("--html", given["html"]):
                write_page(report, Path(given["html"]))
    return 1 if report.fails else 0


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m i2i.check",
        description="Looks at a data set before it is trained on: python -m i2i.check DATAROOT [options].",
        epilog="Exit code: 0, or 1 if training would fail with these options, or 2 for options that are wrong.",
    )
    parser.add_argument("--json", type=expanded_path, metavar="FILE", help="write all that was found to this file")
    parser.add_argument(
        "--html", type=expanded_path, metavar="FILE", help="write a page with pictures of what is suspicious"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes; 0: this one (default: one for each core)")
    parser.add_argument("--samples", type=int, metavar="N", help="decode so many, and read the headers of the rest")
    parser.add_options("data", DataConfig, shown={"dataset_mode": "the one that fits"})
    return parser


def _with_flag(argv: list[str]) -> list[str]:
    """DATAROOT may come first, without its flag."""
    return ["--dataroot", *argv] if argv and not argv[0].startswith("-") else argv


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_command() -> int:
    """Run as a process of its own: settings of the process, then `main`."""
    silence_libraries()
    logging.getLogger("i2i").setLevel(logging.ERROR)  # what it warns of is in the report
    return main()


if __name__ == "__main__":
    raise SystemExit(run_command())
