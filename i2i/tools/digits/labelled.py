"""Images with their classes as one tensor: the real ones of a data set, to train on and to test with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data import DataConfig, ImageDataset, ImageError, samples_in_order
from i2i.data.batch import normalise
from i2i.data.images.sheets import to_uint8
from i2i.errors import UserError
from i2i.progress import shown
from i2i.tools.check.sources import find_phases

log = logging.getLogger(__name__)

HELD_OUT = 10  # without images to test with, one of so many


class Labelled(NamedTuple):
    """Images (N, C, H, W) uint8 and their classes (N,) int64."""

    images: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> Labelled:
        """The images of some rows."""
        return Labelled(self.images[rows], self.labels[rows])


class Real(NamedTuple):
    """The real images of a data set, each part in an order drawn from a seed, and the names of the classes."""

    train: Labelled
    test: Labelled
    classes: tuple[str, ...]


def read_real(dataroot: str | Path, image_size: int, channels: int, seed: int = 0) -> Real:
    """Read all images of a data set of `--dataset_mode classes`, resized to squares of `image_size`.

    What the GAN was not to see are the images for testing, else those for validation; where there are neither, a tenth
    of each class is held out of the images for training.

    Raises:
        ValueError: if the folder has no labelled images, or other classes to test with than to train with.
    """
    size = (image_size, image_size)
    config = DataConfig(
        dataroot=str(dataroot),
        dataset_mode="classes",
        out_channels=channels,
        load_size=size,
        crop_size=size,
        flip=False,
        augment_preset="none",
        num_threads=0,
    )
    phases, problem = find_phases(config)
    if "train" not in phases:
        raise UserError(problem)
    held_out = phases.get("test", phases.get("val"))
    classes = phases["train"].classes
    if held_out is not None and held_out.classes != classes:
        raise UserError(
            f"--dataroot {dataroot}: its classes to train with are {', '.join(classes)}, "
            f"those to test with {', '.join(held_out.classes)}"
        )
    train = _read(phases["train"], seed)
    if held_out is not None:
        return Real(train, _read(held_out, seed), classes)
    log.info("%s has no images to test with: a tenth of each class is held out", dataroot)
    counts = train.labels.bincount(minlength=len(classes))
    kept, tested = _split(train.labels, (counts // HELD_OUT).clamp(min=1).tolist())
    return Real(train.take(kept), train.take(tested), classes)


def _read(dataset: ImageDataset, seed: int) -> Labelled:
    images, labels = [], []
    rows = shown(samples_in_order(dataset, range(len(dataset))), "image", "reading", len(dataset))
    for _, sample in rows:
        if isinstance(sample, ImageError):
            raise sample
        assert sample.b is not None and sample.label is not None  # of every sample of this layout
        images.append(to_uint8(normalise(sample.b)))
        labels.append(sample.label)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return Labelled(torch.stack(images), torch.tensor(labels)).take(order)


def _split(labels: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """The rows behind the first `counts[c]` of each class c, and these first ones."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[first_of_each(labels, counts)] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def first_of_each(labels: Tensor, counts: list[int]) -> Tensor:
    """The rows (R,) of the first `counts[c]` labels that are c, class after class."""
    return torch.cat([(labels == label).nonzero().flatten()[:count] for label, count in enumerate(counts)])
