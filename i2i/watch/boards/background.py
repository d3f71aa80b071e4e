"""A board that may be slow, hang or fail, worked in a thread of its own so that training never waits for it."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from torch import Tensor

from i2i.watch.boards.board import Board, Example, Finding, Progress

logger = logging.getLogger(__name__)

QUEUE_LENGTH = 1000
MAX_PICTURES = 8  # events with pictures that wait at once, since each may hold many megabytes
CLOSE_TIMEOUT = 5.0  # seconds that the end of a run waits for what is still to be shown


class Background(Board):
    """Hand everything to the board that `open` makes, both in a thread of its own; every call returns at once.

    What comes faster than the board takes it is dropped. Where its package is missing (`install` says how to get it) or
    it raises, one warning is logged under `title` and the board falls silent. Closing waits `close_timeout` seconds at
    most.
    """

    def __init__(
        self, title: str, open: Callable[[], Board], install: str, close_timeout: float = CLOSE_TIMEOUT
    ) -> None:
        self._title, self._open, self._install, self._close_timeout = title, open, install, close_timeout
        self._events: queue.Queue[Callable[[Board], None] | None] = queue.Queue(QUEUE_LENGTH)
        self._pictures = threading.Semaphore(MAX_PICTURES)
        self._dropped = False
        self._thread = threading.Thread(target=self._work, name=title, daemon=True)
        self._thread.start()

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Queue the numbers."""
        self._put(lambda board: board.scalars(progress, values))

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Queue the batches."""
        self._put_pictures(lambda board: board.images(progress, pictures))

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Queue what was found."""
        self._put(lambda board: board.findings(progress, findings))

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Queue the best and worst images."""
        self._put_pictures(lambda board: board.examples(progress, metric, best, worst))

    def close(self) -> None:
        """Show what is queued, for at most a few seconds."""
        deadline = time.monotonic() + self._close_timeout
        while self._thread.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Full):
                self._events.put(None, timeout=0.1)
                break
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            logger.warning("%s does not come to an end; what it has not shown yet is left out", self._title)

    def _put_pictures(self, event: Callable[[Board], None]) -> None:
        def show(board: Board) -> None:
            self._pictures.release()
            event(board)

        if not self._pictures.acquire(blocking=False):
            self._drop()
        elif not self._put(show):
            self._pictures.release()

    def _put(self, event: Callable[[Board], None]) -> bool:
        if not self._thread.is_alive():
            return False
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        if self._thread.is_alive() and not self._dropped:
            self._dropped = True
            logger.warning("%s is slower than the run; what it cannot take in time is left out", self._title)

    def _work(self) -> None:
        try:
            board = self._open()
            while (event := self._events.get()) is not None:
                event(board)
            board.close()
        except ImportError as error:
            reason = " ".join(str(error).split())
            logger.warning("%s: %s; the run goes on without it; to install it: %s", self._title, reason, self._install)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            logger.warning("%s failed, the run goes on without it: %s", self._title, reason)
