"""All that a scan has found, and the findings that are drawn from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from i2i.data import DataConfig, ImageDataset
from i2i.tools.check.measure import View
from i2i.tools.check.scan import FileRecord
from i2i.tools.check.sources import Slot, is_paired


class Seen(NamedTuple):
    """One image that was decoded."""

    record: FileRecord
    slot: Slot
    view: View


class Item(NamedTuple):
    """One instance of a finding: the files that it is about, what to say of them, and whose phase it is."""

    paths: tuple[str, ...]
    note: str = ""
    phase: str = ""


class DataFinding(NamedTuple):
    """Something to know about the data; `fatal` if training would fail."""

    name: str
    title: str
    items: list[Item]
    fatal: bool = False


@dataclass(frozen=True)
class Survey:
    """The data sets of a folder by phase, the records of their files, and what is wrong with the layout."""

    config: DataConfig
    datasets: dict[str, ImageDataset]
    records: list[FileRecord]
    problem: str | None = None
    other_modes: tuple[str, ...] = ()

    @cached_property
    def seen(self) -> list[Seen]:
        """Every image that was decoded: of a file with a pair in it, two."""
        return [
            Seen(record, slot, view)
            for record in self.records
            for slot, view in zip(record.slots, record.views, strict=False)
        ]

    @cached_property
    def by_path(self) -> dict[str, FileRecord]:
        """A record of every file."""
        return {record.path: record for record in self.records}

    @cached_property
    def samples(self) -> dict[tuple[str, int], list[FileRecord]]:
        """The records of each sample, by phase and row."""
        found: dict[tuple[str, int], list[FileRecord]] = {}
        for record in self.records:
            found.setdefault((record.phase, record.row), []).append(record)
        return found

    @cached_property
    def columns(self) -> dict[tuple[str, str], list[Seen]]:
        """The decoded images by phase and domain."""
        found: dict[tuple[str, str], list[Seen]] = {}
        for seen in self.seen:
            found.setdefault((seen.record.phase, seen.slot.name), []).append(seen)
        return found

    @property
    def is_paired(self) -> bool:
        """True if the images of a sample correspond pixel by pixel."""
        return any(map(is_paired, self.datasets.values()))

    def size(self, record: FileRecord) -> tuple[int, int]:
        """Width and height of an image of a file, of one half where two lie side by side."""
        assert record.info is not None
        return record.info.width // len(record.slots), record.info.height

    def target(self, record: FileRecord) -> tuple[int, int]:
        """Return the size that the images of a file are resized to."""
        return self.datasets[record.phase].pipeline.preprocess.target(self.size(record))

    def fails(self, items: Iterable[Item], skippable: bool = True) -> bool:
        """Return True if one of `items` would end a training; where bad files are skipped, if all are bad."""
        bad = {path for item in items if item.phase in (self.config.phase, "") for path in item.paths}
        if not bad or not skippable or self.config.on_bad_image == "error":
            return bool(bad)
        used = {record.path for record in self.records if record.phase == self.config.phase}
        return used <= bad


def of_records(found: Iterable[tuple[FileRecord, str]]) -> list[Item]:
    """An item for every file with its note, once each."""
    return list(dict.fromkeys(Item((record.path,), note, record.phase) for record, note in found))


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def some(finding: DataFinding) -> Iterator[DataFinding]:
    """The finding, unless there is nothing to it."""
    if finding.items:
        yield finding
