"""The one kind of error that a command answers in a single line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


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
        place = os.fspath(error.filename or path)
        reason = error.strerror or str(error)
        raise UserError(f"{option}: {place}: {reason}" if place else f"{option}: {reason}") from error


def end(program: str, message: str, code: int = 2) -> NoReturn:
    """End the program with `message` as one line on stderr."""
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def ending(program: str, verbose: bool = False) -> Iterator[None]:
    """Run a command: one line and exit code 2 for a `UserError`, exit code 130 for Ctrl-C.

    Any other exception is a bug: its traceback is printed with a last line on reporting it, and the exit code is 1.
    `verbose` prints the traceback of a `UserError` too.
    """
    try:
        yield
    except (UserError, OSError) as error:
        if verbose:
            traceback.print_exc()
        end(program, str(error))
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        traceback.print_exc()
        end(program, f"{type(error).__name__} is a bug, not bad input: report the traceback above with the command", 1)
