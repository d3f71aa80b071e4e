"""Writing files atomically: under a temporary name beside the file that they replace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 255  # of a file's name, on nearly every file system


def temporary_beside(path: Path, owner: str = "") -> Path:
    """Return a hidden path in the folder of `path`, to write what then replaces it.

    The name is that of `path` with `.tmp`, or a hash of it where that would be too long for the file system. `owner`
    makes it another one: for a file that several processes may write at once.
    """
    name = f".{owner}{path.name}.tmp"
    return path.with_name(name if len(os.fsencode(name)) <= MOST_BYTES else f".{owner}{_digest(path.name)}.tmp")


def fitting(name: str, end: str = "") -> str:
    """Return `name` + `end`, with `name` cut and a hash of all of it added where the file system could not hold both.

    One name always gives the same result, and different names give different ones.
    """
    content, most = os.fsencode(name), MOST_BYTES - len(os.fsencode(end))
    if len(content) <= most:
        return name + end
    mark = f"~{_digest(name)}"
    # Cut between characters; bytes that are no characters are in the hash all the same.
    return content[: most - len(mark)].decode("utf-8", errors="ignore") + mark + end


def _digest(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Write a file, never seen half written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which is renamed to `path` on success; a pipe or a device is written to itself."""
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = temporary_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
