"""One file holds all of a training run's state; it is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from i2i.atomic import temporary_beside
from i2i.errors import UserError, file_errors

FORMAT = 1


def save(state: dict[str, Any], path: Path) -> None:
    """Write `state` so that a crash at any moment leaves the old file or the new one: temporary file, flush, rename.

    Raises:
        OSError: if the folder is not writable or the disk is full; nothing is left behind then.
    """
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT} | state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def save_as_well(saved: Path, path: Path) -> None:
    """Let `path` be the file `saved` too, as a link where the file system can, else as a copy; atomic as well."""
    temporary = temporary_beside(path)
    temporary.unlink(missing_ok=True)
    try:
        os.link(saved, temporary)
    except OSError:
        shutil.copyfile(saved, temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, tensors and plain values only.

    With `mapped` a tensor is read from the file when it is used: for who does not need them all, and copies them soon.

    Raises:
        ValueError: if the file is out of reach or damaged, would run code, or is no checkpoint of i2i.
    """
    try:
        # Elsewhere than on POSIX a file that is mapped cannot be replaced, which training does; no old format can be.
        mapped = mapped and os.name == "posix" and zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # there is hardly a type that a damaged file does not raise
        if isinstance(error, OSError) and error.errno is not None:
            with file_errors("--checkpoints_dir", path):
                raise
        if "unsupported global" in str(error).lower():
            message = f"{path} is refused: it holds more than tensors and values, and could run code"
            raise UserError(message) from None
        raise UserError(_damaged(path)) from None
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"{path} is no checkpoint of i2i; bare weights are read with --reference_weights")
    if state["format"] != FORMAT:
        raise UserError(f"{path} has format {state['format']}, this version of i2i reads {FORMAT}; update i2i")
    if not {"options", "spec", "model", "ema", "step"} <= state.keys():
        raise UserError(_damaged(path))
    return state


def _damaged(path: Path) -> str:
    others = sorted(other.name for other in path.parent.glob("*.pt") if other != path)
    return f"{path} is damaged or no checkpoint; other checkpoints beside it: {', '.join(others) or 'none'}"
