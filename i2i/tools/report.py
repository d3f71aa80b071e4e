"""`python -m i2i.report RUN [RUN ...]`: the page of a run from its files, or one that compares several."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from i2i.config import OptionParser, expanded_path, from_values, option
from i2i.errors import UserError, file_errors
from i2i.metrics.card import Card
from i2i.records import replace_text
from i2i.watch.report import build_report


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Options of where to look for runs, what to show beside them, and where to write the page."""

    checkpoints_dir: str = option("./checkpoints", "where a RUN that is no run's folder is looked for", path=True)
    cards: tuple[str, ...] | None = option(
        None,
        "metrics cards to show, the JSON files that test.py --metrics writes (default: of one RUN results/RUN/*)",
        path=True,
    )
    pictures: bool = option(
        True, "show samples and examples; without them the page may be passed on where images may not"
    )
    output: str | None = option(
        None,
        "the page (default: report.html in the RUN, for several reports/compare.html; without pictures "
        "report_without_pictures.html, compare_without_pictures.html)",
        aliases=("--html",),
        path=True,
    )

    def shown_cards(self, runs: Sequence[Path]) -> list[Path]:
        """The files of the cards: those asked for, or those that test.py has written on a single run."""
        if self.cards is not None or len(runs) > 1:
            return [Path(card) for card in self.cards or ()]
        return sorted((Path("results") / runs[0].resolve().name).glob("*/card.json"))

    def page(self, runs: Sequence[Path]) -> Path:
        """The file that the report on `runs` goes to: without pictures another one, as training rewrites the first."""
        if self.output is not None:
            return Path(self.output)
        name = ("report" if len(runs) == 1 else "compare") + ("" if self.pictures else "_without_pictures")
        return (runs[0] if len(runs) == 1 else Path("reports")) / f"{name}.html"


def main() -> int:
    """Write the page, print where it is, and give the exit code: 0, or 2 for what is wrong with the options."""
    parser = _parser()
    with parser.one_line():
        given = parser.given(sys.argv[1:])
        config: ReportConfig = from_values(ReportConfig, parser.defaults | given)
        runs = [find_recorded(run, config.checkpoints_dir) for run in given["run"]]
        page = config.page(runs)
        cards = [Card.load(card).as_dict() for card in config.shown_cards(runs)]
        html = build_report(runs, cards=cards, with_pictures=config.pictures)
        with file_errors("--output", page):
            page.parent.mkdir(parents=True, exist_ok=True)
            replace_text(page, html)
        print(page)
    return 0


def find_recorded(run: str, checkpoints_dir: str) -> Path:
    """The folder of a run that has recorded something: `run` itself, or the one of that name in `checkpoints_dir`.

    Raises:
        ValueError: if neither holds a metrics.jsonl; names the runs that do.
    """
    with file_errors("RUN", run):  # a name that the system refuses
        for folder in (Path(run), Path(checkpoints_dir) / run):
            if (folder / "metrics.jsonl").is_file():
                return folder
    known = ", ".join(sorted(path.parent.name for path in Path(checkpoints_dir).glob("*/metrics.jsonl"))) or "none"
    raise UserError(f"{run!r} is no run's folder, nor a run in {checkpoints_dir}; runs there: {known}")


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m i2i.report",
        description="Writes the page of a run from the files in its folder, or of several runs one that compares them.",
    )
    parser.usage = "%(prog)s RUN [RUN ...] [options]"
    parser.add_argument(
        "run", type=expanded_path, metavar="RUN", nargs="+", help="a run's folder, or its name below --checkpoints_dir"
    )
    parser.add_options("report", ReportConfig)
    return parser


def run_command() -> int:
    """Run as a process of its own: settings of the process, then `main`."""
    return main()


if __name__ == "__main__":
    raise SystemExit(run_command())
