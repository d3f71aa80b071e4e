"""Load samples and endless, seeded, resumable streams of batches."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from i2i.data.augment.device import augmented
from i2i.data.batch import Batch, ImageError, Key, OptionError, Sample, collate
from i2i.data.domain import Domain
from i2i.data.layouts.base import ImageDataset
from i2i.data.order import EndlessOrder
from i2i.data.prefetch import SideStream, prefetched
from i2i.data.transport import SentSample, SharedMemoryCollator
from i2i.data.workers import loaded, worker_options

log = logging.getLogger(__name__)

MAX_SKIPPED = 100  # unusable images in a row, after which a run stops
MAX_NAMED = 20  # unusable files in the message at the end of an epoch
MEASURED = 16  # samples from whose size that of the cache is estimated


class UsableSamples(Dataset):
    """A data set in which the next usable sample replaces an unusable one, if `--on_bad_image skip` allows it."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Key) -> Sample | ImageError:
        length = len(self.dataset)
        skipped: list[str] = []
        for offset in range(min(length, MAX_SKIPPED)):
            sample = self.dataset[Key(key.epoch, (key.item + offset) % length)]
            if isinstance(sample, Sample):
                return dataclasses.replace(sample, skipped=tuple(skipped))
            if self.dataset.config.on_bad_image == "error" or isinstance(sample, OptionError):
                return sample
            skipped.append(str(sample))
        return ImageError(f"{len(skipped)} unusable images in a row, the last one: {skipped[-1]}")


class UnusableImages:
    """Logs at the end of each epoch of `length` samples which files were unusable; names each file once a run."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._epochs: dict[int, dict[str, None]] = {}
        self._named: set[str] = set()

    def add(self, messages: Sequence[str], position: int) -> None:
        """Add the error messages of files that sample number `position` of the run replaces."""
        if messages:
            self._epochs.setdefault(position // self.length, {}).update(dict.fromkeys(messages))

    def report(self, position: int) -> None:
        """Log the epochs that end before sample number `position`."""
        for epoch in [epoch for epoch in self._epochs if epoch < position // self.length]:
            messages = self._epochs.pop(epoch)
            new = [message for message in messages if message not in self._named]
            self._named.update(new)
            lines = new[:MAX_NAMED] + ([f"and {len(new) - MAX_NAMED:,} more"] if len(new) > MAX_NAMED else [])
            text = f"epoch {epoch + 1}: {len(messages):,} of {self.length:,} images could not be used"
            log.warning("%s", "\n  ".join([text + ":" * bool(lines), *lines]))


class BatchStream:
    """An endless stream of full batches on `device`; each call returns the next one.

    Batches run over the end of an epoch into the next one. Of `ranks` processes that train together, this is number
    `rank`.

    Attributes:
        position: the number of samples that all ranks have taken. `seek` with it continues a run exactly.
        waited: the seconds that calls have waited for data.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        position: int = 0,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.device, self.dtype = torch.device(device), dtype
        self.rank, self.ranks = rank, ranks
        self.position, self.waited = position, 0.0
        self._batches: Iterator[Batch | ImageError] | None = None
        self._unusable = UnusableImages(len(dataset))
        if batch_size * ranks > len(dataset):
            images = f"the data set has {len(dataset)} image{'s' * (len(dataset) > 1)}"
            log.warning("%s: a batch of --batch_size %d repeats some", images, batch_size)

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return len(self.dataset)

    def seek(self, position: int) -> None:
        """Continue with sample number `position`, counted from the start of training."""
        self.position, self._batches = position, None

    def __call__(self) -> Batch:
        """Return the next batch.

        Raises:
            ImageError: if a file cannot be used, unless the data set skips such files.
            UserError: if a worker process has died or does not answer.
        """
        start = time.perf_counter()
        batch = self._next()
        for row, messages in enumerate(batch.skipped):
            self._unusable.add(messages, self.position + self.rank + row * self.ranks)
        self.position += len(batch) * self.ranks
        self._unusable.report(self.position)
        self.waited += time.perf_counter() - start
        return batch

    def _next(self) -> Batch:
        if self._batches is None:
            self._batches = self._start()
        try:
            batch = next(self._batches)
        except Exception:
            self._batches = None
            raise
        if isinstance(batch, ImageError):
            self._batches = None  # ends the workers now; the garbage collector would take seconds for each
            raise batch
        return batch

    def _start(self) -> Iterator[Batch | ImageError]:
        _announce_cache(self.dataset)
        # No method of this object: a reference circle would keep the workers alive until the garbage collector runs.
        move = functools.partial(_on_device, device=self.device, dtype=self.dtype, domains=self.dataset.tensor_domains)
        batches = loaded(self._loader())
        if self.device.type != "cuda":
            return (batch if isinstance(batch, ImageError) else move(batch) for batch in batches)
        side = SideStream(move, self.device)
        return prefetched(batches, side.begin, side.finish)

    def _loader(self) -> DataLoader:
        config, groups = self.dataset.config, self.dataset.columns.groups
        shuffle = not config.serial_batches
        order = EndlessOrder(len(self.dataset), self.seed, shuffle, self.position, self.rank, self.ranks, groups)
        return DataLoader(
            UsableSamples(self.dataset),
            self.batch_size,
            sampler=order,
            collate_fn=SharedMemoryCollator(),
            pin_memory=self.device.type == "cuda",
            **worker_options(config.num_threads),
        )


def _on_device(
    batch: Batch, device: torch.device, dtype: torch.dtype, domains: Mapping[str, Sequence[Domain]]
) -> Batch:
    return augmented(batch.to(device, dtype), domains)


def _announce_cache(dataset: ImageDataset) -> None:
    cache = dataset.pipeline.cache
    if cache is None or cache.announced:
        return
    for index in range(0, len(dataset), -(-len(dataset) // MEASURED)):
        dataset[Key(0, index)]  # puts its images into the cache, which estimates the size of all
    cache.announce()


def samples_in_order(dataset: ImageDataset, items: Sequence[int]) -> Iterator[tuple[int, Sample | ImageError]]:
    """Yield each of `items` with its sample or its error."""
    keys = [Key(0, item) for item in items]
    workers = dataset.config.num_threads if len(items) > 1 else 0
    options = worker_options(workers) | {"collate_fn": SentSample}
    loader = DataLoader(dataset, batch_size=None, sampler=keys, **options)
    samples = (sent.sample for sent in loaded(loader))
    yield from zip(items, samples, strict=True)


def sample_batch(dataset: ImageDataset, count: int = 4, device: torch.device | str = "cpu") -> Batch:
    """Return up to `count` samples at equal distances in the data set, except those of other sizes than the first.

    Raises:
        ImageError: if a file cannot be used, unless the data set skips such files.
    """
    usable, count = UsableSamples(dataset), min(count, len(dataset))
    samples: list[Sample] = []
    for index in range(count):
        sample = usable[Key(0, index * len(dataset) // count)]
        if isinstance(sample, ImageError):
            raise sample
        if not samples or sample.shapes == samples[0].shapes:
            samples.append(sample)
    batch: Any = collate(samples)
    return _on_device(batch, torch.device(device), torch.float32, dataset.tensor_domains)
