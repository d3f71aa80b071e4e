"""The record of a results folder: where its pictures come from, and which of them the last run made.

It is a file of JSON lines, so that a run that is killed leaves a list of what it has finished. The first line holds the
origin: source, options and weights. Then there is a line for each image, and the last one is their number. `--part 2/4`
has a record of its own, `results_2of4.jsonl`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Self

from i2i.atomic import fitting
from i2i.errors import UserError, file_errors
from i2i.records import read_records, replace_text, strict_json

RECORD = re.compile(r"results(?:_(\d+)of(\d+))?\.jsonl")
PLACES = ("dataroot", "dataroot_A", "dataroot_B")
IN_USE = 120  # seconds since the last line of an unfinished record, in which its run may still be going on

# What decides the pixels of results, as plain values: "source", "options" and "weights".
Origin = dict[str, dict[str, Any]]
Images = dict[str, dict[str, str]]  # by name: the paths of pictures by label, relative to the results folder


class ResultRecord(NamedTuple):
    """The content of a record: the origin, the images of the last run, and those of earlier runs of the same origin."""

    path: Path
    origin: Origin
    images: Images
    earlier: Images
    complete: bool

    @property
    def parts(self) -> int:
        """The number of parts that the images were shared out to, 1 for a whole run."""
        match = RECORD.fullmatch(self.path.name)
        return int(match[2] or 1) if match else 1

    @property
    def all(self) -> Images:
        """The images of all runs."""
        return _merged(self.earlier, self.images)


@file_errors("--results_dir")
def results_folder(usual: Path, origin: Origin) -> tuple[Path, str]:
    """Return the folder for results of `origin`, and a message where that is not the `usual` one.

    If `usual` holds results of another source or other options, it is a folder beside it, whose name ends in a hash of
    source and options.
    """
    held = _held(usual)
    if held is None or _same_but_for_weights(held, origin):
        return usual, ""
    mark = hashlib.blake2b(strict_json([origin["source"], origin["options"]]).encode(), digest_size=4).hexdigest()
    place = usual.with_name(fitting(usual.name, f"_{mark}"))
    return place, f"{usual} holds results {_difference(held, origin)}; the new ones go to {place}"


@file_errors("--results_dir")
def put_aside(folder: Path, origin: Origin) -> str:
    """Rename `folder` where it holds results of other weights than `origin`; return a message that says so.

    Raises:
        UserError: if another run is still writing there.
    """
    while (held := _held(folder)) is not None and held["weights"] != origin["weights"]:
        if any(not record.complete and _is_fresh(record.path) for record in read_results(folder)):
            raise UserError(
                f"{folder} holds results of another checkpoint, and another test.py may be writing there still: "
                f"wait {IN_USE} seconds, or give another --results_dir"
            )
        for number in itertools.count(1):
            aside = folder.with_name(fitting(folder.name, f"_before{number}"))
            if not aside.exists():
                break
        try:
            folder.rename(aside)
        except OSError:
            if aside.exists() or not folder.exists():  # another part was faster
                continue
            raise
        return f"{folder} held results of another checkpoint; they are in {aside} now"
    return ""


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < IN_USE
    except FileNotFoundError:
        return False


def read_results(folder: Path) -> list[ResultRecord]:
    """Return the records in `folder`: none, that of a whole run, or those of parts."""
    paths = sorted(path for path in folder.glob("results*.jsonl") if RECORD.fullmatch(path.name))
    return [record for path in paths if (record := _read(path)) is not None]


def listed_pictures(folder: Path) -> tuple[Images, list[str]] | None:
    """Return what the last run wrote into a results folder, its `images` folder or one below that, and warnings.

    Names are relative to `images`, or to the folder below it; paths are absolute. None for any other folder.

    Raises:
        UserError: if parts are of different origins.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents[:8]):
        below = folder.relative_to(place).parts
        if below and below[0] != "images":
            continue
        if records := read_results(place):
            return _below(place, PurePosixPath(*below[1:]), records), _warnings(place, records)
    return None


def _below(place: Path, inner: PurePosixPath, records: list[ResultRecord]) -> Images:
    images: Images = {}
    for record in records:
        for name, pictures in record.images.items():
            if PurePosixPath(name).is_relative_to(inner):
                there = {label: place / path for label, path in pictures.items()}
                found = {label: str(path) for label, path in there.items() if path.is_file()}
                images[PurePosixPath(name).relative_to(inner).as_posix()] = found
    return images


def _warnings(place: Path, records: list[ResultRecord]) -> list[str]:
    if any(record.origin != records[0].origin or record.parts != records[0].parts for record in records):
        raise UserError(
            f"{place} holds parts of different sources, checkpoints or options; translate them again, alike, into "
            "another --results_dir"
        )
    warnings = []
    if unfinished := [record.path.name for record in records if not record.complete]:
        warnings.append(f"{place}: its last run has not finished ({', '.join(unfinished)}); what it wrote is counted")
    if len(records) < records[0].parts:
        warnings.append(f"{place}: {len(records)} of {records[0].parts} parts are there, and counted")
    return warnings


class ResultsRecord:
    """Writes the record of a run that makes pictures of `origin` in `folder`; use it as a context manager.

    `part` is such as "2of4", empty for a whole run. `known` are the pictures of earlier runs of the same origin.

    Raises:
        UserError: if the folder holds results of another origin.
    """

    def __init__(self, folder: Path, origin: Origin, part: str = "") -> None:
        self._folder, self._origin = folder, origin
        self._path = folder / f"results{f'_{part}' if part else ''}.jsonl"
        self._images: Images = {}
        there = read_results(folder)
        for record in there:
            if record.origin != origin:
                raise UserError(
                    f"{folder} holds results {_difference(record.origin, origin)}; give another folder for the new ones"
                )
        self.known: Images = {}
        for record in there:
            self.known = _merged(self.known, record.all)
        parts = int(part.partition("of")[2] or 1)
        replaced = [record for record in there if record.path == self._path or record.parts != parts]
        self._earlier: Images = {}
        for record in replaced:
            self._earlier = _merged(self._earlier, record.all)
        self._write(complete=False)
        for record in replaced:
            if record.path != self._path:
                record.path.unlink(missing_ok=True)

    def add(self, name: str, pictures: Mapping[str, str]) -> None:
        """List an image, whose pictures are there; files of another format that they replace are removed."""
        before = self.known.get(name, {})
        for label in before.keys() & pictures.keys():
            path = PurePosixPath(before[label])
            if before[label] != pictures[label] and not path.is_absolute() and ".." not in path.parts:
                (self._folder / path).unlink(missing_ok=True)
        self._images[name] = dict(pictures)
        self._file.write(_line(name, pictures))
        self._file.flush()

    def __enter__(self) -> Self:
        # Kept open: should the folder be renamed meanwhile, the record goes on where it is.
        self._file = self._path.open("a", encoding="utf-8", errors="replace")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        is_mine = self._path.exists() and os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        if kind is None and not is_mine:  # the folder was renamed, or another run of the same origin began
            self._file.write(self._end())
        self._file.close()
        if kind is None and is_mine:
            self._write(complete=True)

    def _end(self) -> str:
        return strict_json({"images": len(self._images)}) + "\n"

    def _write(self, complete: bool) -> None:
        left = {
            name: {label: path for label, path in pictures.items() if label not in self._images.get(name, {})}
            for name, pictures in self._earlier.items()
        }
        lines = [strict_json({"origin": self._origin}) + "\n"]
        lines += [_line(name, pictures, earlier=True) for name, pictures in left.items() if pictures]
        lines += [_line(name, pictures) for name, pictures in self._images.items()]
        lines += [self._end()] * complete
        replace_text(self._path, "".join(lines))


def _line(name: str, pictures: Mapping[str, str], earlier: bool = False) -> str:
    return strict_json({"name": name, "pictures": dict(pictures)} | ({"earlier": True} if earlier else {})) + "\n"


def _read(path: Path) -> ResultRecord | None:
    """Return what a record says; None for a file that is no record."""
    try:
        lines = list(read_records(path))
    except FileNotFoundError:
        return None
    if not lines or not isinstance(lines[0], dict) or not isinstance(lines[0].get("origin"), dict):
        return None
    images: Images = {}
    earlier: Images = {}
    for line in lines[1:]:
        if "name" in line:
            (earlier if line.get("earlier") else images)[line["name"]] = line["pictures"]
    return ResultRecord(path, lines[0]["origin"], images, earlier, complete="images" in lines[-1])


def _held(folder: Path) -> Origin | None:
    return next((record.origin for record in read_results(folder)), None)


def _merged(older: Images, newer: Images) -> Images:
    return older | {name: older.get(name, {}) | pictures for name, pictures in newer.items()}


def _same_but_for_weights(one: Origin, other: Origin) -> bool:
    return one["source"] == other["source"] and one["options"] == other["options"]


def _difference(held: Origin, new: Origin) -> str:
    """Return how results of `held` differ from those of `new`, as words behind "results"."""
    if held["source"] != new["source"]:
        before, now = _place(held), _place(new)
        return f"of {before}, not of {now}"
    if held["options"] != new["options"]:
        names = [name for name in new["options"] | held["options"] if _value(held, name) != _value(new, name)]
        return "with " + ", ".join(f"{name} {_value(held, name)}, not {_value(new, name)}" for name in names)
    return "of another checkpoint"


def _place(origin: Origin) -> str:
    *places, phase = (origin["source"].get(name) for name in (*PLACES, "phase"))
    return " and ".join(filter(None, places)) + (f" (phase {phase})" if phase else "")


def _value(origin: Origin, name: str) -> str:
    value = origin["options"].get(name)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
