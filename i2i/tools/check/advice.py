"""Estimate the memory and time of training, and advise on options."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from i2i.config import as_dict, tokens_from
from i2i.data import DataConfig, Key, Sample
from i2i.data.cache import shown_size
from i2i.errors import UserError
from i2i.tools.check.picture_findings import partial_range
from i2i.tools.check.sources import derived, stored_images
from i2i.tools.check.survey import DataFinding, Seen, Survey

BYTES = {"uint8": 1, "uint16": 2, "float32": 4}
MODELS = {"unaligned": "cyclegan", "aligned": "pix2pix", "classes": "cgan"}
TIMED_SAMPLES, TIMED_SECONDS = 64, 2.0
GPU_RATE = 100  # samples of 256 x 256 a second that training takes at most, to have workers enough
GIB = 2**30


class Estimate(NamedTuple):
    """The cost of an epoch of a phase; `rate` is in samples a second of one worker, None if nothing could be read."""

    samples: int
    cache_bytes: int
    batch_bytes: int
    rate: float | None

    def epoch_seconds(self, workers: int) -> float | None:
        """The least time of loading an epoch, in seconds."""
        return self.samples / (self.rate * max(1, workers)) if self.rate else None


class Advice(NamedTuple):
    """An option to train with, and why."""

    name: str
    value: Any
    reason: str


def estimate(survey: Survey) -> Estimate:
    """Estimate the cost of the training phase from a few of its samples."""
    config, dataset = survey.config, survey.datasets.get(survey.config.phase)
    if dataset is None:
        return Estimate(0, 0, 0, None)
    files = {record.path: record for record in survey.records if record.phase == config.phase and record.info}
    cached = 0
    for record in files.values():
        width, height = survey.target(record)
        values = width * height * len(record.slots) * max(1 if slot.classes else slot.channels for slot in record.slots)
        cached += values * BYTES[record.info.kind]  # type: ignore[union-attr]
    slots = {slot for record in files.values() for slot in record.slots}
    area = math.prod(config.crop_size if "crop" in config.preprocess or not files else survey.target(record))
    channels = sum(slot.classes or slot.channels for slot in slots)
    if (made := derived(config)) is not None:
        channels = sum(domain.channels for domain in made.domains())
    batch = channels * area * 4 * config.batch_size
    return Estimate(len(dataset), cached, batch, _rate(survey))


def _rate(survey: Survey) -> float | None:
    dataset = survey.datasets[survey.config.phase]
    items = np.linspace(0, len(dataset) - 1, min(len(dataset), TIMED_SAMPLES)).astype(int).tolist()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # as in a worker
        dataset[Key(0, items[0])]  # imports what it needs
        good, start = 0, time.perf_counter()
        for item in items:
            good += isinstance(dataset[Key(0, item)], Sample)
            if time.perf_counter() - start > TIMED_SECONDS:
                break
    except UserError:  # options that do not fit the files, of which there is a finding
        return None
    finally:
        torch.set_num_threads(threads)
    return good / (time.perf_counter() - start) if good else None


def advise(survey: Survey, findings: Mapping[str, DataFinding], needs: Estimate) -> list[Advice]:
    """The options that differ from what was checked, with reasons; none where nothing could be found."""
    if survey.config.phase not in survey.datasets:
        return []
    before = as_dict(survey.config)
    wanted = (
        *_channels(survey),
        *_ranges(survey),
        *_sizes(survey, findings),
        *_bad_files(survey, findings),
        *_speed(survey, needs),
    )
    return [advice for advice in wanted if before[advice.name] != advice.value]


def _channels(survey: Survey) -> Iterator[Advice]:
    if survey.config.derive != "none":
        return
    if stored_images(survey.datasets[survey.config.phase]) is not None:
        yield Advice("out_channels", 1, "what MNIST's files have")
    for end in ("in", "out"):
        by_slot: dict[str, list[Seen]] = {}
        for seen in survey.seen:
            if seen.slot.end == end and not seen.slot.classes:
                by_slot.setdefault(seen.slot.name, []).append(seen)
        counts = [_fitting_channels(column) for column in by_slot.values()]
        reason = "what the files have" if max(counts, default=0) > 1 else "there is no colour in any of the images"
        if counts and end == "out":
            yield Advice("out_channels", counts[0], reason)
        elif counts and survey.config.conditions:
            yield from _channels_of_conditions(survey.config, counts, reason)
        elif counts:
            yield Advice("in_channels", counts[0], reason)


def _channels_of_conditions(config: DataConfig, counts: list[int], reason: str) -> Iterator[Advice]:
    if len(counts) == len(config.inputs) and counts != [channels for channels, _ in config.inputs]:
        yield Advice("condition_channels", counts, reason)


def _fitting_channels(column: list[Seen]) -> int:
    held = {seen.record.info.channels * seen.record.info.pages for seen in column if seen.record.info}
    if any(seen.record.error for seen in column) and len(held) == 1:
        return held.pop()
    wanted = column[0].slot.channels
    return 1 if wanted == 3 and not any(seen.view.coloured for seen in column) else wanted


def _ranges(survey: Survey) -> Iterator[Advice]:
    for end in ("in", "out"):
        views = [seen.view for seen in survey.seen if seen.slot.end == end and not seen.slot.classes]
        if {view.kind for view in views} == {"float32"} and getattr(survey.config, f"{end}_range") is None:
            low, high = min(view.low for view in views), max(view.high for view in views)
            yield Advice(f"{end}_range", _round_range(low, high), f"the values go from {low:g} to {high:g}")
        elif top := partial_range(survey, end):
            yield Advice(f"{end}_range", [0.0, float(top)], "what the 16-bit files use")


def _round_range(low: float, high: float) -> list[float]:
    """A range that holds both values, a usual one where that fits."""
    for least, most in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0)):
        if least <= low and most / 2 < high <= most:
            return [least, most]
    step = 10 ** (math.floor(math.log10(max(high - low, 1e-6))) - 1)
    return [float(f"{math.floor(low / step) * step:.6g}"), float(f"{math.floor(high / step) * step + step:.6g}")]


def _sizes(survey: Survey, findings: Mapping[str, DataFinding]) -> Iterator[Advice]:
    config = survey.config
    if {"too_small", "pair_sizes", "batch_sizes"} & {name for name, finding in findings.items() if finding.fatal}:
        yield Advice("preprocess", "resize_and_crop", "makes all images of one size")
        return
    sizes = [survey.size(record) for record in survey.records if record.info and record.phase == config.phase]
    if (stored := stored_images(survey.datasets[config.phase])) is not None:
        sizes = [(stored.shape[2], stored.shape[1])]
    if not sizes or not _is_default(config, "preprocess", "load_size", "crop_size"):
        return
    width, height = np.median(sizes, axis=0).astype(int).tolist()
    if len(findings.get("squashed", DataFinding("", "", [])).items) > 0.1 * len(survey.records):
        widest = float(np.percentile([width / height for width, height in sizes], 90))
        load = 2 * math.ceil(config.load_size[0] * max(1.0, widest) / 2)
        yield Advice("preprocess", "scale_width_and_crop", "keeps the shape of the images")
        yield Advice("load_size", [load, load], f"images are {width}x{height}, or near that")
    elif config.dataset_mode == "classes" and len(set(sizes)) == 1 and max(width, height) <= 64:
        yield Advice("load_size", [width, height], "the size of the images")
        yield Advice("crop_size", [width, height], "the size of the images")


def _is_default(config: DataConfig, *names: str) -> bool:
    return all(as_dict(config)[name] == as_dict(DataConfig())[name] for name in names)


def _bad_files(survey: Survey, findings: Mapping[str, DataFinding]) -> Iterator[Advice]:
    bad = {item for name in ("unreadable", "odd_width") if name in findings for item in findings[name].items}
    if 0 < len(bad) < len(survey.records):
        yield Advice("on_bad_image", "skip", f"leaves the bad files out; better still, mend or move {len(bad):,}")


def _speed(survey: Survey, needs: Estimate) -> Iterator[Advice]:
    config = survey.config
    if config.dataset_mode not in MODELS:
        return  # nothing is read twice
    if _is_default(config, "cache") and needs.cache_bytes:
        kind = "ram" if needs.cache_bytes <= config.cache_limit * GIB else "none"
        yield Advice("cache", kind, f"takes {shown_size(needs.cache_bytes)}, and decodes every file once")
    if _is_default(config, "num_threads") and needs.rate:
        area = math.prod(config.crop_size) / 256**2
        workers = min(math.ceil(GPU_RATE / area / needs.rate), os.cpu_count() or 1)
        yield Advice(
            "num_threads", max(config.num_threads, workers), f"one worker loads {needs.rate:,.0f} samples a second"
        )


def command(survey: Survey, advice: list[Advice]) -> str:
    """A complete command line: what was given, with the advice."""
    config, defaults = survey.config, as_dict(DataConfig())
    values = {name: value for name, value in as_dict(config).items() if value != defaults[name]}
    values |= {"dataset_mode": config.dataset_mode} | {name: value for name, value, _ in advice}
    if config.dataset_mode == "classes":  # whose model has defaults of its own
        values = {name: as_dict(config)[name] for name in ("out_channels", "load_size", "crop_size")} | values
    name = Path(config.dataroot or config.dataroot_A or "data").stem.split("{")[0].strip("-_ ")
    model = MODELS.get(config.dataset_mode)
    words = ["train.py", f"--model={model}"] if model else ["test.py"]
    tokens = tokens_from({"name": name or "run", "dataroot": values.pop("dataroot", None)} | _short(values))
    return shlex.join(["python", *(part for word in (*words, *tokens) for part in word.split("=", 1))])


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    """Width and height as one number where they are equal, and no decimals where there are none."""
    sizes = {name: values[name][:1] for name in ("load_size", "crop_size") if len(set(values.get(name, "ab"))) == 1}
    ranges = {name: [f"{end:.9g}" for end in values[name]] for name in ("in_range", "out_range") if values.get(name)}
    return {**values, **sizes, **ranges}
