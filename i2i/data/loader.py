"""An endless, seeded, resumable stream of batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from i2i.data.batch import Batch, ImageError, Key, collate
from i2i.data.dataset import ImageDataset

log = logging.getLogger(__name__)


class EndlessOrder(Sampler[Key]):
    """Keys from sample number `start` on: a new seeded permutation for every epoch, without a break between epochs."""

    def __init__(self, length: int, seed: int, shuffle: bool = True, start: int = 0) -> None:
        self.length, self.seed, self.shuffle, self.start = length, seed, shuffle, start

    def __iter__(self) -> Iterator[Key]:
        epoch, position = divmod(self.start, self.length)
        while True:
            order = self.order(epoch)
            for index in order[position:]:
                yield Key(epoch, index)
            epoch, position = epoch + 1, 0

    def order(self, epoch: int) -> list[int]:
        """The order of one epoch, 0-based."""
        if not self.shuffle:
            return list(range(self.length))
        return np.random.default_rng((self.seed, epoch)).permutation(self.length).tolist()


class BatchStream:
    """Calling it gives the next batch on `device`; every batch is full, the last of an epoch runs into the next one.

    `position` counts the samples handed out, which is all that has to be saved to go on exactly; `waited` sums the
    seconds that calls have waited for data.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        position: int = 0,
    ) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.device, self.dtype = torch.device(device), dtype
        self.position, self.waited = position, 0.0
        self._batches: Iterator[Batch | ImageError] | None = None
        self._reported: set[str] = set()

    def __len__(self) -> int:
        """Samples in an epoch."""
        return len(self.dataset)

    def seek(self, position: int) -> None:
        """Go on from sample number `position`, counted from the start of training."""
        self.position, self._batches = position, None

    def __call__(self) -> Batch:
        """The next batch.

        Raises:
            ImageError: for an unusable file, unless the data set skips those.
        """
        start = time.perf_counter()
        if self._batches is None:
            self._batches = iter(self._loader())
        batch = next(self._batches)
        if isinstance(batch, ImageError):
            raise batch
        self._report(batch)
        self.position += len(batch)
        batch = batch.to(self.device, self.dtype)
        self.waited += time.perf_counter() - start
        return batch

    def _loader(self) -> DataLoader:
        config = self.dataset.config
        order = EndlessOrder(len(self.dataset), self.seed, not config.serial_batches, self.position)
        return DataLoader(
            self.dataset,
            self.batch_size,
            sampler=order,
            num_workers=config.num_threads,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            # Its own generator: the loader's start must not move the global one, from which dropout draws.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _report(self, batch: Batch) -> None:
        for message in batch.skipped:
            if message not in self._reported:
                self._reported.add(message)
                log.warning("skipped: %s", message)


def sample_batch(dataset: ImageDataset, count: int = 4) -> Batch:
    """Up to `count` samples spread over the data set, the same ones every time.

    Raises:
        ImageError: for an unusable file, unless the data set skips those.
    """
    count = min(count, len(dataset))
    batch = collate([dataset[Key(0, index * len(dataset) // count)] for index in range(count)])
    if isinstance(batch, ImageError):
        raise batch
    return batch
