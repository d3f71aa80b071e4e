"""What makes a number readable: the same number of images that no model was needed for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.image_sets import Pictures, Rows, at_size, coloured, readable
from i2i.metrics.judging import Maps

MOST_TRAINING = 5000  # images of training that are looked at, spread over all
THUMBNAIL = (32, 32)
AT_ONCE = 500  # rows of a table of distances


@dataclasses.dataclass(frozen=True)
class Training:
    """Images that a model was trained on: real ones of the target and, of pairs, the inputs that belong to them."""

    targets: Pictures
    inputs: Pictures | None = None

    @property
    def rows(self) -> list[int]:
        """Which of them are looked at."""
        count = len(self.targets)
        return sorted({index * count // MOST_TRAINING for index in range(MOST_TRAINING)})


@dataclasses.dataclass(frozen=True)
class Sets:
    """What is judged, and what there is to compare it with.

    `inputs` and `restored` belong to the `generated` row by row, and so does `real` where it is `paired`; `names` are
    theirs. `truth` are the true label maps of `num_classes`; `maps` those that were generated, where it was not photos
    that were. `formats` are those of the generated files, `warnings` what to beware of in how they were put together.
    """

    generated: Pictures
    real: Pictures | None
    paired: bool
    names: Sequence[str]
    formats: Sequence[str]
    inputs: Pictures | None = None
    restored: Pictures | None = None
    training: Training | None = None
    maps: Maps | None = None
    truth: Maps | None = None
    num_classes: int = 0
    warnings: Sequence[str] = ()

    @property
    def kinds(self) -> set[str]:
        """Which kinds of metrics can be computed; between colours of classes no distance means anything."""
        if self.maps is not None:
            return {"labels"}
        there = {
            "paired": self.paired,
            "features": self.real is not None,
            "cycle": self.inputs is not None and self.restored is not None,
            "labels": self.truth is not None,
        }
        return {kind for kind, is_there in there.items() if is_there}


class Baselines:
    """Images in the place of the generated ones; a property raises ValueError, which says why, where it has none."""

    def __init__(self, sets: Sets, size: tuple[int, int]) -> None:
        self.sets, self.size = sets, size

    @property
    def copy(self) -> Pictures:
        """The inputs."""
        if self.sets.inputs is None:
            raise UserError("there are no inputs")
        return self.sets.inputs

    @cached_property
    def mean(self) -> Pictures:
        """The mean real image, of those for training if they are at hand, in the place of each."""
        training = self.sets.training
        source = Rows(training.targets, training.rows) if training else self.sets.real
        if source is None:
            raise UserError("there are no real images")
        return Rows([mean_image(source, self.size)], [0] * len(self.sets.generated))

    @cached_property
    def nearest(self) -> Pictures:
        """Of the pairs for training the target whose input is nearest."""
        training = self.sets.training
        if training is None or training.inputs is None or self.sets.inputs is None:
            raise UserError("there are no pairs of training")
        return Rows(training.targets, nearest_rows(self.sets.inputs, training.inputs, training.rows))

    @property
    def training(self) -> Pictures:
        """As many images of training as were generated: real against real, at equal numbers."""
        training, count = self.sets.training, len(self.sets.generated)
        rows = training.rows if training else []
        if training is None or len(rows) < count:
            raise UserError(f"there are only {len(rows):,} images of training")
        return Rows(training.targets, [rows[index * len(rows) // count] for index in range(count)])

    @property
    def about(self) -> dict[str, str]:
        """What each of them is."""
        training = self.sets.training
        count = len(training.rows) if training else len(self.sets.real or ())
        return {
            "copy": "the input as the output",
            "mean": f"the mean of {count:,} {'training' if training else 'real'} images",
            "nearest": f"the target of the nearest of {count:,} training inputs, in pixels at 32x32",
            "training": "as many real images, of those for training",
        }


def mean_image(pictures: Pictures, size: tuple[int, int]) -> Tensor:
    """The mean (C, H, W) uint8 of images brought to `size` (width, height); grey if they all are.

    Raises:
        ValueError: if none can be read.
    """
    total, count = torch.zeros(1, *size[::-1], dtype=torch.float64), 0
    for _, image in readable(pictures):
        fitted = at_size(image, size)
        total = (total if len(total) == len(fitted) else coloured(total)) + fitted
        count += 1
    if not count:
        raise UserError("no image can be read")
    return (total / count).round().to(torch.uint8)


def nearest_rows(images: Pictures, others: Pictures, rows: Sequence[int]) -> list[int]:
    """For each image which one of `rows` of `others` is nearest to it, by the L2 distance of pixels at 32x32."""
    numbers, candidates = _thumbnails(others, rows)
    _, wanted = _thumbnails(images, range(len(images)))
    nearest = [torch.cdist(part.float(), candidates.float()).argmin(dim=1) for part in wanted.split(AT_ONCE)]
    return [numbers[row] for row in torch.cat(nearest).tolist()]


def _thumbnails(pictures: Pictures, rows: Sequence[int]) -> tuple[list[int], Tensor]:
    """The numbers of those that can be read, and their pixels (N, 3 * 32 * 32) uint8."""
    small = {index: coloured(at_size(image, THUMBNAIL)).flatten() for index, image in readable(pictures, rows)}
    if not small:
        raise UserError("no image of training can be read")
    return list(small), torch.stack(list(small.values()))


def shuffled(count: int, seed: int) -> list[int]:
    """An order in which nothing stays where it was.

    Raises:
        ValueError: for a single one.
    """
    if count < 2:
        raise UserError("there is only one real image")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    moved = torch.empty_like(order)
    moved[order] = order.roll(1)
    return moved.tolist()
