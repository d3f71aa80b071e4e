"""The report in words and in JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from i2i.data.cache import shown_size
from i2i.tools.check.advice import Advice, Estimate, command
from i2i.tools.check.sources import stored_images
from i2i.tools.check.survey import DataFinding, Item, Survey

SHOWN = 10  # items of a finding, in words
FILES = 4  # of an item
BAR = 40  # characters of the longest bar


class Column(NamedTuple):
    """One domain of one phase: its files, how many of them cannot be read, and what sizes and modes they have."""

    phase: str
    domain: str
    files: int
    unreadable: int
    sizes: Counter[str]
    modes: Counter[str]
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DataReport:
    """All that is said about a data set."""

    survey: Survey
    findings: list[DataFinding]
    estimate: Estimate
    advice: list[Advice]
    seconds: float

    @property
    def fails(self) -> bool:
        """True if training would fail."""
        return any(finding.fatal for finding in self.findings)

    @cached_property
    def columns(self) -> list[Column]:
        """The table of phases and domains."""
        names = dict.fromkeys((r.phase, slot.name) for r in self.survey.records for slot in r.slots)
        return [self._column(*name) for name in names]

    def _column(self, phase: str, domain: str) -> Column:
        records = [r for r in self.survey.records if r.phase == phase and domain in [s.name for s in r.slots]]
        infos = [record.info for record in records if record.info is not None]
        views = [seen.view for seen in self.survey.columns.get((phase, domain), [])]
        return Column(
            phase,
            domain,
            len({record.path for record in records}),
            sum(not record.readable for record in records),
            Counter("x".join(map(str, self.survey.size(record))) for record in records if record.info is not None),
            Counter(f"{info.format} {info.mode} {info.kind}" for info in infos),
            min((view.low for view in views), default=None),
            max((view.high for view in views), default=None),
        )

    @property
    def sizes(self) -> Counter[str]:
        """The number of images of each size."""
        return sum((column.sizes for column in self.columns), Counter())

    def text(self) -> str:
        """The report in words: what matters most comes first."""
        return "\n".join([*self._head(), *self._said(), *self._table(), *self._bars(), *self._costs(), *self._use()])

    def _head(self) -> Iterator[str]:
        config = self.survey.config
        if not self.survey.datasets:
            yield f"{config.dataroot}: no layout found"
            return
        others = " and ".join(self.survey.other_modes)
        yield f"{config.dataroot or config.dataroot_A}: --dataset_mode {config.dataset_mode}" + (
            f" ({others} would fit too)" if others else ""
        )
        for phase, dataset in self.survey.datasets.items():
            if stored_images(dataset) is not None:
                yield f"{phase}: {len(dataset):,} images in one file, which were counted and not looked at"
        classes = self.survey.datasets[config.phase].classes if config.phase in self.survey.datasets else ()
        if classes:
            yield f"classes: {len(classes):,} ({_listed(classes)})"

    def _said(self) -> Iterator[str]:
        order = sorted(self.findings, key=lambda finding: not finding.fatal)
        for finding in order:
            yield ""
            yield f"{'ERROR' if finding.fatal else 'warning'}: {finding.title}"
            yield from map(self._line, finding.items[:SHOWN])
            if (rest := len(finding.items) - SHOWN) > 0:
                yield f"  and {rest:,} more"
        if not order:
            yield "\nnothing to complain about"

    def _line(self, item: Item) -> str:
        root = Path(self.survey.config.dataroot or os.sep)
        folder = str(root if root.is_dir() else root.parent)
        paths = [path.removeprefix(f"{folder}{os.sep}") for path in item.paths]
        more = [f"and {len(paths) - FILES:,} more"] if len(paths) > FILES else []
        return "  " + "  ".join([*paths[:FILES], *more, *([item.note] if item.note else [])])

    def _table(self) -> Iterator[str]:
        rows = [("phase", "domain", "files", "unreadable", "values", "kinds of files")]
        for column in self.columns:
            values = "" if column.low is None else f"{column.low:g} to {column.high:g}"
            kinds = ", ".join(f"{count:,} {mode}" for mode, count in column.modes.most_common(4))
            rows.append((column.phase, column.domain, f"{column.files:,}", f"{column.unreadable:,}", values, kinds))
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        if len(rows) == 1:
            return
        yield ""
        for row in rows:
            cells = [
                cell.rjust(width) if number in (2, 3) else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield ("  " + "  ".join(cells)).rstrip()

    def _bars(self) -> Iterator[str]:
        found = histogram(self.sizes)
        most = max((count for _, count in found), default=0)
        yield from [""] if found else []
        for label, count in found:
            yield f"  {label:>24}  {'█' * max(1, round(BAR * count / most))} {count:,}"

    def _costs(self) -> Iterator[str]:
        needs, workers = self.estimate, self.survey.config.num_threads
        if not needs.samples:
            return
        yield ""
        yield f"memory: {shown_size(needs.cache_bytes)} for --cache, {shown_size(needs.batch_bytes)} a batch"
        if needs.rate:
            seconds = needs.epoch_seconds(workers) or 0
            yield (
                f"speed: a worker loads {needs.rate:,.0f} samples a second; an epoch of {needs.samples:,} takes "
                f"{_duration(seconds)} or more with --num_threads {workers}"
            )

    def _use(self) -> Iterator[str]:
        if self.survey.config.phase not in self.survey.datasets:
            return
        yield "\nuse:"
        yield f"  {command(self.survey, self.advice)}"
        yield from (f"    --{name}: {reason}" for name, _, reason in self.advice)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON: every item of every finding, and the numbers of the table."""
        config, needs = self.survey.config, self.estimate
        return {
            "dataroot": config.dataroot,
            "dataset_mode": config.dataset_mode,
            "other_modes": list(self.survey.other_modes),
            "fails": self.fails,
            "findings": [
                finding._asdict() | {"items": [item._asdict() for item in finding.items]} for finding in self.findings
            ],
            "columns": [column._asdict() for column in self.columns],
            "estimate": needs._asdict() | {"epoch_seconds": needs.epoch_seconds(config.num_threads)},
            "advice": [advice._asdict() for advice in self.advice],
            "command": command(self.survey, self.advice) if config.phase in self.survey.datasets else None,
            "seconds": round(self.seconds, 3),
        }


def histogram(sizes: Counter[str], most: int = 8) -> list[tuple[str, int]]:
    """The commonest sizes and how many images have each; the others in one line."""
    common = sizes.most_common(most)
    rest = sizes.total() - sum(count for _, count in common)
    others = len(sizes) - len(common)
    return common + ([(f"{others:,} other sizes", rest)] if rest else [])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
