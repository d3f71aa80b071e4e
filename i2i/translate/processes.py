"""Several processes that share the images of a translation: this one, which writes the page, and its helpers."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import tempfile
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from i2i.process import silence_libraries
from i2i.streams import is_broken
from i2i.translate.rows import ResultRow

PATIENCE = 10  # seconds for a helper to finish the images that it has begun
FAREWELL = 30  # seconds for it to end when it is told to: its loader workers may still be starting


@contextmanager
def helpers(work: Callable[[int], Generator[ResultRow]], processes: int) -> Iterator[list[Connection]]:
    """Start `processes - 1` processes, which send the rows that `work(process)` gives, process being 1 and up.

    Each has a copy of `work`, which has to be picklable, as it is now, with its tensors in the memory of the CPU. All
    of them, this one included, take their share of the CPU's threads. At the end helpers that still work stop after the
    images that they have begun.
    """
    if processes == 1:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.pt"
        torch.save(work, file)
        with _started(file, processes) as pipes:
            yield pipes


@contextmanager
def _started(file: Path, processes: int) -> Iterator[list[Connection]]:
    threads = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork
    started, pipes = [], []
    try:
        for number in range(1, processes):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_help, args=(file, number, max(1, threads // processes), sender))
            with _not_interrupted():
                process.start()
            sender.close()  # here, so that the helper's death ends the connection
            started.append(process)
            pipes.append(receiver)
        torch.set_num_threads(max(1, threads // processes))
        yield pipes
    finally:
        torch.set_num_threads(threads)
        for pipe in pipes:
            pipe.close()
        for process in started:
            process.join(PATIENCE)
            process.terminate()
        for process in started:
            process.join(FAREWELL)
            process.kill()


@contextmanager
def _not_interrupted() -> Iterator[None]:
    """Start processes that ignore a terminal's Ctrl-C; they stop at the end of their connection."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def device_of(process: int, device: torch.device) -> torch.device:
    """The device of a process, if `device` is the first one's: on CUDA one of its own, unless it was chosen."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", process % torch.cuda.device_count())


def _help(file: Path, number: int, threads: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as it is already, but on Windows
    signal.signal(signal.SIGTERM, _leave)
    logging.disable(logging.WARNING)  # the first process says the same
    silence_libraries()
    torch.set_num_threads(threads)
    if is_broken(sender):  # the first process has been stopped meanwhile
        return
    with suppress(BrokenPipeError), closing(_rows(file, number)) as rows:
        try:
            for row in rows:
                sender.send(row)
            sender.send(None)
        except BrokenPipeError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            sender.send(error)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that loader workers and semaphores are let go of


def _rows(file: Path, number: int) -> Generator[ResultRow]:
    work = torch.load(file, map_location="cpu", weights_only=False)  # written by the process that started this one
    yield from work(number)
