"""Read files and members of tar files, whose paths look like `shards-000.tar::000012.a.jpg`."""

from __future__ import annotations

import functools
import os
import tarfile

from i2i.data.batch import ImageError

SEPARATOR = "::"  # between the path of a tar file and the name of a member
_MEMBER = f".tar{SEPARATOR}"


def read_bytes(path: str) -> bytes:
    """Return the content of a file, or of a member of a tar file.

    Raises:
        OSError, ImageError: if it cannot be read.
    """
    if _MEMBER in path:
        return read_member(path)
    with open(path, "rb", buffering=0) as file:
        return file.read()


def suffix(path: str) -> str:
    """Return the extension in lower case, with its dot."""
    return os.path.splitext(path)[1].lower()


def signature(path: str) -> tuple[int, int]:
    """Return the size in bytes and the modification time in ns; for a member, those of its tar file."""
    tar, member, _ = path.partition(_MEMBER)
    status = os.stat(f"{tar}.tar" if member else path)
    return status.st_size, status.st_mtime_ns


def read_member(path: str) -> bytes:
    """Return the content of the member `<tar file>::<member>`.

    Raises:
        ImageError: if there is no such member, or the tar file is missing or damaged.
    """
    shard, name = path.split(SEPARATOR, 1)
    try:
        offset, size = tar_members(shard, signature(shard))[name]
        with open(shard, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror})") from None
    except KeyError:
        raise ImageError(f"{path} cannot be read (the tar file has no such member)") from None


@functools.cache  # forked workers inherit it; spawned ones index the shards that they read
def tar_members(shard: str, signature: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the offset and size of every regular file in a tar file. A changed file has a new `signature`."""
    try:
        with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            members = {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
            file.seek(tar.offset)
            ends = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (OSError, tarfile.TarError) as error:
        raise ImageError(f"{shard} cannot be read as a tar file without compression ({error})") from None
    if not ends:  # tarfile takes an unreadable header for the end, without an error
        raise ImageError(f"{shard} is damaged or incomplete after {len(members)} files; fetch or make it again")
    return members
