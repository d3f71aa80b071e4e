"""How the C library handles the memory of images."""

from __future__ import annotations

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
EVER = 2**31 - 1  # bytes, the largest number that it takes


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back, where the C library is glibc's.

    Else every image is a few dozen page faults, which take about as long as copying it. Before torch has made its first
    tensor this also gets it large tensors on large pages, where Linux leaves that to programs.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once; c10/core/alignment.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_MAX, 0)  # nothing is too large for the heap
        mallopt(M_TRIM_THRESHOLD, EVER)
