"""Folders that appear complete or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

RECIPE = "recipe.json"


def fill(folder: Path, recipe: Mapping[str, object], write: Callable[[Path], None], overwrite: bool = False) -> bool:
    """Make `folder` by `write`, in a temporary sibling that takes its name at the end.

    Args:
        folder: the folder to make; its parents are made too.
        recipe: what the contents depend on; kept in the folder as recipe.json, to know the folder again.
        write: writes the contents into the empty folder that it is given.
        overwrite: replace a folder that holds another recipe.

    Returns:
        False where `folder` was there already, complete and of the same recipe; True where it was made.

    Raises:
        ValueError: `folder` holds other files and `overwrite` is off, or files that no recipe made.
    """
    if _read_recipe(folder) == dict(recipe):
        return False
    _check_replaceable(folder, overwrite)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        (partial / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return True


def _read_recipe(folder: Path) -> object:
    path = folder / RECIPE
    return json.loads(path.read_text()) if path.is_file() else None


def _check_replaceable(folder: Path, overwrite: bool) -> None:
    if folder.is_file():
        raise ValueError(f"{folder} is a file: choose another folder with --out")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / RECIPE).is_file():
        raise ValueError(f"{folder} holds files that prepare.py did not make: choose another folder with --out")
    if not overwrite:
        raise ValueError(
            f"{folder} holds a set made otherwise: give --overwrite to replace it, or another folder with --out"
        )
