"""Checkpoints: one file with the whole state of a training run, written atomically."""

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
    """Write `state` to `path`; a crash at any moment leaves the old file or the new one.

    Raises:
        OSError: if the folder is not writable or the disk is full.
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
    """Make `path` a hard link to the file `saved`, or a copy where the file system has no links; atomic too."""
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
    """Read a checkpoint onto the CPU, in today's form; only tensors and plain values are accepted.

    With `mapped` a tensor is read from the file when it is first used.

    Raises:
        UserError: if the file cannot be read, is damaged, would run code, or is not a checkpoint of i2i.
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
    return modernise(state)


def modernise(state: dict[str, Any]) -> dict[str, Any]:
    """Return the checkpoint of an earlier version in today's form."""
    monitor, validation = state.get("monitor"), state.get("validation")
    if validation is not None and "data" not in state:  # then l1 and cycle were of images in [0, 1]
        validation, state = _with_doubled_distances(validation), state | {"plateau": _doubled_plateau(state)}
    if monitor is None:
        return state | {"validation": validation}
    if validation is not None or "validated_at" in monitor:
        validation = (validation or {}) | {"validated_at": monitor.get("validated_at", -1)}
    today = {
        "model": {_renamed(name): value for name, value in state["model"].items()},
        "norms": monitor.get("norms", {}),
        "statistics": {_renamed(name): value for name, value in monitor.get("games", {}).items()},
        "doctor": monitor.get("doctor"),
        "validation": validation,
    }
    return {name: value for name, value in state.items() if name != "monitor"} | today


def _renamed(name: str) -> str:
    return f"adversarial{name.removeprefix('game')}" if name.startswith("game") else name


def _with_doubled_distances(validation: dict[str, Any]) -> dict[str, Any]:
    def doubled(name: str, value: float | None) -> float | None:
        return 2 * value if value is not None and name.startswith(("l1", "cycle")) else value

    own = {name: doubled(validation["metric"], validation[name]) for name in ("best", "mark")}
    figures = {name: doubled(name, value) for name, value in validation["figures"].items()}
    best = {name: doubled(name, value) for name, value in validation["best_figures"].items()}
    return validation | own | {"figures": figures, "best_figures": best}


def _doubled_plateau(state: dict[str, Any]) -> dict[str, Any] | None:
    plateau = state.get("plateau")
    if plateau is None or plateau["watched"] not in ("l1", "cycle"):
        return plateau
    schedulers = {
        player: scheduler | {"best": 2 * scheduler["best"]} for player, scheduler in plateau["schedulers"].items()
    }
    return plateau | {"schedulers": schedulers}


def _damaged(path: Path) -> str:
    others = sorted(other.name for other in path.parent.glob("*.pt") if other != path)
    return f"{path} is damaged or no checkpoint; other checkpoints beside it: {', '.join(others) or 'none'}"
