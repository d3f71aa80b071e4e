"""The one kind of error that a command answers in a single line."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from i2i.streams import READER_GONE, open_missing_streams, reader_is_gone, silence_broken_streams

SURROUNDINGS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}  # a full disk and the like, wherever it shows


class UserError(ValueError):
    """Something that the user got wrong; the message names the value, the choices and the way out.

    The commands print it as one line and end with exit code 2. Every other exception is a bug and keeps its traceback.
    """


@contextmanager
def file_errors(option: str, path: str | Path = "") -> Iterator[None]:
    """Raise `UserError` in place of an `OSError`; the message names `option`, the file (else `path`) and the reason.

    `option` is the flag that chooses the file or its folder, such as "--results_dir".
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        name = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else path
        place = os.fsdecode(name)
        reason = error.strerror or str(error)
        raise UserError(f"{option}: {place}: {reason}" if place else f"{option}: {reason}") from error


def end(program: str, message: str, code: int = 2) -> NoReturn:
    """End the program with `message` as one line on stderr."""
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def ending(program: str, verbose: bool = False, way_on: Callable[[], str] = str) -> Iterator[None]:
    """Run a command: one line and exit code 2 for a `UserError`.

    Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 stop it as an exception does, so that nothing stays half written; the exit code
    is 128 and the signal's number, 130 for Ctrl-C, and the line ends with what `way_on` says on how to go on.

    Nothing is printed, and the exit code is 141, if nobody reads stdout any more (`| head`). Any other exception is a
    bug: its traceback is printed with a last line on reporting it, and the exit code is 1. `verbose` prints the
    traceback of a `UserError` too. A standard stream that is closed leads to the null device from here on.
    """
    open_missing_streams()
    try:
        with _terminable(), _in_one_line(program, verbose, way_on):
            yield
    except BrokenPipeError:  # of the line above, on stderr
        if not reader_is_gone():
            raise
        raise SystemExit(READER_GONE) from None
    finally:
        silence_broken_streams()


@contextmanager
def _in_one_line(program: str, verbose: bool, way_on: Callable[[], str]) -> Iterator[None]:
    try:
        with _flushed():
            yield
    except UserError as error:
        if verbose:
            traceback.print_exc()
        end(program, str(error))
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Terminated) else signal.SIGINT
        how = f"stopped by {number.name}" if isinstance(error, Terminated) else "interrupted"
        print("; ".join(filter(None, (f"{program}: {how}", way_on()))), file=sys.stderr)
        raise SystemExit(128 + number) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            raise
        if isinstance(error, OSError) and error.errno in SURROUNDINGS:
            end(program, f"{error.filename or 'standard output'}: {error.strerror}")
        traceback.print_exc()
        report = "if it is in i2i, report it with the command and the traceback above"
        end(program, f"unexpected {type(error).__name__}: a bug in i2i or in your own code; {report}", code=1)


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C (SIGTERM, SIGHUP or SIGUSR1) asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = signal.Signals(number)


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `Terminated` for the signals that end programs, unless they are ignored, as under nohup, or handled."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()  # Python allows handlers there alone
    own = [number for number in numbers if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in own:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


@contextmanager
def _flushed() -> Iterator[None]:
    """Flush stdout at the end, where an error can still be told, unlike at the end of the interpreter."""
    try:
        yield
    finally:
        with file_errors("standard output"):
            sys.stdout.flush()
