"""Several processes that share the images of a translation: this one, which writes the page, and its helpers."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection

import torch

from i2i.translation.rows import Row

PATIENCE = 10  # seconds for a helper to finish the images that it has begun


@contextmanager
def helpers(work: Callable[[int], Generator[Row]], processes: int) -> Iterator[list[Connection]]:
    """Start `processes - 1` processes, which send the rows that `work(process)` gives, process being 1 and up.

    All of them, this one included, take their share of the CPU's threads. At the end helpers that still work stop
    after the images that they have begun. `work` has to be picklable.
    """
    threads = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork
    started, pipes = [], []
    try:
        for number in range(1, processes):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_help, args=(work, number, max(1, threads // processes), sender))
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
            process.kill()


@contextmanager
def _not_interrupted() -> Iterator[None]:
    """What is started in here never hears of a terminal's Ctrl-C, but of the end of its connection."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _help(work: Callable[[int], Generator[Row]], number: int, threads: int, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as it is already, but on Windows
    logging.disable(logging.WARNING)  # the first process says the same
    torch.set_num_threads(threads)
    with suppress(BrokenPipeError), closing(work(number)) as rows:
        try:
            for row in rows:
                sender.send(row)
            sender.send(None)
        except BrokenPipeError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            sender.send(error)
