"""Settings of the whole process: the commands make them, each in its `main`; the library never does.

Nothing here imports torch when it is imported, as `limit_spinning` has to come before that.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import warnings
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

SPIN_COUNT = "10000"  # iterations that a waiting thread spins before it sleeps; docs/benchmarks.md has the measurements
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
MAX_INT = 2**31 - 1


def limit_spinning() -> None:
    """Let waiting OpenMP threads sleep soon, unless the environment says otherwise; call this before importing torch.

    By default they spin for long, which takes cores from loader workers and from everything else on the machine.
    libgomp reads the setting when torch is first imported.
    """
    if not any(name in os.environ for name in SPIN_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def keep_freed_memory() -> None:
    """Keep freed memory in this process instead of returning it to the system, where the C library is glibc.

    Otherwise every image costs a few dozen page faults, which take about as long as copying it. Called before torch
    makes its first tensor, it also puts large tensors on large pages, where Linux lets programs choose.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once; c10/core/alignment.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_MAX, 0)  # nothing is too large for the heap
        mallopt(M_TRIM_THRESHOLD, MAX_INT)


def silence_libraries() -> None:
    """Suppress tifffile's messages about odd tags and torch's warning about the future of TorchScript."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)


class ProcessSettings(Protocol):
    """The settings of `i2i.acceleration.Choices` that hold for a whole process."""

    @property
    def keep_memory(self) -> bool: ...
    @property
    def precision(self) -> str: ...
    @property
    def cudnn_benchmark(self) -> bool: ...


def prepare_process(settings: ProcessSettings, device: torch.device) -> None:
    """Set the allocator and, on a CUDA device, TF32 and the choice of cuDNN algorithms."""
    if settings.keep_memory:
        keep_freed_memory()
    if device.type == "cuda":
        import torch

        # Not the newer `fp32_precision`: once that is set, reading these flags raises, and torch's compiler reads them.
        torch.backends.cudnn.allow_tf32 = settings.precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = False  # torch's default; matrix products are a small part of the work
        torch.backends.cudnn.benchmark = settings.cudnn_benchmark


def disable_tf32() -> None:
    """Compute CUDA convolutions without TF32 from here on, so that LPIPS and Inception give exact figures."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
