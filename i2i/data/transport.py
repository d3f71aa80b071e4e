"""Send batches and samples from worker processes to the main process: through shared memory, or else through a pipe."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import uuid
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data.batch import Batch, ImageError, Sample, collate, with_tensors

log = logging.getLogger(__name__)

PREFETCHED = 2  # batches that the DataLoader lets a worker load ahead, its default
BUFFERS = PREFETCHED + 2  # another one is in use, and another one is being filled

known_buffers: dict[str, dict[tuple[int, int], Tensor]] = {}  # by collator, then by worker and number

Layout = tuple[torch.dtype, int, torch.Size, tuple[int, ...]]  # offset in elements, shape, stride


class SharedMemoryCollator:
    """The `collate_fn` of one loader, whose workers send batches in `BUFFERS` pieces of shared memory in turn.

    The DataLoader itself allocates new shared memory for every tensor, which costs more than copying the images: with
    two workers and images of 256x256, it loads 21 to 50 % fewer images per second. A received batch must be copied
    before the next but one is requested. If no shared memory is left, batches go through the worker's pipe.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name, self.turns = name or uuid.uuid4().hex, itertools.count()
        self.buffers: dict[int, Tensor] = {}
        self.announced: set[int] = set()  # buffers that the main process knows
        weakref.finalize(self, known_buffers.pop, self.name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedMemoryCollator, (self.name,)

    def __call__(self, samples: Sequence[Sample | ImageError]) -> Batch | SentBatch | ImageError:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            return collate(samples)
        number = next(self.turns) % BUFFERS
        batch = collate(samples, lambda size: self._memory(number, size))
        if isinstance(batch, ImageError):
            return batch
        if number not in self.buffers:
            return SentBatch(batch)
        layouts = {
            name: (tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
            for name, tensor in batch.tensors().items()
        }
        new = None if number in self.announced else self.buffers[number]
        self.announced.add(number)
        return SentBatch(_without_tensors(batch), (self.name, (worker.id, number), new, layouts))

    def _memory(self, number: int, size: int) -> Tensor:
        """Return `size` bytes of buffer `number`, or of memory that is not shared if there is no room."""
        if number not in self.buffers or self.buffers[number].nbytes < size:
            self.announced.discard(number)
            self.buffers.pop(number, None)
            try:
                shared = torch.UntypedStorage._new_shared(size)
            except RuntimeError:
                return torch.empty(size, dtype=torch.uint8)
            self.buffers[number] = torch.empty(0, dtype=torch.uint8).set_(shared)
        return self.buffers[number][:size]


class SentBatch:
    """A pickled form of a batch, which unpickles as the batch itself.

    `shared` tells where its tensors lie in shared memory; without it, they are pickled as arrays.
    """

    def __init__(self, batch: Batch, shared: tuple[Any, ...] | None = None) -> None:
        self.batch, self.shared = batch, shared

    def __reduce__(self) -> tuple[Any, ...]:
        if self.shared is None:
            return _batch_from_pipe, (_without_tensors(self.batch), _arrays(self.batch))
        return _from_shared_memory, (self.batch, *self.shared)


class SentSample:
    """A sample, or its error, whose tensors are pickled as arrays and go through the worker's pipe.

    The DataLoader would send tensors through shared memory. If there is too little, its sending thread fails, and the
    main process waits forever.
    """

    def __init__(self, sample: Sample | ImageError) -> None:
        self.sample = sample

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.sample, ImageError):
            return SentSample, (self.sample,)
        return _sample_from_pipe, (_without_tensors(self.sample), _arrays(self.sample))


def _without_tensors(item: Any) -> Any:
    return with_tensors(item, dict.fromkeys(item.tensors()))


def _arrays(item: Batch | Sample) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in item.tensors().items()}


def _from_shared_memory(
    batch: Batch, collator: str, key: tuple[int, int], new: Tensor | None, layouts: dict[str, Layout]
) -> Batch:
    buffers = known_buffers.setdefault(collator, {})
    if new is not None:
        buffers[key] = new
    storage = buffers[key].untyped_storage()
    views = {name: torch.empty(0, dtype=dtype).set_(storage, *place) for name, (dtype, *place) in layouts.items()}
    return with_tensors(batch, views)


def _batch_from_pipe(batch: Batch, arrays: dict[str, np.ndarray]) -> Batch:
    _warn_of_pipe()
    return with_tensors(batch, {name: torch.from_numpy(array) for name, array in arrays.items()})


def _sample_from_pipe(sample: Sample, arrays: dict[str, np.ndarray]) -> SentSample:
    return SentSample(with_tensors(sample, {name: torch.from_numpy(array) for name, array in arrays.items()}))


@functools.cache  # one warning a process
def _warn_of_pipe() -> None:
    try:
        status = os.statvfs("/dev/shm")
        free = f" ({status.f_bavail * status.f_frsize / 2**20:.0f} MiB free)"
    except (OSError, AttributeError):
        free = ""
    log.warning(
        "/dev/shm%s is too small for the batches, which go through a slower pipe: in a container, raise it with "
        "docker run --shm-size=2g; --num_threads 0 needs no shared memory",
        free,
    )
