"""Run the worker processes of a DataLoader, and turn their failures into one clear line."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from i2i.errors import UserError
from i2i.process import keep_freed_memory, silence_libraries

CHECK = 5  # seconds between two checks of workers that send nothing
DEADLINE = 600.0  # seconds without a batch after which workers are killed
DEATHS = (EOFError, ConnectionError, FileNotFoundError)  # raised when a worker dies while it hands over memory
WAY_OUT = "use a smaller --num_threads, or 0, which loads images in the main process"


def worker_options(count: int) -> dict[str, Any]:
    """Return the arguments of a DataLoader with `count` workers whose items `loaded` yields."""
    # With its own generator, the loader does not advance the global random state, from which dropout draws.
    generator = torch.Generator().manual_seed(0)
    timeout = CHECK if count else 0
    return {"num_workers": count, "worker_init_fn": _set_up_worker, "generator": generator, "timeout": timeout}


def _set_up_worker(worker: int) -> None:
    keep_freed_memory()
    silence_libraries()
    # A terminal sends Ctrl-C to the whole process group, but the main process needs its batches to finish the step.
    # (If workers ignored SIGTERM instead, the interpreter would hang at its exit, where it ends them by SIGTERM.)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:  # Windows, where only Ctrl-C reaches workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGHUP", "SIGUSR1"):  # a job scheduler sends them to all processes, but means the main one
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # A spawned process shuts its interpreter down while a thread still sends batches, which sometimes aborts.
    atexit.register(os._exit, 0)


def loaded(loader: DataLoader) -> Iterator[Any]:
    """Yield the items of `loader`.

    Raises:
        UserError: if its workers cannot be started, if one dies, or if none sends anything for `DEADLINE` seconds.
    """
    if loader.num_workers == 0:
        yield from loader
        return
    batches = _started(loader)
    with WorkerWatchdog(getattr(batches, "_workers", ())) as watchdog:
        while True:
            watchdog.start_waiting()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                if str(error).startswith("DataLoader timed out") and not watchdog.has_killed:
                    continue
                _kill_workers(batches)
                if (failure := watchdog.failure() or worker_failure(error)) is None:
                    raise
                raise failure from None
            watchdog.stop_waiting()
            yield batch


def _started(loader: DataLoader) -> Iterator[Any]:
    try:
        return iter(loader)
    except OSError as error:  # no semaphores, processes or files are left
        raise UserError(f"no process that loads images can be started ({error.strerror or error}); {WAY_OUT}") from None


def _kill_workers(batches: Any) -> None:
    """Kill the workers and shut the loader down, so that their deaths are not reported as errors."""
    with contextlib.suppress(RuntimeError, AttributeError):  # such a report, or a loader without workers
        batches._shutdown_workers()
    for worker in getattr(batches, "_workers", ()):
        worker.kill()


class WorkerWatchdog:
    """A thread that kills workers from which nothing has come for `DEADLINE` seconds.

    The DataLoader's own timeout is not enough: a worker that stops in the middle of a message blocks its reader.
    """

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers, self._waiting_since = workers, math.inf
        self._stopped = threading.Event()
        self.has_killed = False
        self._thread = threading.Thread(target=self._run, name="worker watchdog", daemon=True)

    def __enter__(self) -> WorkerWatchdog:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()

    def start_waiting(self) -> None:
        """Measure the time from now on, unless it is being measured already."""
        self._waiting_since = min(self._waiting_since, time.monotonic())

    def stop_waiting(self) -> None:
        """Note that a batch has come."""
        self._waiting_since = math.inf

    def failure(self) -> UserError | None:
        """Return the error for the user if the workers have been killed."""
        text = f"the processes that load images have sent nothing for {DEADLINE:g} s; {WAY_OUT}"
        return UserError(text) if self.has_killed else None

    def _run(self) -> None:
        while not self._stopped.wait(CHECK):
            if time.monotonic() - self._waiting_since > DEADLINE:
                self.has_killed = True
                for worker in self._workers:
                    worker.kill()
                return


def worker_failure(error: BaseException) -> UserError | None:
    """Return the error for the user if the DataLoader raised `error` because a worker failed, else None."""
    text = str(error)
    if text.startswith("Too many open files"):
        return UserError(f"too many open files for the processes that load images: raise `ulimit -n`; or {WAY_OUT}")
    if isinstance(error, DEATHS) and not text.startswith("Caught "):  # the beginning of errors of the data set
        text = "DataLoader worker"
    if not text.startswith("DataLoader worker"):
        return None
    why = "most likely because memory ran out (in a container: shared memory, docker run --shm-size=2g)"
    return UserError(f"a process that loads images has died, {why}; {WAY_OUT}")
