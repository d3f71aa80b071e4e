"""Batches on their way from the workers of a loader, through shared memory that is used again."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from i2i.data.batch import Batch, ImageError, Sample, collate

AHEAD = 2  # DataLoader's prefetch_factor: batches that a worker may have on their way
SLOTS = AHEAD + 2  # one more is being read, and one is being filled

_received: dict[str, dict[tuple[int, int], Tensor]] = {}  # memory of workers, by channel, worker and number


@dataclasses.dataclass
class Slot:
    """A piece of shared memory; once `sent` the receiver knows it by its number, until a larger one takes over."""

    memory: Tensor
    number: int
    sent: bool = False


class Channel:
    """The `collate_fn` of one loader: each of its workers fills `SLOTS` pieces of memory in turn.

    Fresh memory would cost more than the images in it: every page is cleared, and all of it handed from process to
    process. A batch that comes out has to be copied before the next but one is asked for.
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
        batch = collate(samples, lambda size: self._memory(turn, size))
        return batch if isinstance(batch, ImageError) else Parcel(batch, self.name, worker.id, self.slots[turn])

    def _memory(self, turn: int, size: int) -> Tensor:
        if turn not in self.slots or self.slots[turn].memory.nbytes < size:
            shared = torch.UntypedStorage._new_shared(size)
            self.slots[turn] = Slot(torch.empty(0, dtype=torch.uint8).set_(shared), turn)
        return self.slots[turn].memory[:size]


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
        memory, slot.sent = None if slot.sent else slot.memory, True
        return _opened, (self.channel, (self.worker, slot.number), memory, places, rest | dict.fromkeys(tensors))


def _opened(
    channel: str, slot: tuple[int, int], memory: Tensor | None, places: dict[str, tuple[Any, ...]], rest: dict[str, Any]
) -> Batch:
    known = _received.setdefault(channel, {})
    if memory is not None:
        known[slot] = memory
    storage = known[slot].untyped_storage()
    tensors = {name: torch.empty(0, dtype=place[0]).set_(storage, *place[1:]) for name, place in places.items()}
    return Batch(**(rest | tensors))
