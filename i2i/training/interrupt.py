"""Signals as a request to stop: the current step is finished first."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

from i2i.errors import Terminated

log = logging.getLogger(__name__)


# Ctrl-C, `kill` or the end of a container, a closed terminal, Slurm's warning before the time limit.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Interruption:
    """A context in which the first signal of NAMES sets `requested` and `number`; a second one interrupts at once.

    Signals that are ignored, as SIGHUP is under nohup, stay ignored.
    """

    def __init__(self) -> None:
        self.requested, self.number = False, 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # only there Python allows handlers
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        self.requested, self.number = True, number
        log.warning("stopping after this step; a second signal stops at once")

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
