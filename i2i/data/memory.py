"""How the C library handles the memory of images."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT, LARGEST = 2**28, 2**25  # bytes; glibc takes no more for the second


def keep_freed_memory() -> None:
    """Let this process use freed memory again instead of giving it back, where the C library is glibc's.

    Else every image is a few dozen page faults, which take about as long as copying it.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, KEPT)
