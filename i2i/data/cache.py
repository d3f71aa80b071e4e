"""Resized images kept in files of their own, in memory or on disk, from which all processes read."""

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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from i2i.data.files import signature
from i2i.data.options import ImageOptions
from i2i.errors import file_errors

log = logging.getLogger(__name__)

HEADER = struct.Struct("<8sQq8s4I16x")  # the format, size and time of the source, the type, dimensions and shape
FORMAT = b"i2i-px01"
SET, ENTRY = "i2i-cache-", ".pixels"  # the start of the folder of each data set, the end of the file of each image
IN_MEMORY, LOCK = "i2i-memory-", ".lock"
LEDGER = ".pages"
FORGOTTEN = 3600  # seconds after which a folder without a lock is nobody's
PAGE = 4096  # bytes; what a file system gives at the least
VERSION = 2  # of what readers make of files: entries of another one are not used
GIB = 2**30


def build_cache(config: ImageOptions, files: Sequence[str]) -> ImageCache | None:
    """What `--cache` asks for, for images made of `files`; None for none.

    Raises:
        ValueError: if `--cache_dir` cannot be used.
    """
    if config.cache == "none":
        return None
    limit, given = int(config.cache_limit * GIB), (config.dataroot, config.dataroot_A, config.dataroot_B)
    roots = [os.path.abspath(folder) for folder in given if folder]
    name = _digest(repr((VERSION, roots, config.preprocess, config.load_size, config.crop_size)))
    if config.cache == "ram":
        return _in_memory(name, limit, len(files))
    root = Path(config.cache_dir) if config.cache_dir else user_cache_folder()
    with file_errors("--cache_dir", root):
        return ImageCache(root, name, limit, len(files), str(root))


def user_cache_folder() -> Path:
    """Where programs keep what they can make again: i2i below $XDG_CACHE_HOME, %LOCALAPPDATA% or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "i2i"


def _in_memory(name: str, limit: int, images: int) -> ImageCache:
    """A cache that goes with this process; what killed ones have left is removed now."""
    memory, disk = Path("/dev/shm"), Path(tempfile.gettempdir())
    for left in (*memory.glob(f"{IN_MEMORY}*"), *disk.glob(f"{IN_MEMORY}*")):
        with contextlib.suppress(Timeout, OSError):  # it is in use, or someone else's
            if (left / LOCK).exists() or left.stat().st_mtime < time.time() - FORGOTTEN:
                with FileLock(left / LOCK, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
    # Batches on their way out of the workers need memory too. A folder for temporary files stays in memory as long as
    # the system has no better use for it.
    parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > limit + GIB else disk
    with file_errors("--cache ram", parent):
        root = Path(tempfile.mkdtemp(prefix=IN_MEMORY, dir=parent))
        lock = FileLock(root / LOCK)
        lock.acquire()
        cache = ImageCache(root, name, limit, images, f"memory ({parent})")
    weakref.finalize(cache, _discard, root, lock, os.getpid())
    return cache


def _discard(root: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() == owner:  # and no forked worker
        lock.release()
        shutil.rmtree(root, ignore_errors=True)


class ImageCache:
    """Pixels by the file that they come from, at most `limit` bytes of them in all the data sets below `root`.

    It may be pickled and forked: all processes share what is kept. `images` is the number of files of the data set.
    A file system without room, or whatever else goes wrong, ends the keeping and never a run.
    """

    def __init__(self, root: Path, name: str, limit: int, images: int, place: str) -> None:
        self.root, self.folder = root, root / f"{SET}{name}"
        self.limit, self.images, self.place = limit, images, place
        self.announced = self.full = False
        self._asked, self._given = 0, 0  # images, and the bytes that keeping them takes
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, path: str, recipe: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gave for `recipe` when the file `path` was as it is now; a copy that may be written to."""
        try:
            source = signature(path)
        except OSError:
            return make()  # which tells what is wrong with it
        entry = self.folder / f"{_digest(f'{os.path.abspath(path)} {recipe}')}{ENTRY}"
        pixels = _read(entry, source)
        if pixels is None:
            pixels = make()
            self._keep(entry, source, pixels)
        self._asked, self._given = self._asked + 1, self._given + _on_disk(HEADER.size + pixels.nbytes)
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
            with contextlib.suppress(PermissionError):  # from Windows, while another process reads the entry
                os.replace(temporary, entry)
        except FileNotFoundError:
            self.full = True  # the run that made the folder has ended and removed it
        except OSError as error:
            self._give_up(error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _reserve(self, count: int) -> bool:
        """Whether `count` more bytes fit.

        Every process appends a byte a page to one file, whose length is what all of them have taken: no lock is needed.
        """
        with open(self.root / LEDGER, "ab", buffering=0) as ledger:
            ledger.write(bytes(_on_disk(count) // PAGE))
            self.full = ledger.tell() * PAGE > self.limit
        return not self.full

    def _give_up(self, error: OSError) -> None:
        self.full, told = True, False
        with contextlib.suppress(OSError):
            told = (self.root / LEDGER).stat().st_size * PAGE > self.limit
            os.truncate(self.root / LEDGER, self.limit // PAGE + 1)  # for the other processes to see
        if not told:
            log.warning("--cache: no more images are kept in %s (%s)", self.folder, error.strerror)

    def announce(self) -> None:
        """Log how much the images will take, going by those asked for so far, and make room for them on disk."""
        self.announced = True
        if not self._asked:
            return
        need = self._given * self.images // self._asked
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
        """Remove other data sets, the one used longest ago first, until `need` bytes fit; gives how many do."""
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
    """The pixels in `entry`; None if there is none, of another `source`, or damaged."""
    try:
        with open(entry, "rb", buffering=0) as file:
            # Not mapped into memory: that is no faster, and a file cut short by someone else would be a bus error.
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
    """A number of bytes for people: 512 KiB, 3.1 MiB, 0.26 GiB."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.3g} MiB" if count < 2**27 else f"{count / GIB:.3g} GiB"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _on_disk(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _taken(folder: Path) -> int:
    """The bytes that a data set takes."""
    taken = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another process may just have given it its name
                taken += _on_disk(entry.stat().st_size)
    return taken


def _remove(folder: Path) -> None:
    """Remove a data set and nothing else that may lie there."""
    for entry in folder.glob(f"*{ENTRY}"):
        entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
