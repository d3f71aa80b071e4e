"""UserError, and how commands end: one line for bad input, a traceback for a bug."""

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

SURROUNDINGS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
}  # a full disk and the like


class UserError(ValueError):
    """Bad input by the user; the message names the value, the choices and the way out.

    Commands print it as one line and end with exit code 2. Every other exception is a bug and keeps its traceback.
    """


@contextmanager
def file_errors(option: str, path: str | Path = "") -> Iterator[None]:
    """Turn an OSError into a UserError that names `option`, the file (or else `path`) and the reason.

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
def ending(
    program: str, verbose: bool = False, way_on: Callable[[], str] = str, help_hint: bool = False
) -> Iterator[None]:
    """Run a command and end it properly.

    - UserError: one line, exit code 2; with its traceback if `verbose`, with a hint at --help if `help_hint`.
    - Ctrl-C, SIGTERM, SIGHUP, SIGUSR1: raised as an exception, so that nothing stays half written; one line that ends
      with `way_on()`, exit code 128 + signal number.
    - Nobody reads stdout any more (`| head`): no message, exit code 141.
    - Any other exception is a bug: its traceback and a line on reporting it, exit code 1.

    A standard stream that is closed is opened to the null device.
    """
    open_missing_streams()
    try:
        with _terminable(), _in_one_line(program, verbose, way_on, help_hint):
            yield
    except BrokenPipeError:  # of the line above, on stderr
        if not reader_is_gone():
            raise
        raise SystemExit(READER_GONE) from None
    finally:
        silence_broken_streams()


@contextmanager
def _in_one_line(program: str, verbose: bool, way_on: Callable[[], str], help_hint: bool) -> Iterator[None]:
    try:
        with _flushed():
            yield
    except UserError as error:
        if verbose:
            traceback.print_exc()
        end(program, f"{error} (--help lists the options)" if help_hint else str(error))
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
    """Raise `Terminated` for the signals that end programs, unless they are handled, or ignored as under nohup."""
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
    """Flush stdout at the end, while an error can still be reported."""
    try:
        yield
    finally:
        with file_errors("standard output"):
            sys.stdout.flush()
