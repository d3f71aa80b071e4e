"""The folder of a run: who may train there, and what becomes of the checkpoints in it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from i2i.atomic import replace_text
from i2i.errors import UserError, file_errors
from i2i.run import checkpoint_path, saved_epochs
from i2i.training import checkpoint

log = logging.getLogger(__name__)

LOCK_SECONDS = 10  # the workers of a killed process hold its lock a few seconds longer


@file_errors("--checkpoints_dir")
def claim_folder(
    folder: Path, options: Mapping[str, Any], *, resumed: Path | None = None, overwrite: bool = False
) -> FileLock:
    """Make the run folder, lock it for this process, and write `options` to options.yaml in it; return the lock.

    With `overwrite` the checkpoints of the old run get the ending `.replaced`, until the new run has saved. If the run
    is `resumed` from an earlier checkpoint than the latest, those that have seen more images get the ending `.aside`.

    Raises:
        UserError: if another process trains there, the folder cannot be written, or it holds a run that is neither
            resumed nor overwritten.
    """
    if saved_epochs(folder) and resumed is None and not overwrite:
        raise UserError(
            f"{folder} holds a run already; go on with it by --continue_train, delete it by --overwrite, or give "
            "another --name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise UserError(f"another process is training in {folder}; stop it, or give another --name") from None
    held = [checkpoint_path(folder, name) for name in saved_epochs(folder)]
    if resumed is None:
        for path in held:
            path.replace(path.with_name(f"{path.name}.replaced"))
    elif resumed.name != "latest.pt":
        newer = [path for path in held if _images(path) > _images(resumed)]
        for path in newer:
            path.replace(_free_name(path))
        if newer:
            log.warning("checkpoints of %s that are newer than %s are renamed to *.aside", folder, resumed.name)
    replace_text(folder / "options.yaml", yaml.safe_dump(dict(options), sort_keys=False))
    return lock


def _free_name(path: Path) -> Path:
    aside, number = path.with_name(f"{path.name}.aside"), 2
    while aside.exists():
        aside, number = path.with_name(f"{path.name}.aside{number}"), number + 1
    return aside


def _images(path: Path) -> float:
    """Return the number of images that a checkpoint has seen, infinity for a damaged one."""
    try:
        return checkpoint.load(path, mapped=True)["images"]
    except UserError:
        return math.inf
