"""Batches and samples on their way from the workers of a loader: through shared memory, or a pipe without it."""

from __future__ import annotations

import dataclasses
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

from i2i.data.batch import Batch, ImageError, Sample, collate

log = logging.getLogger(__name__)

AHEAD = 2  # DataLoader's prefetch_factor: batches that a worker may have on their way
SLOTS = AHEAD + 2  # one more is being read, and one is being filled

PIPED = -1  # in place of a slot's number: its memory is not shared

_received: dict[str, dict[tuple[int, int], Tensor]] = {}  # memory of workers, by channel, worker and number
_told: set[str] = set()  # channels whose batches take a pipe


@dataclasses.dataclass
class Slot:
    """A piece of shared memory; once `sent` the receiver knows it by its number, until a larger one takes over."""

    memory: Tensor
    number: int
    sent: bool = False


class Channel:
    """The `collate_fn` of one loader: each of its workers fills `SLOTS` pieces of memory in turn.

    Fresh memory would cost more than the images in it: every page is cleared, and all of it handed from process to
    process. A batch that comes out has to be copied before the next but one is asked for. Where the system has no
    shared memory left, as in a container, a batch goes through the worker's pipe.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name, self.turns = name or uuid.uuid4().hex, itertools.count()
        self.slots: dict[int, Slot] = {}
        weakref.finalize(self, _received.pop, self.name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return Channel, (self.name,)

    def __call__(self, samples: Sequence[Sample | ImageError]) -> Batch | Parcel | ImageError:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            return collate(samples)
        turn = next(self.turns) % SLOTS
        taken: list[Slot] = []
        batch = collate(samples, lambda size: self._memory(turn, size, taken))
        return batch if isinstance(batch, ImageError) else Parcel(batch, self.name, worker.id, taken[0])

    def _memory(self, turn: int, size: int, taken: list[Slot]) -> Tensor:
        if turn not in self.slots or self.slots[turn].memory.nbytes < size:
            try:
                shared = torch.UntypedStorage._new_shared(size)
            except RuntimeError:  # there is no room for it
                taken.append(Slot(torch.empty(size, dtype=torch.uint8), PIPED))
                return taken[0].memory
            self.slots[turn] = Slot(torch.empty(0, dtype=torch.uint8).set_(shared), turn)
        taken.append(self.slots[turn])
        return taken[0].memory[:size]


@dataclasses.dataclass
class Parcel:
    """A batch in the memory of a slot, which is unpickled as the batch itself."""

    batch: Batch
    channel: str
    worker: int
    slot: Slot

    def __reduce__(self) -> tuple[Any, ...]:
        tensors, slot = self.batch.tensors(), self.slot
        places = {name: (t.dtype, t.storage_offset(), t.shape, t.stride()) for name, t in tensors.items()}
        rest = {field.name: getattr(self.batch, field.name) for field in dataclasses.fields(self.batch)}
        memory: Tensor | np.ndarray | None = None if slot.sent else slot.memory
        if slot.number == PIPED:
            memory = slot.memory.numpy()  # which is pickled with its content
        slot.sent = True
        return _opened, (self.channel, (self.worker, slot.number), memory, places, rest | dict.fromkeys(tensors))


def _opened(
    channel: str,
    slot: tuple[int, int],
    memory: Tensor | np.ndarray | None,
    places: dict[str, tuple[Any, ...]],
    rest: dict[str, Any],
) -> Batch:
    known = _received.setdefault(channel, {})
    if isinstance(memory, np.ndarray):
        _tell_of_pipe(channel)
        memory = torch.from_numpy(memory)
    elif memory is None:
        memory = known[slot]
    else:
        known[slot] = memory
    storage = memory.untyped_storage()
    tensors = {name: torch.empty(0, dtype=place[0]).set_(storage, *place[1:]) for name, place in places.items()}
    return Batch(**(rest | tensors))


def _tell_of_pipe(channel: str) -> None:
    if channel in _told:
        return
    _told.add(channel)
    log.warning(
        "shared memory (/dev/shm%s) has no room for the batches: they take a pipe, which is slower; more room gives "
        "docker run --shm-size=2g, and --num_threads 0 needs none",
        _free(),
    )


def _free() -> str:
    try:
        status = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return ""
    return f", {status.f_bavail * status.f_frsize / 2**20:.0f} MiB free"


@dataclasses.dataclass
class Sent:
    """A sample that leaves a worker through its pipe, as arrays: tensors would go through shared memory.

    Where that is short the thread that sends fails, the sample is lost, and the receiver waits for it for ever.
    """

    sample: Sample | ImageError

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.sample, ImageError):
            return Sent, (self.sample,)
        arrays = {name: value.numpy() for name, value in vars(self.sample).items() if isinstance(value, Tensor)}
        return _received_sample, (dataclasses.replace(self.sample, **dict.fromkeys(arrays)), arrays)  # type: ignore[arg-type]


def _received_sample(rest: Sample, arrays: dict[str, np.ndarray]) -> Sent:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Sent(dataclasses.replace(rest, **tensors))  # type: ignore[arg-type]
