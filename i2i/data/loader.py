"""An endless, seeded, resumable stream of batches."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from i2i.data.batch import Batch, ImageError, Key, OptionError, Sample, collate
from i2i.data.domain import Domain
from i2i.data.layouts.base import ImageDataset
from i2i.data.order import EndlessOrder
from i2i.data.prefetch import Direct, Prefetcher, SideStream
from i2i.data.transport import Channel, Sent
from i2i.errors import UserError
from i2i.process import keep_freed_memory, silence_libraries

log = logging.getLogger(__name__)
Domains = tuple[Sequence[Domain], Sequence[Domain]]

MAX_SKIPPED = 100  # in a row: a folder full of bad files should stop, not crawl
MAX_NAMED = 20  # unusable files at the end of an epoch
CHECK = 5  # seconds after which it is looked whether workers that send nothing are alive
DEADLINE = 600.0  # seconds without a batch after which they are given up
# How the death of a worker shows while it hands over memory.
DEATHS = (EOFError, ConnectionError, FileNotFoundError)
WAY_OUT = "use a smaller --num_threads, or 0, which loads images in the main process"
MEASURED = 16  # samples from whose size that of the cache is estimated


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
            if self.dataset.config.on_bad_image == "error" or isinstance(sample, OptionError):
                return sample
            skipped.append(str(sample))
        return ImageError(f"{len(skipped)} unusable images in a row, the last one: {skipped[-1]}")


class UnusableImages:
    """Lists, when an epoch of `length` samples is over, the files that could not be used in it; each once a run."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._epochs: dict[int, dict[str, None]] = {}
        self._named: set[str] = set()

    def add(self, messages: Sequence[str], position: int) -> None:
        """Note what was wrong with files in place of sample number `position` of the run."""
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
    """Calling it gives the next batch on `device`; every batch is full, the last of an epoch runs into the next one.

    What is left to the device of the augmentation is done there. Of `ranks` processes that train together this is
    number `rank`. `position` counts the samples handed out by all of them, which is all that has to be saved to go on
    exactly; `waited` sums the seconds that calls have waited for data.
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
        """Samples in an epoch."""
        return len(self.dataset)

    def seek(self, position: int) -> None:
        """Go on from sample number `position`, counted from the start of training."""
        self.position, self._batches = position, None

    def __call__(self) -> Batch:
        """The next batch.

        Raises:
            ImageError: for an unusable file, unless the data set skips those.
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
            self._batches = None  # the workers end here; left to the garbage collector that would take seconds each
            raise batch
        return batch

    def _start(self) -> Iterator[Batch | ImageError]:
        _announce_cache(self.dataset)
        # No method of this object: in a circle of references the workers would wait for the garbage collector.
        work = functools.partial(_prepared, device=self.device, dtype=self.dtype, domains=self.dataset.domains)
        transfer = SideStream(work, self.device) if self.device.type == "cuda" else Direct(work)
        return Prefetcher(loaded(self._loader()), transfer)

    def _loader(self) -> DataLoader:
        config, groups = self.dataset.config, self.dataset.columns.groups
        shuffle = not config.serial_batches
        order = EndlessOrder(len(self.dataset), self.seed, shuffle, self.position, self.rank, self.ranks, groups)
        return DataLoader(
            UsableSamples(self.dataset),
            self.batch_size,
            sampler=order,
            collate_fn=Channel(),
            pin_memory=self.device.type == "cuda",
            **_workers(config.num_threads),
        )


def _prepared(batch: Batch, device: torch.device, dtype: torch.dtype, domains: Domains) -> Batch:
    batch = batch.to(device, dtype)
    if batch.changes_a is None and batch.changes_b is None:
        return batch
    from i2i.data.augment.device import augmented

    return augmented(batch, domains)


def _announce_cache(dataset: ImageDataset) -> None:
    cache = dataset.pipeline.cache
    if cache is None or cache.announced:
        return
    for index in range(0, len(dataset), -(-len(dataset) // MEASURED)):
        dataset[Key(0, index)]  # which keeps its images: the sizes of a few tell that of all
    cache.announce()


def samples_in_order(dataset: ImageDataset, items: Sequence[int]) -> Iterator[tuple[int, Sample | ImageError]]:
    """Every one of `items` with its sample, or with what is wrong with it."""
    keys = [Key(0, item) for item in items]
    threads = dataset.config.num_threads if len(items) > 1 else 0
    loader = DataLoader(dataset, batch_size=None, sampler=keys, collate_fn=_sent, **_workers(threads))
    samples = (sent.sample for sent in loaded(loader))
    yield from zip(items, samples, strict=True)


def _sent(sample: Any) -> Sent:
    return Sent(sample)


def loaded(loader: DataLoader) -> Iterator[Any]:
    """Yield what `loader` gives.

    Raises:
        UserError: if its worker processes cannot be started, if one dies, or if none sends anything for `DEADLINE`.
    """
    if loader.num_workers == 0:
        yield from loader
        return
    batches = _started(loader)
    with Watch(getattr(batches, "_workers", ())) as watch:
        while True:
            watch.begin()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                if str(error).startswith("DataLoader timed out") and not watch.has_killed:
                    continue
                _end_workers(batches)
                if (failure := watch.failure() or worker_failure(error)) is None:
                    raise
                raise failure from None
            watch.end()
            yield batch


class Watch:
    """Kills `workers` that have sent nothing for `DEADLINE`.

    It is a thread because a worker that stops in the middle of a message blocks the reader of that message.
    """

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers, self._since = workers, math.inf
        self._over = threading.Event()
        self.has_killed = False
        self._thread = threading.Thread(target=self._look, name="watch over workers", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()

    def begin(self) -> None:
        """Count the time from here, unless it is counted already."""
        self._since = min(self._since, time.monotonic())

    def end(self) -> None:
        """Something has come."""
        self._since = math.inf

    def failure(self) -> UserError | None:
        """Return what to tell the user where the workers have been killed."""
        text = f"the processes that load images have sent nothing for {DEADLINE:g} s; {WAY_OUT}"
        return UserError(text) if self.has_killed else None

    def _look(self) -> None:
        while not self._over.wait(CHECK):
            if time.monotonic() - self._since > DEADLINE:
                self.has_killed = True
                for worker in self._workers:
                    worker.kill()
                return


def _end_workers(batches: Any) -> None:
    """End the workers at once; from here on their deaths are not reported as errors any more."""
    with contextlib.suppress(RuntimeError, AttributeError):  # of such a report, or where there are no workers
        batches._shutdown_workers()
    for worker in getattr(batches, "_workers", ()):
        worker.kill()


def _started(loader: DataLoader) -> Iterator[Any]:
    try:
        return iter(loader)
    except OSError as error:  # no semaphores, processes or files are left
        raise UserError(f"no process that loads images can be started ({error.strerror or error}); {WAY_OUT}") from None


def worker_failure(error: BaseException) -> UserError | None:
    """Return what to tell the user of an error that `DataLoader` raises when a worker fails; None for other errors."""
    text = str(error)
    if text.startswith("Too many open files"):
        return UserError(f"too many open files for the processes that load images: raise `ulimit -n`; or {WAY_OUT}")
    if isinstance(error, DEATHS) and not text.startswith("Caught "):  # which an error of the data set begins with
        text = "DataLoader worker"
    if not text.startswith("DataLoader worker"):
        return None
    why = "most likely for want of memory (in a container: of shared memory, docker run --shm-size=2g)"
    return UserError(f"a process that loads images has died, {why}; {WAY_OUT}")


def _workers(count: int) -> dict[str, Any]:
    # Its own generator: the loader's start must not move the global one, from which dropout draws.
    generator = torch.Generator().manual_seed(0)
    timeout = CHECK if count else 0
    return {"num_workers": count, "worker_init_fn": _settle, "generator": generator, "timeout": timeout}


def _settle(worker: int) -> None:
    keep_freed_memory()
    silence_libraries()
    # A terminal's Ctrl-C goes to the whole group, and the main process needs its batches to finish the step. (To ignore
    # SIGTERM instead would make the interpreter hang at its exit, where it ends workers by SIGTERM.)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:  # Windows, where only Ctrl-C reaches them
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGHUP", "SIGUSR1"):  # which a job scheduler sends to all: they are for the main process
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # A spawned process ends by taking its interpreter down, with a thread still sending batches: now and then an abort.
    atexit.register(os._exit, 0)


def sample_batch(dataset: ImageDataset, count: int = 4, device: torch.device | str = "cpu") -> Batch:
    """Up to `count` samples spread over the data set, as a stream gives them; only those that the first fits.

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
    return _prepared(batch, torch.device(device), torch.float32, dataset.domains)
