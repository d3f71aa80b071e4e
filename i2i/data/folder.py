"""Finding image files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import natsort

from i2i.data.files import SEPARATOR, suffix
from i2i.data.reading import readable_extensions


def is_image(path: str) -> bool:
    """Whether the name of a file says that it is an image."""
    return suffix(path) in readable_extensions()


def list_images(folder: str | Path, limit: int | None = None) -> list[str]:
    """Image files below `folder` in natural order (img2 before img10); hidden files are left out, links followed."""
    # Sorted twice: img1 and img01 are alike to natsort, and the order of a file system is anybody's guess.
    return natsort.natsorted(sorted(_walk(folder)))[:limit]


def has_images(folder: str | Path, recursive: bool = True) -> bool:
    """Whether an image file lies in `folder`, or anywhere below it."""
    return next(_walk(folder, recursive), None) is not None


def _walk(folder: str | Path, recursive: bool = True) -> Iterator[str]:
    extensions = readable_extensions()
    seen: set[str] = set()  # a link may lead back to where it lies
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions:
                yield os.path.join(parent, name)


def describe(looked_for: Path, root: Path, phase: str, mode: str) -> str:
    """What there is in place of the images that were looked for, in a few words, and the way out."""
    if not root.is_dir():
        return f"--dataroot {root} is not a folder"
    found = f"which holds {_contents(looked_for)}" if looked_for.is_dir() else "which does not exist"
    if looked_for != root:
        found += f"; {root} holds {_contents(root)}"
    if any(root.glob("*.tar")):
        found += f"; shards are --dataroot '{root / '*.tar'}'"
    modes = [name for name in fitting_modes(root, phase) if name != mode]
    return found + (f"; --dataset_mode {' or '.join(modes)} would fit" if modes else "")


def _contents(folder: Path) -> str:
    names = sorted(os.listdir(folder))
    shown = [name + "/" * (folder / name).is_dir() for name in natsort.natsorted(names[:8])]
    return ", ".join(shown) + (", ..." if len(names) > 8 else "") or "nothing"


def fitting_modes(root: Path, phase: str) -> list[str]:
    """The dataset modes whose layout `root` has for `phase`."""
    modes = []
    if (root / f"{phase}A").is_dir() and (root / f"{phase}B").is_dir():
        modes.append("unaligned")
    if has_images(root / phase, recursive=False):
        modes.append("aligned")
    if any(root.glob("*-images[-.]idx3-ubyte*")) or class_folders(root, phase)[1]:
        modes.append("classes")
    if has_images(root, recursive=False):
        modes.append("single")
    return modes


def class_folders(root: Path, phase: str) -> tuple[Path, list[str]]:
    """The folder that holds the class folders of `phase`, `<root>/<phase>` or else `root`, and the classes' names.

    The names are in natural order; right in `root`, a folder called train, testA and the like is no class.
    """
    if (root / phase).is_dir():
        return root / phase, _subfolders(root / phase)
    return root, [name for name in _subfolders(root) if not re.fullmatch("(train|val|test)[AB]?", name)]


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return natsort.natsorted(name for name in names if has_images(folder / name))


def common_stem(paths: Sequence[str | Path], root: str | Path) -> list[str]:
    """The path of each file below `root` without its extension, made different where two would collide.

    Files that differ in their extension alone (or only in case, which some file systems ignore) keep it in their name.
    """
    relative = [Path(os.path.relpath(str(path).replace(f".tar{SEPARATOR}", os.sep), root)) for path in paths]
    stems = [path.with_suffix("").as_posix() for path in relative]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem.casefold()] = counts.get(stem.casefold(), 0) + 1
    taken: set[str] = {stem.casefold() for stem in stems if counts[stem.casefold()] == 1}
    names = []
    for stem, path in zip(stems, relative, strict=True):
        name = stem
        if counts[stem.casefold()] > 1:
            name, number = path.as_posix(), 2
            while name.casefold() in taken:
                name, number = f"{path.as_posix()}_{number}", number + 1
            taken.add(name.casefold())
        names.append(name)
    return names
