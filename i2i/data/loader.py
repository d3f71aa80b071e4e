"""An endless, seeded, resumable stream of batches."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from i2i.data.batch import Batch, ImageError, Key, Sample, collate
from i2i.data.dataset import ImageDataset

log = logging.getLogger(__name__)


MAX_SKIPPED = 100  # in a row: a folder full of bad files should stop, not crawl


class UsableSamples(Dataset):
    """A data set in which the next usable sample replaces an unusable one, under `--on_bad_image skip`."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Key) -> Sample | ImageError:
        length = len(self.dataset)
        skipped: list[str] = []
        for offset in range(min(length, MAX_SKIPPED)):
            sample = self.dataset[Key(key.epoch, (key.item + offset) % length)]
            if isinstance(sample, Sample):
                return dataclasses.replace(sample, skipped=tuple(skipped))
            if self.dataset.config.on_bad_image == "error":
                return sample
            skipped.append(str(sample))
        return ImageError(f"{len(skipped)} unusable images in a row, the last one: {skipped[-1]}")


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
            OSError: if a worker process has died.
        """
        start = time.perf_counter()
        batch = self._next()
        self._report(batch)
        self.position += len(batch)
        batch = batch.to(self.device, self.dtype)
        self.waited += time.perf_counter() - start
        return batch

    def _next(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader())
        try:
            batch = next(self._batches)
        except RuntimeError as error:
            self._batches = None
            if not str(error).startswith("DataLoader worker"):
                raise
            raise OSError(
                "a process that loads images has died, most likely for want of memory (in a container: of shared "
                "memory); use a smaller --num_threads, or 0"
            ) from None
        if isinstance(batch, ImageError):
            self._batches = None  # the workers end here; left to the garbage collector that would take seconds each
            raise batch
        return batch

    def _loader(self) -> DataLoader:
        config = self.dataset.config
        order = EndlessOrder(len(self.dataset), self.seed, not config.serial_batches, self.position)
        return DataLoader(
            UsableSamples(self.dataset),
            self.batch_size,
            sampler=order,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            **_workers(config.num_threads),
        )

    def _report(self, batch: Batch) -> None:
        for message in batch.skipped:
            if message not in self._reported:
                self._reported.add(message)
                log.warning("skipped: %s", message)


def samples_in_order(dataset: ImageDataset, items: Sequence[int]) -> Iterator[tuple[int, Sample | ImageError]]:
    """Every one of `items` with its sample, or with what is wrong with it."""
    keys = [Key(0, item) for item in items]
    threads = dataset.config.num_threads if len(items) > 1 else 0
    yield from zip(items, DataLoader(dataset, batch_size=None, sampler=keys, **_workers(threads)), strict=True)


def _workers(count: int) -> dict[str, Any]:
    # Its own generator: the loader's start must not move the global one, from which dropout draws.
    generator = torch.Generator().manual_seed(0)
    return {"num_workers": count, "worker_init_fn": _leave_the_process_group, "generator": generator}


def _leave_the_process_group(worker: int) -> None:
    # A terminal's Ctrl-C goes to the whole group, and the main process needs its batches to finish the step. (To ignore
    # SIGTERM instead would make the interpreter hang at its exit, where it ends workers by SIGTERM.)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:  # Windows, where only Ctrl-C reaches them
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def sample_batch(dataset: ImageDataset, count: int = 4) -> Batch:
    """Up to `count` samples spread over the data set, the same ones every time; only those that the first fits.

    Images differ in size where `--preprocess` lets them, and those of a batch cannot.

    Raises:
        ImageError: for an unusable file, unless the data set skips those.
    """
    usable, count = UsableSamples(dataset), min(count, len(dataset))
    samples: list[Sample] = []
    for index in range(count):
        sample = usable[Key(0, index * len(dataset) // count)]
        if isinstance(sample, ImageError):
            raise sample
        if not samples or sample.shapes == samples[0].shapes:
            samples.append(sample)
    batch = collate(samples)
    assert isinstance(batch, Batch)  # they are all of one size
    return batch
