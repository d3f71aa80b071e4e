"""A synthetic data set: generated images as class folders."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from i2i.config import check_range, option
from i2i.data.images.writing import write_image
from i2i.errors import UserError, file_errors
from i2i.progress import Meter
from i2i.run import checkpoint_path
from i2i.tools.explore.sampler import BATCH_SIZE, Sampler, SourceConfig
from i2i.translate.classes import chosen_classes, class_names, folder_names


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Options of the number of images, their classes, and the folder to write to."""

    out: str = option("", "folder of the data set, which is new or empty", path=True)
    num_per_class: int = option(1000, "images of every class")
    labels: tuple[str, ...] | None = option(None, "classes, such as 0-9 or cat dog (default: all)")
    seed: int = option(0, "of the first image of every class; the others' follow")
    phase: str = option("train", "which part of a data set the images are")

    def __post_init__(self) -> None:
        if not self.out:
            raise UserError("--out is missing: the folder of the data set")
        with file_errors("--out", self.out):
            is_new = not Path(self.out).exists() or (Path(self.out).is_dir() and not any(Path(self.out).iterdir()))
        if not is_new:
            raise UserError(f"--out {self.out} exists and is no empty folder; give another, or remove it")
        check_range("num_per_class", self.num_per_class, 1)
        check_range("seed", self.seed, 0, 2**62)


def export(source: SourceConfig, config: ExportConfig) -> str:
    """Write OUT/train/CLASS/seed<N>.png, which `--dataset_mode classes` reads, and OUT/manifest.json; tells where.

    Images of more than 8 bits get files that hold them. The manifest has what makes the same images again.

    Raises:
        ValueError: for a label outside the model's classes.
    """
    sampler = Sampler.from_config(source)
    names = class_names(sampler.translator)
    chosen = chosen_classes(config.labels, names)
    folders = folder_names([names[label] for label in chosen], chosen)
    total = len(chosen) * config.num_per_class
    with Meter(total, about="generating") as bar:
        for label, folder in zip(chosen, folders, strict=True):
            for _ in _written(sampler, label, config, Path(config.out, config.phase, folder)):
                bar.update()
    classes = {folder: names[label] for label, folder in zip(chosen, folders, strict=True)}
    manifest = dataclasses.asdict(config) | _origin(source) | {"classes": classes}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    with file_errors("--out", config.out):
        Path(config.out, "manifest.json").write_text(text + "\n", encoding="utf-8")
    return f"images: {total}, classes: {len(chosen)}; to train on them: --dataset_mode classes --dataroot {config.out}"


def _origin(source: SourceConfig) -> dict[str, Any]:
    """Describe the generator of the images; the digest tells whether a checkpoint is still the same."""
    path = checkpoint_path(source.folder, source.epoch)
    with file_errors("--checkpoints_dir"), open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"checkpoint": str(path.resolve()), "sha256": digest, "ema": source.ema, "truncation": source.truncation}


def _written(sampler: Sampler, label: int, config: ExportConfig, folder: Path) -> Iterator[Path]:
    """Generate a class and write it; the files, each as soon as it is there."""
    with file_errors("--out", folder):
        folder.mkdir(parents=True)
    seeds = range(config.seed, config.seed + config.num_per_class)
    for start in range(0, len(seeds), BATCH_SIZE):
        batch = seeds[start : start + BATCH_SIZE]
        labels = torch.full((len(batch),), label)
        for seed, image in zip(batch, sampler.translator.generate(labels, batch[0], sampler.truncation), strict=True):
            with file_errors("--out", folder):
                path = write_image(image, folder / f"seed{seed}", sampler.domain)
            yield path
