"""The bytes of a file, which may be a member of a tar file: `shards-000.tar::000012.a.jpg`."""

from __future__ import annotations

import os

SEPARATOR = "::"  # between a tar file and the name of its member
_MEMBER = f".tar{SEPARATOR}"


def read_bytes(path: str) -> bytes:
    """The content of a file, or of a member of a tar file.

    Raises:
        OSError, ImageError: if it cannot be read.
    """
    if _MEMBER in path:
        from i2i.data.shards import read_member

        return read_member(path)
    with open(path, "rb", buffering=0) as file:
        return file.read()


def suffix(path: str) -> str:
    """The extension in lower case, with its dot."""
    return os.path.splitext(path)[1].lower()


def signature(path: str) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; of a member those of its tar file."""
    tar, member, _ = path.partition(_MEMBER)
    status = os.stat(f"{tar}.tar" if member else path)
    return status.st_size, status.st_mtime_ns
