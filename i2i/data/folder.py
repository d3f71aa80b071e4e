"""Finding and reading image files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import natsort
import numpy as np
from PIL import Image, ImageOps

from i2i.data.batch import ImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Pillow registers these only to identify or to hand them to other programs.
UNREADABLE = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def image_extensions() -> frozenset[str]:
    """The file extensions, lower case with the dot, that Pillow can read."""
    formats = Image.registered_extensions()
    return frozenset(ext for ext, name in formats.items() if name in Image.OPEN and name not in UNREADABLE)


def list_images(folder: str | Path, limit: int | None = None) -> list[str]:
    """Image files below `folder` in natural order (img2 before img10); hidden files are left out, links followed."""
    # Sorted twice: img1 and img01 are alike to natsort, and the order of a file system is anybody's guess.
    return natsort.natsorted(sorted(_walk(folder)))[:limit]


def has_images(folder: str | Path, recursive: bool = True) -> bool:
    """Whether an image file lies in `folder`, or anywhere below it."""
    return next(_walk(folder, recursive), None) is not None


def _walk(folder: str | Path, recursive: bool = True) -> Iterator[str]:
    extensions = image_extensions()
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


def open_image(path: str | Path, channels: int) -> Image.Image:
    """Read one image, upright, with 1 (grey), 3 (RGB) or 4 (RGBA) channels of 8 bits.

    Raises:
        ImageError: if the file is missing, truncated or no image, or has pixels of 32 bits.
    """
    try:
        with Image.open(path) as image:
            return upright_eight_bit(image, channels)
    except Exception as error:  # there is hardly a type that Pillow's readers do not raise on a damaged file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.split("\n")[0].replace(f" {str(path)!r}", "")
        raise ImageError(f"{path} cannot be read as an image ({reason})") from None


def upright_eight_bit(image: Image.Image, channels: int) -> Image.Image:
    """An opened image turned as its EXIF data says, with 1 (grey), 3 (RGB) or 4 (RGBA) channels of 8 bits.

    Raises:
        ValueError: for pixels of 32 bits, whose range is not known.
    """
    upright = ImageOps.exif_transpose(image)
    upright.format = image.format  # a copy forgets it, and what a pixel means depends on it
    return _eight_bit(upright).convert(MODES[channels])


def _eight_bit(image: Image.Image) -> Image.Image:
    """`image` in a mode that Pillow's `convert` takes to 8 bits without clipping and without a warning."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError("pixels of 32 bits have no fixed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGBA") if isinstance(image.info.get("transparency"), bytes) else image


def common_stem(paths: Sequence[str | Path], root: str | Path) -> list[str]:
    """The path of each file below `root` without its extension, made different where two would collide.

    Files that differ in their extension alone (or only in case, which some file systems ignore) keep it in their name.
    """
    relative = [Path(os.path.relpath(path, root)) for path in paths]
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
