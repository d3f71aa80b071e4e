"""Work beside the model: threads that encode and write while it goes on, in a bounded number of steps behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import torch

MOST_THREADS = 8
MOST_BYTES = 2**28  # that wait: a few images of 4096 x 4096

T = TypeVar("T")


class BackgroundJob(NamedTuple, Generic[T]):
    """Work to do, and how many bytes wait for it."""

    work: Callable[[], T]
    nbytes: int = 0


def in_background(jobs: Iterable[BackgroundJob[T]], threads: int, ahead: int) -> Generator[T]:
    """The results of `jobs` in their order, computed by threads, at most `ahead` jobs behind the making of the next.

    Fewer of large ones, of which together at most `MOST_BYTES` wait, but one in any case. Close it to stop early: what
    is begun is finished then, so that no file stays half written, the rest is left out.
    """
    pool = ThreadPoolExecutor(threads)
    pending: deque[tuple[Future[T], int]] = deque()
    try:
        for job in jobs:
            pending.append((pool.submit(job.work), job.nbytes))
            while pending and (_too_many(pending, ahead) or pending[0][0].done()):
                yield pending.popleft()[0].result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _too_many(pending: Collection[tuple[Future[T], int]], ahead: int) -> bool:
    return len(pending) > ahead or (len(pending) > 1 and sum(nbytes for _, nbytes in pending) > MOST_BYTES)


def suitable_threads(device: torch.device) -> int:
    """Return the number of encoding threads: on the CPU the model needs most of the cores itself."""
    cores = torch.get_num_threads()
    return min(MOST_THREADS, max(1, cores // 2 if device.type == "cpu" else cores))
