"""Looking at every file of a data set, in processes that may die of one without ending the scan."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np

from i2i.data.batch import ImageError
from i2i.data.files import signature
from i2i.data.images import Info, Reader
from i2i.process import silence_libraries
from i2i.tools.check.measure import View, shift_between, view
from i2i.tools.check.sources import SampleRow, Slot, Wanted

SECONDS_A_FILE = 60.0
ROWS_AT_ONCE = 8


class FileRecord(NamedTuple):
    """The result for one file of a phase: `views` are those of its `slots`, none if it was not decoded.

    `error` is what training would say of it. `readable` tells whether there is an image in it all the same, of other
    channels than are wanted.
    """

    phase: str
    row: int
    path: str
    slots: tuple[Slot, ...]
    info: Info | None = None
    bytes: int = 0
    error: str | None = None
    readable: bool = True
    views: tuple[View, ...] = ()
    shift: tuple[float, float] | None = None


class ScanJob(NamedTuple):
    """A sample to look at: fully, or only at the headers of its files."""

    row: SampleRow
    decode: bool


def scan(
    jobs: Sequence[ScanJob], reader: Reader, workers: int, seconds: float = SECONDS_A_FILE
) -> Iterator[list[FileRecord]]:
    """The records of every job, in the order in which they are done, by `workers` processes (0: in this one).

    A file that ends a process, or takes longer than `seconds`, is one that cannot be read.
    """
    if workers == 0:
        yield from (look_at(job, reader) for job in jobs)
        return
    waiting = deque([list(jobs[start : start + ROWS_AT_ONCE]) for start in range(0, len(jobs), ROWS_AT_ONCE)])
    while waiting:
        suspects: list[ScanJob] = []
        yield from _until_a_death(waiting, suspects, reader, workers, seconds)
        for job in suspects:
            yield _alone(job, reader, seconds)


def _until_a_death(
    waiting: deque[list[ScanJob]], suspects: list[ScanJob], reader: Reader, workers: int, seconds: float
) -> Iterator[list[FileRecord]]:
    """Work through `waiting`; the jobs that were under way when a process died are added to `suspects`."""
    running: dict[Future, list[ScanJob]] = {}
    with _pool(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    jobs = waiting.popleft()
                    running[pool.submit(_look_at_all, jobs, reader, seconds)] = jobs
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield from future.result()
                    del running[future]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        except BrokenProcessPool:
            suspects += [job for jobs in running.values() for job in jobs]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked from this process: decoders have threads of their own, whose locks a fork would find taken for ever.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(workers, context, _settle)


def _settle() -> None:
    silence_libraries()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the main process ends the others


def _alone(job: ScanJob, reader: Reader, seconds: float) -> list[FileRecord]:
    with _pool(1) as pool:
        try:
            return pool.submit(_look_at_all, [job], reader, seconds).result()[0]
        except BrokenProcessPool:
            message = f"cannot be read: a reader crashes on it, or takes more than {seconds:g} s"
            return [_failed(job.row, file, f"{file.path} {message}") for file in job.row.files]


def _look_at_all(jobs: Sequence[ScanJob], reader: Reader, seconds: float) -> list[list[FileRecord]]:
    _one_thread()
    records = []
    with open(os.devnull, "w") as nowhere:
        for job in jobs:
            # It ends the process even out of a decoder that never comes back, which no exception could.
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            records.append(look_at(job, reader))
        faulthandler.cancel_dump_traceback_later()
    return records


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # every core has a process of its own


def look_at(job: ScanJob, reader: Reader) -> list[FileRecord]:
    """The records of the files of one sample; of a pair, the last one has the shift against the first."""
    records, images = [], []
    for file in job.row.files:
        record, pixels = _look_at_file(job.row, file, reader, job.decode)
        records.append(record)
        images += pixels
    labels = any(slot.classes for file in job.row.files for slot in file.slots)
    if len(images) > 1 and not labels and not any(view.flat for record in records for view in record.views):
        records[-1] = records[-1]._replace(shift=shift_between(images[0], images[-1]))
    return records


def _look_at_file(row: SampleRow, file: Wanted, reader: Reader, decode: bool) -> tuple[FileRecord, list[np.ndarray]]:
    try:
        info, size = reader.info(file.path), signature(file.path)[0]
    except (ImageError, OSError) as error:
        return _failed(row, file, str(error)), []
    record = FileRecord(row.phase, row.number, file.path, file.slots, info, size)
    if not decode:
        return record, []
    try:
        images = read(file, reader)
        hidden = None if info.nodata is None else reader.hidden(file.path)
    except ImageError as error:
        return _second_try(record._replace(error=str(error)), reader)
    hidden_parts = [None] * len(images) if hidden is None else np.array_split(hidden, len(images), axis=1)
    return record._replace(views=tuple(map(view, images, hidden_parts))), images


def read(file: Wanted, reader: Reader) -> list[np.ndarray]:
    """The images of a file as training takes them, in full size. Raises ImageError if they cannot be."""
    if any(slot.classes for slot in file.slots):
        return [reader.labels(file.path)]
    pixels = reader.pixels(file.path, max(slot.channels for slot in file.slots))
    return np.array_split(pixels, len(file.slots), axis=1)


def _second_try(record: FileRecord, reader: Reader) -> tuple[FileRecord, list[np.ndarray]]:
    """With the channels that the file has: is it the file that is wrong, or the options?"""
    assert record.info is not None
    try:
        pixels = reader.pixels(record.path, record.info.channels * record.info.pages)
    except ImageError:
        return record._replace(readable=False), []
    images = np.array_split(pixels, len(record.slots), axis=1)
    return record._replace(views=tuple(view(image) for image in images)), images


def _failed(row: SampleRow, file: Wanted, error: str) -> FileRecord:
    return FileRecord(row.phase, row.number, file.path, file.slots, error=error, readable=False)
