"""The images to evaluate, and baselines for their scores: as many images that need no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.image_sets import ImageSet, LabelMapFiles, SelectedImages, as_rgb, readable_images, resized_to

MAX_TRAINING = 5000  # training images that baselines use, evenly spaced
THUMBNAIL = (32, 32)
BATCH_SIZE = 500  # rows of the distance matrix that are in memory at a time


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """Real images of the target domain that a model was trained on and, for pairs, their inputs in the same order."""

    targets: ImageSet
    inputs: ImageSet | None = None

    @property
    def rows(self) -> list[int]:
        """The indices of the images that baselines use."""
        count = len(self.targets)
        return sorted({index * count // MAX_TRAINING for index in range(MAX_TRAINING)})


@dataclasses.dataclass(frozen=True)
class EvaluationData:
    """Generated images, and everything to compare them with.

    `names`, `inputs`, `restored` and, if `paired`, `real` are in the order of `generated`. `truth` holds the true label
    maps of `num_classes` classes; `maps` the generated ones, if the model generates label maps and not photos.
    `formats` are those of the generated files. `warnings` are about how the data were collected.
    """

    generated: ImageSet
    real: ImageSet | None
    paired: bool
    names: Sequence[str]
    formats: Sequence[str]
    inputs: ImageSet | None = None
    restored: ImageSet | None = None
    training: TrainingImages | None = None
    maps: LabelMapFiles | None = None
    truth: LabelMapFiles | None = None
    num_classes: int = 0
    warnings: Sequence[str] = ()

    @property
    def kinds(self) -> set[str]:
        """The kinds of metrics that can be computed; distances between the colours of classes mean nothing."""
        if self.maps is not None:
            return {"labels"}
        available = {
            "paired": self.paired,
            "features": self.real is not None,
            "cycle": self.inputs is not None and self.restored is not None,
            "labels": self.truth is not None,
        }
        return {kind for kind, is_available in available.items() if is_available}


class Baselines:
    """Images to score instead of the generated ones. A property raises UserError where the data for it are missing."""

    def __init__(self, data: EvaluationData, size: tuple[int, int]) -> None:
        self.data, self.size = data, size

    @property
    def copy(self) -> ImageSet:
        """The inputs."""
        if self.data.inputs is None:
            raise UserError("there are no inputs")
        return self.data.inputs

    @cached_property
    def mean(self) -> ImageSet:
        """The mean real image for every input: of the training images or, without these, of the real ones."""
        training = self.data.training
        source = SelectedImages(training.targets, training.rows) if training else self.data.real
        if source is None:
            raise UserError("there are no real images")
        return SelectedImages([mean_image(source, self.size)], [0] * len(self.data.generated))

    @cached_property
    def nearest(self) -> ImageSet:
        """The training target whose input is nearest to each input."""
        training = self.data.training
        if training is None or training.inputs is None or self.data.inputs is None:
            raise UserError("there are no training pairs")
        return SelectedImages(training.targets, nearest_rows(self.data.inputs, training.inputs, training.rows))

    @property
    def training(self) -> ImageSet:
        """Return as many training images as were generated."""
        training, count = self.data.training, len(self.data.generated)
        rows = training.rows if training else []
        if training is None or len(rows) < count:
            raise UserError(f"there are only {len(rows):,} training images")
        return SelectedImages(training.targets, [rows[index * len(rows) // count] for index in range(count)])

    @property
    def about(self) -> dict[str, str]:
        """A description of each baseline."""
        training = self.data.training
        count = len(training.rows) if training else len(self.data.real or ())
        return {
            "copy": "the input as the output",
            "mean": f"the mean of {count:,} {'training' if training else 'real'} images",
            "nearest": f"the target of the nearest of {count:,} training inputs, in pixels at 32x32",
            "training": "as many real images, from the training set",
        }


def mean_image(images: ImageSet, size: tuple[int, int]) -> Tensor:
    """Return the mean image (C, H, W) uint8, of images resized to `size` (width, height); grey if all of them are.

    Raises:
        UserError: if none can be read.
    """
    total, count = torch.zeros(1, *size[::-1], dtype=torch.float64), 0
    for _, image in readable_images(images):
        fitted = resized_to(image, size)
        total = (total if len(total) == len(fitted) else as_rgb(total)) + fitted
        count += 1
    if not count:
        raise UserError("no image can be read")
    return (total / count).round().to(torch.uint8)


def nearest_rows(images: ImageSet, others: ImageSet, rows: Sequence[int]) -> list[int]:
    """Return for each image the nearest of the `rows` of `others`, by the L2 distance of pixels at 32x32."""
    numbers, candidates = _thumbnails(others, rows)
    _, wanted = _thumbnails(images, range(len(images)))
    nearest = [torch.cdist(part.float(), candidates.float()).argmin(dim=1) for part in wanted.split(BATCH_SIZE)]
    return [numbers[row] for row in torch.cat(nearest).tolist()]


def _thumbnails(images: ImageSet, rows: Sequence[int]) -> tuple[list[int], Tensor]:
    """Return the indices of the images that can be read, and their pixels (N, 3 * 32 * 32) uint8."""
    small = {index: as_rgb(resized_to(image, THUMBNAIL)).flatten() for index, image in readable_images(images, rows)}
    if not small:
        raise UserError("no training image can be read")
    return list(small), torch.stack(list(small.values()))


def derangement(count: int, seed: int) -> list[int]:
    """Return a random permutation that leaves nothing in its place. Raises UserError for a count of 1."""
    if count < 2:
        raise UserError("there is only one real image")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    moved = torch.empty_like(order)
    moved[order] = order.roll(1)
    return moved.tolist()
