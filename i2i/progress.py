"""Show the progress of a command: a bar on a terminal, plain lines elsewhere, nothing without a stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TextIO, TypeVar

from tqdm import tqdm

SECONDS = 30.0  # between two lines, at least
SHARE = 0.1  # of the work between two lines, at least

T = TypeVar("T")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal; None, a missing stream, is none."""
    return stream is not None and not stream.closed and stream.isatty()


class Meter:
    """Shows on stderr how much of `total` is done, of which None is not known yet; a context manager.

    `about` stands ahead of the figures, `unit` is the singular of what is counted.
    """

    def __init__(self, total: int | None, unit: str = "image", about: str = "", leave: bool = False) -> None:
        self.total, self.unit, self.about, self.done, self.skipped = total, unit, about, 0, 0
        self._bar: tqdm | None = None
        if is_terminal(sys.stderr):
            self._bar = tqdm(desc=about or None, total=total, unit=unit, leave=leave, file=sys.stderr)
        self._started = self._told_at = time.monotonic()
        self._told = 0

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int = 1, skipped: int = 0) -> None:
        """Count more as done, of which `skipped` took no time."""
        self.done, self.skipped = self.done + count, self.skipped + skipped
        if self._bar is not None:
            self._bar.total, self._bar.initial = self.total, self.skipped
            self._bar.update(count)
        elif sys.stderr is not None and self._is_due():
            print(self.line(), file=sys.stderr, flush=True)
            self._told_at, self._told = time.monotonic(), self.done

    def _is_due(self) -> bool:
        return time.monotonic() - self._told_at >= SECONDS and self.done - self._told >= SHARE * (self.total or 0)

    def line(self) -> str:
        """Return what is done, the rate, and the time that is left, in words."""
        seconds = time.monotonic() - self._started
        rate = (self.done - self.skipped) / max(seconds, 1e-9)
        speed = f"{rate:.3g} {self.unit}s/s" if rate >= 1 or not rate else f"{1 / rate:.3g} s/{self.unit}"
        about = f"{self.about}: " if self.about else ""
        if not self.total:
            return f"{about}{self.done:,} {self.unit}s, {speed}"
        left = tqdm.format_interval((self.total - self.done) / rate) + " left" if rate else "time left unknown"
        return f"{about}{self.done:,} of {self.total:,} {self.unit}s, {self.done / self.total:.0%}, {speed}, {left}"


def shown(items: Iterable[T], unit: str, about: str = "", total: int | None = None) -> Iterator[T]:
    """Yield `items` while a `Meter` counts them."""
    count = len(items) if total is None and isinstance(items, Sized) else total
    with Meter(count, unit, about) as meter:
        for item in items:
            yield item
            meter.update()
