"""Find the layout of a data set, its phases, and the images of every sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i.data import ImageDataset, ImageOptions, build_dataset
from i2i.data.derive import Derivation, derivation
from i2i.data.domain import Domain
from i2i.data.folder import fitting_modes
from i2i.data.layouts.aligned import PAIR
from i2i.data.layouts.classes import ClassDataset
from i2i.data.listing import is_manifest, paired, read_manifest
from i2i.data.shards import is_shards
from i2i.data.shards import read_shards as shard_columns
from i2i.errors import UserError

PHASES = ("train", "val", "test")


class Slot(NamedTuple):
    """One image of a sample, as training wants it: A, B or a condition; its flags begin with --in or --out."""

    name: str
    end: str
    channels: int
    classes: int = 0


class Wanted(NamedTuple):
    """A file and what it holds: one image, or two side by side."""

    path: str
    slots: tuple[Slot, ...]


class SampleRow(NamedTuple):
    """The files of one sample of a phase; of sets without pairs, one file each."""

    phase: str
    number: int
    files: tuple[Wanted, ...]


def find_mode(config: ImageOptions) -> tuple[str | None, list[str]]:
    """The `--dataset_mode` that fits best, None if none does, and what else fits."""
    if is_shards(config.dataroot) or is_manifest(config.dataroot):
        fitting = _modes_of_table(config)
    elif config.dataroot_A or config.dataroot_B or config.conditions or config.derive != "none":
        fitting = ["aligned"]
    else:
        fitting = next(filter(None, (_modes_of_folder(Path(config.dataroot), phase) for phase in PHASES)), [])
    return (fitting[0], fitting[1:]) if fitting else (None, [])


def _modes_of_table(config: ImageOptions) -> list[str]:
    table = shard_columns(config.dataroot) if is_shards(config.dataroot) else None
    table = table or read_manifest(Path(config.dataroot), config.phase)
    a, b = table.column("a"), table.column("b")
    has_pairs = a is not None and b is not None and any(None not in row for row in zip(a, b, strict=True))
    fits = {
        "aligned": has_pairs or table.column(PAIR) is not None,
        "unaligned": a is not None and b is not None,
        "classes": table.labels is not None,
        "single": True,
    }
    return [mode for mode, fit in fits.items() if fit]


def _modes_of_folder(root: Path, phase: str) -> list[str]:
    modes = fitting_modes(root, phase)
    if "unaligned" in modes and "aligned" not in modes and _shares_names(root, phase):
        modes.insert(1, "aligned")
    return modes


def _shares_names(root: Path, phase: str) -> bool:
    """Return True if most images of the folders A and B have a partner of the same name."""
    try:
        columns = paired({name: root / f"{phase}{name}" for name in "AB"})
    except UserError:
        return False
    return len(columns.unmatched) <= len(columns.files["A"])


def find_phases(config: ImageOptions) -> tuple[dict[str, ImageDataset], str | None]:
    """The data set of every phase that is there, and what is wrong with the one that is asked for."""
    found: dict[str, ImageDataset] = {}
    problem = None
    for phase in dict.fromkeys((config.phase, *PHASES)):
        try:
            dataset = build_dataset(dataclasses.replace(config, phase=phase, cache="none", augment="cpu"))
        except UserError as error:
            problem = problem or (str(error) if phase == config.phase else None)
            continue
        # A layout without phases, and one of MNIST's files for test and val, gives the same files again.
        if all(dataset.files != other.files for other in found.values()):
            found[phase] = dataset
    return found, problem


def rows(phase: str, dataset: ImageDataset) -> Iterator[SampleRow]:
    """The samples of a phase, or the single files of sets without pairs."""
    columns = _columns(dataset) if stored_images(dataset) is None else []
    samples: list[tuple[Wanted, ...]]
    if not is_paired(dataset):
        samples = [(Wanted(path, slots),) for files, slots in columns for path in files]
    else:
        samples = [
            tuple(Wanted(path, slots) for path, (_, slots) in zip(paths, columns, strict=True))
            for paths in zip(*(files for files, _ in columns), strict=True)
        ]
    return (SampleRow(phase, number, files) for number, files in enumerate(samples))


def is_paired(dataset: ImageDataset) -> bool:
    """True if the images of a sample correspond pixel by pixel."""
    return dataset.config.dataset_mode == "aligned" and dataset.config.derive == "none"


def derived(config: ImageOptions) -> Derivation | None:
    """The derivation of pairs from single images, as far as it is independent of the files.

    Raises:
        ValueError: if they cannot be made of images of so many channels.
    """
    if config.derive == "none":
        return None
    return derivation(config.derive, config.derive_scale, Domain(config.out_channels))


def stored_images(dataset: ImageDataset) -> np.ndarray | None:
    """The images (N, H, W) of a file in the format of MNIST, which has them all in one; None for all other layouts."""
    return dataset.images if isinstance(dataset, ClassDataset) else None


def _columns(dataset: ImageDataset) -> list[tuple[list[str], tuple[Slot, ...]]]:
    """The files of each column, and what they hold."""
    config = dataset.config
    names = "AB" if config.direction == "AtoB" else "BA"
    output = Slot(names[1], "out", config.out_channels, config.out_classes)
    if dataset.input_names == (PAIR,):
        input = Slot(names[0], "in", config.inputs[0][0])
        return [(dataset.files, (input, output) if names == "AB" else (output, input))]
    inputs = [(name, *held) for name, held in zip(dataset.input_names, config.inputs, strict=False)]
    if (made := derived(config)) is not None and inputs:
        inputs = [(inputs[0][0], made.input_channels, 0)]
    found: list[tuple[list[str], tuple[Slot, ...]]]
    found = [(files, (Slot(name, "in", *held),)) for files, (name, *held) in zip(dataset.inputs, inputs, strict=True)]
    return found + ([(dataset.outputs, (output,))] if dataset.output_name is not None else [])
