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
    return natsort.natsorted(_walk(folder))[:limit]


def has_images(folder: str | Path, recursive: bool = True) -> bool:
    """Whether an image file lies in `folder`, or anywhere below it."""
    return next(_walk(folder, recursive), None) is not None


def _walk(folder: str | Path, recursive: bool = True) -> Iterator[str]:
    extensions = image_extensions()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions:
                yield os.path.join(parent, name)


def require_images(folder: Path, root: Path, phase: str, mode: str, limit: int | None = None) -> list[str]:
    """`list_images`, or a ValueError: what was looked for, what is there and which --dataset_mode would fit."""
    found = list_images(folder, limit=limit)
    if not found:
        raise ValueError(f"--dataset_mode {mode}: no images in {folder} ({describe(root, folder, phase, mode)})")
    return found


def describe(root: Path, looked_for: Path, phase: str, mode: str) -> str:
    """What a data root holds, in a few words, and the way out of a layout that does not fit."""
    if not root.is_dir():
        return f"--dataroot {root} is not a folder"
    entries = natsort.natsorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    held = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "") or "nothing"
    modes = [name for name in fitting_modes(root, phase) if name != mode]
    way_out = f"; --dataset_mode {' or '.join(modes)} would fit" if modes else ""
    state = "is empty" if looked_for.is_dir() else "does not exist"
    return f"the folder {state}; {root} holds {held}{way_out}"


def fitting_modes(root: Path, phase: str) -> list[str]:
    """The dataset modes whose layout `root` has for `phase`."""
    folder = root / phase if (root / phase).is_dir() else root
    modes = []
    if (root / f"{phase}A").is_dir() and (root / f"{phase}B").is_dir():
        modes.append("unaligned")
    if (root / phase).is_dir() and has_images(root / phase, recursive=False):
        modes.append("aligned")
    if list(root.glob("*-images-idx3-ubyte*")) or class_folders(folder):
        modes.append("classes")
    if has_images(root, recursive=False):
        modes.append("single")
    return modes


def class_folders(root: Path) -> list[str]:
    """Names of the direct subfolders of `root` that hold images, in natural order; not train, testA and the like."""
    names = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    classes = [name for name in names if not re.fullmatch("(train|val|test)[AB]?", name)]
    return natsort.natsorted(name for name in classes if has_images(root / name))


def open_image(path: str | Path, channels: int) -> Image.Image:
    """Read one image, upright, with 1 (grey), 3 (RGB) or 4 (RGBA) channels of 8 bits.

    Raises:
        ImageError: if the file is missing, truncated or no image, or if `channels` is another number.
    """
    if channels not in MODES:
        raise ImageError(f"{path}: images have {', '.join(map(str, MODES))} channels, not {channels}")
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return _eight_bit(upright).convert(MODES[channels])
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).split("\n")[0].replace(repr(str(path)), "the file")
        raise ImageError(
            f"{path} cannot be read as an image ({reason}); remove the file or use --on_bad_image skip"
        ) from None


def _eight_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion of 16-bit greys clips at 255 instead of scaling.
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


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
