"""A look at a data set before it is trained on: `python -m i2i.check DATAROOT`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from i2i.data import DataConfig
from i2i.errors import UserError
from i2i.tools.check import file_findings, picture_findings
from i2i.tools.check.advice import advise, estimate
from i2i.tools.check.report import DataReport
from i2i.tools.check.scan import FileRecord, ScanJob, scan
from i2i.tools.check.sources import find_mode, find_phases, rows
from i2i.tools.check.survey import DataFinding, Survey

__all__ = ["FINDINGS", "DataFinding", "DataReport", "check"]

FINDINGS = (
    file_findings.layout,
    file_findings.unreadable,
    file_findings.unfit,
    file_findings.odd_width,
    file_findings.too_small,
    file_findings.no_range,
    file_findings.label_values,
    file_findings.missing_classes,
    file_findings.pair_sizes,
    file_findings.batch_sizes,
    picture_findings.copies,
    picture_findings.pairs,
    file_findings.unmatched,
    file_findings.nodata,
    file_findings.passed_over,
    file_findings.empty_classes,
    picture_findings.greyscale,
    picture_findings.constant,
    picture_findings.depths,
    picture_findings.palettes,
    picture_findings.masks,
    picture_findings.clipped,
    file_findings.squashed,
    file_findings.mixed_sizes,
    file_findings.alpha,
)


def check(
    config: DataConfig,
    workers: int = 0,
    samples: int | None = None,
    find_layout: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataReport:
    """Look at all images of all phases, or at `samples` of them fully and at the headers of the rest.

    `find_layout` looks for the `--dataset_mode` that fits; `progress` is told how many samples are done, of how many.

    Raises:
        ValueError: if there is no such folder, or a manifest or shards cannot be read.
    """
    start = time.perf_counter()
    survey = look(config, workers, samples, find_layout, progress)
    findings = [finding for find in FINDINGS for finding in find(survey)]
    needs = estimate(survey)
    advice = advise(survey, {finding.name: finding for finding in findings}, needs)
    return DataReport(survey, findings, needs, advice, time.perf_counter() - start)


def look(
    config: DataConfig, workers: int, samples: int | None, find_layout: bool, progress: Callable[[int, int], None]
) -> Survey:
    """Scan the files of a data set; the arguments are those of `check`."""
    others: list[str] = []
    if find_layout:
        mode, others = find_mode(config)
        config = dataclasses.replace(config, dataset_mode=mode or config.dataset_mode)
    datasets, problem = find_phases(config)
    if not datasets and not (config.dataroot and Path(config.dataroot).exists()):
        raise UserError(problem)
    found = [row for phase, dataset in datasets.items() for row in rows(phase, dataset)]
    chosen = set(np.linspace(0, len(found) - 1, min(samples or len(found), len(found))).astype(int).tolist())
    jobs = [ScanJob(row, number in chosen) for number, row in enumerate(found)]
    records: list[FileRecord] = []
    if jobs:
        reader = next(iter(datasets.values())).pipeline.reader
        for done, looked_at in enumerate(scan(jobs, reader, workers), 1):
            records += looked_at
            progress(done, len(jobs))
    order = {phase: number for number, phase in enumerate(datasets)}
    records.sort(key=lambda record: (order[record.phase], record.row))
    return Survey(config, datasets, records, problem, tuple(others))
