"""The interface of a board, and the group of boards that a run reports to."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from i2i.training.observer import Finding, Progress

logger = logging.getLogger(__name__)

REST = 60.0  # seconds, at least, for which a board that raised is left alone


class Example(NamedTuple):
    """An image that was validated on: its name, its figures, and pictures (C, H, W), float on the CPU in [-1, 1]."""

    name: str
    figures: dict[str, float]
    pictures: dict[str, Tensor]


class Board:
    """Something that shows a run: files, a server, a window."""

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Record named numbers; a value may be infinite or not a number. Those of a validation begin with `val_`."""

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Record named batches (N, C, H, W), float on the CPU in [-1, 1]."""

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Record what the doctor has found just now."""

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Record the images on which a validation did best and worst, in that order, by `metric`."""

    def close(self) -> None:
        """Finish what is pending; nothing is recorded afterwards."""


class Boards:
    """Several boards as one; a board that raises never stops the run, nor takes more than a hundredth of its time.

    It is warned of once, and left alone for a while: a disk that was full may have room again.
    """

    def __init__(self, boards: Iterable[Board]) -> None:
        self._boards = list(boards)
        self._resting: dict[Board, float] = {}  # those that have raised, and until when they rest

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Hand the numbers to every board."""
        self._each(lambda board: board.scalars(progress, values))

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Hand the pictures to every board."""
        self._each(lambda board: board.images(progress, pictures))

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Hand what was found to every board."""
        self._each(lambda board: board.findings(progress, findings))

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Hand the best and worst images of a validation to every board."""
        self._each(lambda board: board.examples(progress, metric, best, worst))

    def close(self) -> None:
        """Close every board."""
        self._resting = dict.fromkeys(self._resting, 0.0)
        self._each(lambda board: board.close())

    def _each(self, report: Callable[[Board], None]) -> None:
        for board in self._boards:
            started = time.monotonic()
            if started < self._resting.get(board, 0.0):
                continue
            try:
                report(board)
            except Exception as error:
                if board not in self._resting:
                    reason = " ".join(f"{type(error).__name__}: {error}".split())
                    logger.warning("%s failed, the run goes on without it for now: %s", type(board).__name__, reason)
                ended = time.monotonic()
                self._resting[board] = ended + max(REST, 100 * (ended - started))
