"""The board that keeps a run's report up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from torch import Tensor

from i2i.records import replace_text
from i2i.watch.boards.board import Board, Example, Finding, Progress
from i2i.watch.report.page import build_report
from i2i.watch.report.pictures import PictureStore

SHARE = 0.005  # of the time of a run that writing its report takes at most


class ReportBoard(Board):
    """Writes `report.html` into a run's folder, from what FileBoard has put there: that one has to come first.

    The page is written anew when something happens, but rarely enough to take no more than a two-hundredth of the
    time, and at the end.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder, self._pictures, self._next = Path(folder), PictureStore(), 0.0

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Write the page if it is time."""
        self._write_if_due()

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Write the page if it is time."""
        self._write_if_due()

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Write the page if it is time."""
        self._write_if_due()

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Write the page if it is time."""
        self._write_if_due()

    def close(self) -> None:
        """Write the page as it stays."""
        self._write(closed=True)

    def _write_if_due(self) -> None:
        if monotonic() >= self._next:
            self._write(closed=False)

    def _write(self, closed: bool) -> None:
        started = monotonic()
        page = build_report([self._folder], pictures=self._pictures, closed=closed)
        replace_text(self._folder / "report.html", page)
        ended = monotonic()
        self._next = ended + (ended - started) / SHARE
