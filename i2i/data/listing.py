"""List the files of a data set as a table with a column for each image of a sample."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from i2i.data.files import SEPARATOR
from i2i.data.folder import in_any_case, list_images
from i2i.errors import UserError

PHASES = ("train", "val", "valid", "test")
MANIFESTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")


class FileTable(NamedTuple):
    """The files of a data set, one row per sample.

    Attributes:
        files: the paths by column; None where a row has no file.
        labels: the class name of each row.
        groups: for shards, the counts of consecutive rows that lie in one tar file.
        unmatched: files that are left out because others of their row are missing.
        classes: all class names, where they are known.
    """

    files: dict[str, list[str | None]]
    labels: list[str] | None = None
    groups: list[int] = []
    unmatched: list[str] = []
    classes: Sequence[str] = ()

    def column(self, name: str) -> list[str | None] | None:
        """Return the column called `name`, ignoring case; None if there is none."""
        return next((files for column, files in self.files.items() if column.casefold() == name.casefold()), None)

    def take(self, rows: Mapping[str, Sequence[int]]) -> FileTable:
        """Return the given rows, in ascending order; columns of unpaired sets may have different rows."""
        files = {name: [paths[row] for row in rows[name]] for name, paths in self.files.items()}
        labels = None if self.labels is None else [self.labels[row] for row in next(iter(rows.values()))]
        bounds = np.cumsum([0, *self.groups])
        # Groups count the rows of the longest column.
        longest = next((rows[name] for name, paths in self.files.items() if len(paths) == bounds[-1]), ())
        groups = np.diff(np.searchsorted(longest, bounds)).tolist()
        return FileTable(files, labels, groups, classes=self.classes)

    def complete(self, names: Sequence[str], where: str, limit: int | None = None) -> FileTable:
        """Return the columns `names` of the rows that have a file in all of them; `where` names the table in errors.

        Raises:
            UserError: if there is no such column or no such row.
        """
        columns = {name: self.column(name) for name in names}
        if missing := [name for name, files in columns.items() if files is None]:
            unpack = "; a tar file of folders is to be unpacked first" if where.endswith(".tar") else ""
            raise UserError(f"{where} has no column {missing[0]!r}, but: {', '.join(self.files)}{unpack}")
        table = list(zip(*columns.values(), strict=True))
        kept = [row for row, files in enumerate(table) if None not in files][:limit]
        if not kept:
            raise UserError(f"{where} has no row with a file for each of: {', '.join(names)}")
        lone = [path for files in table if None in files for path in files if path is not None]
        bounds = np.cumsum([0, *self.groups])
        return FileTable(
            {name: [table[row][number] for row in kept] for number, name in enumerate(names)},
            None if self.labels is None else [self.labels[row] for row in kept],
            np.diff(np.searchsorted(kept, bounds)).tolist() if self.groups else [],
            lone if len(names) > 1 else [],
            self.classes,
        )


def is_manifest(dataroot: str) -> bool:
    """Return True if `dataroot` is a list of files instead of a folder."""
    return dataroot.lower().endswith(MANIFESTS)


def read_manifest(path: Path, phase: str) -> FileTable:
    """Read a CSV file with a header, or JSON lines: columns of files (a, b, edges ...), `label`, `phase` or `split`.

    Files are relative to the manifest's folder. If there is a column `phase` or `split`, rows of others are left out.

    Raises:
        UserError: if the file cannot be read, or has no rows for the phase.
    """
    rows = _rows(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    split = next((name for name in names if name.casefold() in ("phase", "split")), None)
    chosen = [row for row in rows if split is None or str(row.get(split)) == phase]
    if not chosen:
        phases = sorted({str(row.get(split)) for row in rows if split is not None})
        raise UserError(f"{path} has no rows" + (f" of --phase {phase}, but of {', '.join(phases)}" if phases else ""))
    label = next((name for name in names if name.casefold() in ("label", "class")), None)
    for row in chosen:
        for name, value in row.items():
            if name not in (split, label) and not isinstance(value, str | None):
                raise UserError(f"{path}: {value!r} is not a file name")
    files: dict[str, list[str | None]] = {
        name: [
            str(path.parent / os.path.expanduser(row[name])) if row.get(name) not in (None, "") else None
            for row in chosen
        ]
        for name in names
        if name not in (split, label)
    }
    if label is None:
        return FileTable(files)
    if any(row.get(label) in (None, "") for row in chosen):
        raise UserError(f"{path}: a row has no {label}")
    return FileTable(files, [str(row[label]) for row in chosen])


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".csv", ".tsv"):
            header = text.split("\n", 1)[0]
            delimiter = max("\t;,", key=header.count) if header else ","
            rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
            return [{name.strip(): (value or "").strip() for name, value in row.items() if name} for row in rows]
        if path.suffix.lower() == ".json":
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError:
        raise UserError(f"--dataroot {path}: the file does not exist") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise UserError(f"--dataroot {path} cannot be read as a manifest ({error})") from None
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise UserError(
            f'--dataroot {path}: a manifest holds an object such as {{"a": ..., "b": ...}} for every sample, '
            "one a line (.jsonl) or all in a list (.json)"
        )
    return rows


def condition_folder(root: Path, phase: str, name: str) -> Path | None:
    """Return the folder of the images called `name`: the first of trainA, train_A, train/A, A/train and A that exists.

    The last one is for all phases, and only taken if it has no folders of phases.
    """
    written = (root / f"{phase}{name}", root / f"{phase}_{name}", root / phase / name, root / name / phase)
    places = (*written, *(in_any_case(place, root) for place in written))
    found = next((place for place in places if place.is_dir()), None)
    whole = in_any_case(root / name, root)
    return found or (whole if whole.is_dir() and not phases_in(whole) else None)


def phase_folder(folder: Path, phase: str) -> Path:
    """Return `folder`/`phase`, or `folder` itself if it has no folders of phases.

    Raises:
        UserError: if it has folders of other phases only; names them.
    """
    if (found := in_any_case(folder / phase, folder)).is_dir():
        return found
    if others := phases_in(folder):
        raise UserError(f"{folder} has no folder {phase}, but {', '.join(others)}; see --phase")
    return folder


def phases_in(folder: Path) -> list[str]:
    """Return the phases that have a folder in `folder`."""
    return [name for name in PHASES if in_any_case(folder / name, folder).is_dir()]


def paired(folders: Mapping[str, Path], limit: int | None = None, passed_over: list[str] | None = None) -> FileTable:
    """Return a row for every name, without extension, that has a file in each of `folders`.

    `passed_over` is passed on to `list_images`.

    Raises:
        UserError: if no name is common to all folders, or a folder has two files of one name.
    """
    found = {name: _by_stem(folder, passed_over) for name, folder in folders.items()}
    common = set.intersection(*(set(files) for files in found.values()))
    first = next(iter(found.values()))
    stems = [stem for stem in first if stem in common][:limit]
    if not stems:
        shown = ", ".join(
            f"{len(files)} images in {folders[name]} ({_example(files)})" for name, files in found.items()
        )
        raise UserError(f"no image has a partner of the same name: {shown}; --dataset_mode unaligned needs no pairs")
    unmatched = [path for files in found.values() for stem, path in files.items() if stem not in common]
    return FileTable({name: [files[stem] for stem in stems] for name, files in found.items()}, unmatched=unmatched)


def _by_stem(folder: Path, passed_over: list[str] | None = None) -> dict[str, str]:
    """Return the images below `folder` by their relative path without extension, in Unicode normal form C."""
    files: dict[str, str] = {}
    for path in list_images(folder, passed_over=passed_over):
        stem = unicodedata.normalize("NFC", os.path.splitext(os.path.relpath(path, folder))[0])
        if stem in files:
            raise UserError(f"{files[stem]} and {path} have the same name, by which pairs are found; move one away")
        files[stem] = path
    return files


def _example(files: Mapping[str, str]) -> str:
    names = [os.path.basename(path) for path in files.values()]
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "") or "none"


def shown_files(files: Sequence[str], most: int = 10) -> str:
    """Return the first `most` files and the number of the others as text."""
    rest = len(files) - most
    return ", ".join(files[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def common_folder(paths: Iterable[str]) -> Path:
    """Return the innermost folder that holds all of `paths`; members of a tar file lie where the tar file lies."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path.split(SEPARATOR)[0])) for path in paths]))
