"""Work beside the model: threads that encode and write while it goes on, in a bounded number of steps behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

MOST_THREADS = 8

T = TypeVar("T")


def in_background(jobs: Iterable[Callable[[], T]], threads: int, ahead: int) -> Generator[T]:
    """The results of `jobs` in their order, computed by threads, at most `ahead` jobs behind the making of the next.

    Close it to stop early: what is begun is finished then, so that no file stays half written, the rest is left out.
    """
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[T]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            while pending and (len(pending) > ahead or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def suitable_threads(device: torch.device) -> int:
    """How many threads to encode with: on the CPU the model needs most of the cores itself."""
    cores = torch.get_num_threads()
    return min(MOST_THREADS, max(1, cores // 2 if device.type == "cpu" else cores))
