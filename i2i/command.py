"""Shared by train and test: logging, and one line for every foreseeable error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from i2i.data.workers import worker_failure
from i2i.errors import UserError, end, ending
from i2i.training.nonfinite import Diverged

# What CUDA, cuDNN, torch on the CPU (on Linux, on Windows), and the C++ library say when memory runs out.
MEMORY_ERRORS = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory", "bad_alloc")


class LineHandler(logging.Handler):
    """Prints log records above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def log_to_stderr(program: str) -> None:
    """Print log records from level INFO on stderr, each after the name of the program."""
    logging.basicConfig(level=logging.INFO, format=f"{program}: %(message)s", handlers=[LineHandler()])


def invocation(program: str) -> list[str]:
    """Return the words that start `program`, such as "train.py", as it was started: by Python or by `i2i`."""
    if sys.argv[0].startswith("i2i "):
        return sys.argv[0].split()
    return ["python", sys.argv[0] if sys.argv[0].endswith(program) else program]


@contextmanager
def command(
    program: str, verbose: bool = False, way_on: Callable[[], str] = str, less_memory: Callable[[], str] = str
) -> Iterator[None]:
    """Run a command as `errors.ending` does, with one line too for lack of memory, dead loader workers and divergence.

    `way_on` says how to continue after a signal, `less_memory` what to do when memory runs out.
    """
    with ending(program, verbose, way_on):
        try:
            yield
        except Diverged as error:
            end(program, str(error), code=1)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise UserError(f"out of memory: {less_memory()}") from error
            if failure := worker_failure(error):  # it is raised wherever the program is at that moment
                raise failure from error
            raise


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY_ERRORS)
    )
