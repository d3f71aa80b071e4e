"""Keep resized images in files, in memory or on disk, that all processes read."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import struct
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from i2i.data.files import signature
from i2i.errors import file_errors

log = logging.getLogger(__name__)

HEADER = struct.Struct("<8sQq8s4I16x")  # format, size and time of the source, dtype, number of dimensions, shape
FORMAT = b"i2i-px01"
SET, ENTRY = "i2i-cache-", ".pixels"  # prefix of the folder of a data set, suffix of the file of an image
IN_MEMORY, LOCK = "i2i-memory-", ".lock"
LEDGER = ".pages"
ABANDONED = 3600  # seconds after which a folder without a lock counts as abandoned
PAGE = 4096  # bytes; the smallest unit that a file system allocates
VERSION = 2  # raised when readers decode files differently, so that older entries are not used
GIB = 2**30


def build_cache(
    kind: str, *, data: tuple[object, ...], images: int, limit_gib: float = 8.0, folder: str | None = None
) -> ImageCache | None:
    """Return the cache of `--cache KIND`; None for none.

    Args:
        data: the folders and sizes that tell one data set from another.
        images: the number of files of the data set.
        folder: where a cache on disk lies; None for the user's cache folder.

    Raises:
        UserError: if the folder cannot be used.
    """
    if kind == "none":
        return None
    limit, name = int(limit_gib * GIB), _digest(repr((VERSION, *data)))
    if kind == "ram":
        return _in_memory(name, limit, images)
    root = Path(folder) if folder else user_cache_folder()
    with file_errors("--cache_dir", root):
        return ImageCache(root, name, limit, images, str(root))


def user_cache_folder() -> Path:
    """Return i2i's folder below $XDG_CACHE_HOME, %LOCALAPPDATA% or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "i2i"


def _in_memory(name: str, limit: int, images: int) -> ImageCache:
    """Return a cache that ends with this process, and remove those that killed processes have left."""
    memory, disk = Path("/dev/shm"), Path(tempfile.gettempdir())
    for left in (*memory.glob(f"{IN_MEMORY}*"), *disk.glob(f"{IN_MEMORY}*")):
        with contextlib.suppress(Timeout, OSError):  # in use, or another user's
            if (left / LOCK).exists() or left.stat().st_mtime < time.time() - ABANDONED:
                with FileLock(left / LOCK, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
    # Batches on their way from the workers need shared memory too. If there is too little, files in the folder for
    # temporary files stay in the system's file cache as long as memory is free.
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > limit + GIB else disk
    with file_errors("--cache ram", parent):
        root = Path(tempfile.mkdtemp(prefix=IN_MEMORY, dir=parent))
        lock = FileLock(root / LOCK)
        lock.acquire()
        cache = ImageCache(root, name, limit, images, f"memory ({parent})")
    weakref.finalize(cache, _discard, root, lock, os.getpid())
    return cache


def _discard(root: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker must not remove it
        lock.release()
        shutil.rmtree(root, ignore_errors=True)


class ImageCache:
    """A cache of pixels by source file; all data sets below `root` together take at most `limit` bytes.

    It may be pickled and forked: all processes share its entries. `images` is the number of files of the data set, and
    `place` names the cache in messages. After an error of the file system no more images are kept; the run goes on.
    """

    def __init__(self, root: Path, name: str, limit: int, images: int, place: str) -> None:
        self.root, self.folder = root, root / f"{SET}{name}"
        self.limit, self.images, self.place = limit, images, place
        self.announced = self.full = False
        self._requests, self._bytes = 0, 0  # of `get`, and the bytes that keeping their images takes
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, path: str, recipe: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what `make` returns, kept for `recipe` until the file `path` changes; the array may be written to."""
        try:
            source = signature(path)
        except OSError:
            return make()  # which reports the error
        entry = self.folder / f"{_digest(f'{os.path.abspath(path)} {recipe}')}{ENTRY}"
        pixels = _read(entry, source)
        if pixels is None:
            pixels = make()
            self._keep(entry, source, pixels)
        self._requests, self._bytes = self._requests + 1, self._bytes + _on_disk(HEADER.size + pixels.nbytes)
        return pixels

    def _keep(self, entry: Path, source: tuple[int, int], pixels: np.ndarray) -> None:
        if self.full:
            return
        temporary = entry.with_suffix(f".{os.getpid()}")
        try:
            if not self._reserve(HEADER.size + pixels.nbytes):
                return
            shape = (*pixels.shape, 0, 0)[:3]
            with open(temporary, "wb") as file:
                file.write(HEADER.pack(FORMAT, *source, pixels.dtype.str.encode(), pixels.ndim, *shape))
                file.write(np.ascontiguousarray(pixels).data)
            with contextlib.suppress(PermissionError):  # on Windows, while another process reads the entry
                os.replace(temporary, entry)
        except FileNotFoundError:
            self.full = True  # the process that made the folder has ended and removed it
        except OSError as error:
            self._give_up(error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _reserve(self, count: int) -> bool:
        """Return True if `count` more bytes fit.

        Every process appends one byte per page to the same file. Its length counts the pages that all processes have
        taken, without a lock.
        """
        with open(self.root / LEDGER, "ab", buffering=0) as ledger:
            ledger.write(bytes(_on_disk(count) // PAGE))
            self.full = ledger.tell() * PAGE > self.limit
        return not self.full

    def _give_up(self, error: OSError) -> None:
        self.full, told = True, False
        with contextlib.suppress(OSError):
            told = (self.root / LEDGER).stat().st_size * PAGE > self.limit
            os.truncate(self.root / LEDGER, self.limit // PAGE + 1)  # stops the other processes as well
        if not told:
            log.warning("--cache: no more images are kept in %s (%s)", self.folder, error.strerror)

    def announce(self) -> None:
        """Log how much all images will take, estimated from the requests so far, and make room for them."""
        self.announced = True
        if not self._requests:
            return
        need = self._bytes * self.images // self._requests
        try:
            room = self._make_room(need)
        except OSError as error:
            return self._give_up(error)
        shown, limit = f"{self.images:,} images, {shown_size(need)}", shown_size(self.limit)
        if need <= room:
            log.info("cache: %s of at most %s in %s", shown, limit, self.place)
        else:
            fit = f"{self.images * room // need:,}"
            log.info("cache: %s, of which %s fit into the %s in %s", shown, fit, limit, self.place)

    def _make_room(self, need: int) -> int:
        """Remove other data sets, least recently used first, until `need` bytes fit; return how many bytes fit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.utime(self.folder)
        used = {folder: _taken(folder) for folder in sorted(self.root.glob(f"{SET}*"), key=os.path.getmtime)}
        own = used.pop(self.folder)
        while used and self.limit - sum(used.values()) < need:
            folder = next(iter(used))
            used.pop(folder)
            _remove(folder)
        with open(self.root / LEDGER, "wb") as ledger:
            ledger.truncate((own + sum(used.values())) // PAGE)
        self.full = False
        return self.limit - sum(used.values())


def _read(entry: Path, source: tuple[int, int]) -> np.ndarray | None:
    """Return the pixels in `entry`; None if it is missing, damaged, or made from another `source`."""
    try:
        with open(entry, "rb", buffering=0) as file:
            # A memory map is no faster, and a file that another program truncates would cause a bus error.
            data = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
            if file.readinto(data.data) < max(len(data), HEADER.size):
                return None
        kind, *found, dtype, dimensions, height, width, channels = HEADER.unpack_from(data.data)
        shape = (height, width, channels)[:dimensions]
        pixels = data[HEADER.size :].view(np.dtype(dtype.rstrip(b"\0").decode()))
    except (OSError, ValueError, TypeError):
        return None
    whole = kind == FORMAT and tuple(found) == source and dimensions in (2, 3) and pixels.size == math.prod(shape)
    return pixels.reshape(shape) if whole else None


def shown_size(count: float) -> str:
    """Format a number of bytes: 512 KiB, 3.1 MiB, 0.26 GiB."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.3g} MiB" if count < 2**27 else f"{count / GIB:.3g} GiB"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _on_disk(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _taken(folder: Path) -> int:
    """Return the bytes that a data set takes on disk."""
    taken = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another process has just renamed it
                taken += _on_disk(entry.stat().st_size)
    return taken


def _remove(folder: Path) -> None:
    """Remove the entries of a data set, and its folder if that leaves it empty."""
    for entry in folder.glob(f"*{ENTRY}"):
        entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
