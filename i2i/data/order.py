"""The order of samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from i2i.data.batch import Key

MIXED = 4  # groups that are shuffled together, which are tar files that are read at the same time


class EndlessOrder(Sampler[Key]):
    """An endless sampler of keys from sample number `start` on, with a new seeded permutation for every epoch.

    All ranks share one order: rank r takes the samples number `start` + r, `start` + r + `ranks` and so on. `groups`
    are the counts of consecutive samples that lie in one file. If given, an epoch goes through the groups in random
    order and shuffles the samples of `MIXED` groups together.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        shuffle: bool = True,
        start: int = 0,
        rank: int = 0,
        ranks: int = 1,
        groups: Sequence[int] = (),
    ) -> None:
        self.length, self.seed, self.shuffle, self.start = length, seed, shuffle, start
        self.rank, self.ranks, self.groups = rank, ranks, groups

    def __iter__(self) -> Iterator[Key]:
        return itertools.islice(self._all(), self.rank, None, self.ranks)

    def _all(self) -> Iterator[Key]:
        epoch, position = divmod(self.start, self.length)
        while True:
            for index in self.order(epoch)[position:]:
                yield Key(epoch, index)
            epoch, position = epoch + 1, 0

    def order(self, epoch: int) -> list[int]:
        """Return the indices of epoch number `epoch`, counted from 0, in their order."""
        if not self.shuffle:
            return list(range(self.length))
        random = np.random.default_rng((self.seed, epoch))
        if not self.groups:
            return random.permutation(self.length).tolist()
        starts, order = np.cumsum([0, *self.groups]), random.permutation(len(self.groups))
        mixed = []
        for first in range(0, len(order), MIXED):
            chosen = order[first : first + MIXED]
            mixed.append(random.permutation(np.concatenate([np.arange(starts[g], starts[g + 1]) for g in chosen])))
        return np.concatenate(mixed).tolist()
