"""The standard streams of a command: where one is missing or nobody reads it any more."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from typing import Any, Protocol, TextIO, cast

READER_GONE = 141  # exit code, as of a program that SIGPIPE ends


class HasFile(Protocol):
    """A stream or a connection."""

    def fileno(self) -> int: ...


class Lasting:
    """A text stream whose output is dropped, without an error, once it cannot be written any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush what can be written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        if error.errno in (errno.EPIPE, errno.EIO):  # for good: the pipe's reader, or the terminal, is gone
            _to_null(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_missing_streams() -> None:
    """Let a standard stream that is closed (`2>&-`, pythonw, a service) lead to the null device."""
    with contextlib.suppress(OSError):
        # Else the next file that is opened would get the number 1 or 2, and what libraries print would go into it.
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(opened, True)
        os.close(opened)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def outlast_readers() -> None:
    """Let the command go on when nobody reads its stdout or stderr any more, or their disk is full."""
    open_missing_streams()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Lasting):
            setattr(sys, name, cast(TextIO, Lasting(stream)))


def reader_is_gone() -> bool:
    """Return whether stdout or stderr is a pipe that nobody reads any more."""
    return any(is_broken(stream) for stream in (sys.stdout, sys.stderr))


def silence_broken_streams() -> None:
    """Drop what is still to be written to a pipe that nobody reads, which would fail at the interpreter's end."""
    for stream in (sys.stdout, sys.stderr):
        if is_broken(stream):
            _to_null(stream)


def is_broken(stream: HasFile) -> bool:
    """Return whether `stream` is a pipe that nobody reads any more."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # a stream without a file, as of a test
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _to_null(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
