"""Batches on their way to the device, beside what is computed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from i2i.data.batch import ON_DEVICE, Batch, ImageError


class Transfer(Protocol):
    """How a batch comes to the device: `begin` queues it, from `end` on it may be used.

    `ahead` says whether to begin the next batch before it is asked for.
    """

    ahead: bool

    def begin(self, batch: Batch) -> Batch: ...
    def end(self, batch: Batch) -> Batch: ...


class Direct:
    """At once, where nothing goes on by itself."""

    ahead = False

    def __init__(self, work: Callable[[Batch], Batch]) -> None:
        self.begin = work

    def end(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch


class SideStream:
    """On a CUDA stream of its own: copies from page-locked memory and `work` overlap with the steps of training.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-streams
    """

    ahead = True

    def __init__(self, work: Callable[[Batch], Batch], device: torch.device) -> None:
        self.work, self.stream = work, torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> Batch:
        """The batch as it will be; only the side stream may use it yet."""
        with torch.cuda.stream(self.stream):
            return self.work(batch)

    def end(self, batch: Batch) -> Batch:
        """The batch for use on the current stream, which waits for all that was begun."""
        current = torch.cuda.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for tensor in (value for name, value in batch.tensors().items() if name in ON_DEVICE):
            tensor.record_stream(current)  # else the side stream would write the next batch where this one still lies
        return batch


class Prefetcher(Iterator[Batch | ImageError]):
    """`batches` in their order, each through `transfer`; problems take their turn like batches."""

    def __init__(self, batches: Iterator[Batch | ImageError], transfer: Transfer) -> None:
        self.batches, self.transfer = batches, transfer
        self._begun: Batch | Exception | None = None

    def __next__(self) -> Batch | ImageError:
        begun, self._begun = self._begin() if self._begun is None else self._begun, None
        if isinstance(begun, ImageError):
            return begun
        if isinstance(begun, Exception):
            raise begun
        batch = self.transfer.end(begun)
        if self.transfer.ahead:  # after `end`, which would wait for this one as well
            self._begun = self._begin()
        return batch

    def _begin(self) -> Batch | Exception:
        try:
            batch = next(self.batches)
        except Exception as error:  # of a worker; its turn comes after the batches that have begun
            return error
        return batch if isinstance(batch, ImageError) else self.transfer.begin(batch)
