"""Find image files, and describe folders in error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import natsort

from i2i.data.files import SEPARATOR, suffix
from i2i.data.images import readable_extensions
from i2i.data.images.extras import EXTRAS

# Files that systems and people leave beside images.
LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "readme", "license", "licence", "copying"}
LITTER_FOLDERS = {"@eadir", "__macosx"}
NOTES = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".html", ".htm"}
NOTES |= {".log", ".pdf", ".py", ".sh"}
SHOWN = 3  # examples of an extension
PHASE_FOLDER = re.compile("(train|val|test)[AB]?", re.IGNORECASE)


def is_image(path: str) -> bool:
    """Return True if the extension is one of an image format."""
    return suffix(path) in readable_extensions()


def list_images(folder: str | Path, limit: int | None = None, passed_over: list[str] | None = None) -> list[str]:
    """List image files below `folder` in natural order (img2 before img10), without hidden files; follow links.

    Other files, except notes and litter, and folders that cannot be opened are added to `passed_over`.
    """
    # Sorted twice, because natsort keeps the order of the file system for img1 and img01.
    return natsort.natsorted(sorted(_walk(folder, passed_over=passed_over)))[:limit]


def described_by_extension(paths: Sequence[str]) -> list[str]:
    """Describe `paths` by extension: their number, examples, and the extra of i2i that can read them."""
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kind = "a folder that cannot be opened" if os.path.isdir(path) else suffix(path) or "no extension"
        kinds.setdefault(kind, []).append(os.path.basename(path))
    return [
        f"{len(names):,} of {kind} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        + (f", which pip install 'i2i-gan[{EXTRAS[kind]}]' reads" if kind in EXTRAS else "")
        for kind, names in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]


def in_any_case(path: Path, root: Path) -> Path:
    """Return `path` below `root`, or the only folder whose name differs from it in case alone."""
    if path.is_dir() or path == root or not path.is_relative_to(root):
        return path
    parent = in_any_case(path.parent, root)
    try:
        alike = [entry for entry in parent.iterdir() if entry.name.casefold() == path.name.casefold()]
    except OSError:
        return path
    found = [entry for entry in alike if entry.is_dir()]
    return found[0] if len(found) == 1 else path


def has_images(folder: str | Path, recursive: bool = True) -> bool:
    """Return True if an image file lies in `folder` or, if `recursive`, below it."""
    return next(_walk(folder, recursive), None) is not None


def _walk(folder: str | Path, recursive: bool = True, passed_over: list[str] | None = None) -> Iterator[str]:
    extensions, others = readable_extensions(), [] if passed_over is None else passed_over
    seen: set[str] = set()  # links may form loops

    def note_unreadable(error: OSError) -> None:
        others.append(str(error.filename))

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=note_unreadable):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if recursive and not _is_litter(name, LITTER_FOLDERS))
        for name in sorted(files):
            if _is_litter(name, LITTER):
                continue
            extension = suffix(name)
            if extension in extensions:
                yield os.path.join(parent, name)
            elif extension not in NOTES:
                others.append(os.path.join(parent, name))


def _is_litter(name: str, known: set[str]) -> bool:
    return name.startswith(".") or name.casefold() in known


def describe(looked_for: Path, root: Path, phase: str, mode: str) -> str:
    """Describe what a folder holds instead of the expected images, and name a `--dataset_mode` that would fit."""
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
    """Return the dataset modes that `root` fits for `phase`."""
    modes = []
    if root.is_file():
        return ["single"] if is_image(str(root)) else []
    if all(in_any_case(root / f"{phase}{name}", root).is_dir() for name in "AB"):
        modes.append("unaligned")
    if has_images(in_any_case(root / phase, root), recursive=False):
        modes.append("aligned")
    if any(root.glob("*-images[-.]idx3-ubyte*")) or class_folders(root, phase)[1]:
        modes.append("classes")
    if has_images(root, recursive=False):
        modes.append("single")
    return modes


def class_folders(root: Path, phase: str) -> tuple[Path, list[str]]:
    """Return the folder that holds the class folders of `phase`, `<root>/<phase>` or `root`, and the names of classes.

    The names are in natural order. Directly in `root`, folders called train, testA and the like are no classes.
    """
    folder = in_any_case(root / phase, root)
    if not folder.is_dir():
        folder = root
    names = [name for name in _subfolders(folder) if has_images(folder / name)]
    return folder, [name for name in names if folder != root or not PHASE_FOLDER.fullmatch(name)]


def empty_folders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder` that hold no image."""
    return [name for name in _subfolders(folder) if not has_images(folder / name)]


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    return natsort.natsorted(name for name in names if not _is_litter(name, LITTER_FOLDERS))


def common_stem(paths: Sequence[str | Path], root: str | Path) -> list[str]:
    """Return the path of each file relative to `root` without its extension, unique even if case is ignored.

    Files that would collide keep their extension, and get a number if that is not enough.
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
