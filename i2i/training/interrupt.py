"""Ctrl-C and other signals as a request: the step under way is finished first."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

from i2i.errors import Terminated

log = logging.getLogger(__name__)


# Ctrl-C, `kill` and a container's end, a closed terminal, Slurm's warning ahead of the time limit. Windows lacks some.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Interruption:
    """Within this context the first signal of `NAMES` sets `requested` and `number`; a second one interrupts at once.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
    """

    def __init__(self) -> None:
        self.requested, self.number = False, 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers there alone
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        self.requested, self.number = True, number
        log.warning("stopping after this step; once more stops at once")

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
