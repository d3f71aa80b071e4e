"""Reference data for generated images: the real images of a data set, and the classifier trained on them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.distribution import NEIGHBOURS
from i2i.tools.digits.classifier import classify
from i2i.tools.digits.classifier_file import TrainedClassifier, load_or_train_classifier
from i2i.tools.digits.distances import nearest
from i2i.tools.digits.labelled import Labelled, Real, first_of_each, read_real


class Comparable(NamedTuple):
    """Rows of generated images and as many of real ones, held out and for training; and all for training.

    With classes each set has them in equal numbers, one class after another.
    """

    generated: Tensor
    test: Tensor
    train: Tensor
    all_train: Tensor
    groups: Tensor  # the classes of the first two


class RealData:
    """The real images of `dataroot` and their classifier, and what generated images are to it.

    Raises ValueError where a class has too few images to test with.
    """

    def __init__(self, dataroot: str, real: Real, classifier: TrainedClassifier) -> None:
        self.dataroot, self.real, self.classifier = dataroot, real, classifier
        counts = real.test.labels.bincount(minlength=len(real.classes)).tolist()
        if min(counts) <= NEIGHBOURS:
            name = real.classes[counts.index(min(counts))]
            least = f"{NEIGHBOURS + 1} is the least"
            raise UserError(f"--dataroot {dataroot}: class {name} has {min(counts)} images to test with; {least}")

    @classmethod
    def load(
        cls,
        dataroot: str | Path,
        image_size: int,
        channels: int,
        *,
        classifier_file: Path | None = None,
        device: str = "auto",
    ) -> RealData:
        """Read a data set for runs of these squares and channels, and its classifier, or train that.

        Raises:
            ValueError: if the folder has no labelled images, or too few, or the file is of another classifier.
        """
        real = read_real(dataroot, image_size, channels)
        return cls(str(dataroot), real, load_or_train_classifier(real, file=classifier_file, device=device))

    @property
    def device(self) -> torch.device:
        """The device of the classifier."""
        return self.classifier.network.head.weight.device

    @cached_property
    def train_features(self) -> Tensor:
        """Features (N, 128) of the images for training."""
        return classify(self.classifier.network, self.real.train.images)[1]

    @cached_property
    def test_features(self) -> Tensor:
        """Features (N, 128) of the images held out."""
        return classify(self.classifier.network, self.real.test.images)[1]

    @cached_property
    def test_distances(self) -> Tensor:
        """Distances (N,) of the images held out to the nearest for training."""
        return nearest(self.real.test.images, self.real.train.images, self.device)[0]

    @cached_property
    def test_feature_distances(self) -> Tensor:
        """The same distances (N,) between features."""
        return nearest(self.test_features, self.train_features, self.device)[0]

    def comparable(self, generated: Labelled, by_class: bool) -> Comparable:
        """Return comparable sets: equally many images of each class, or with `by_class` off equally many in all."""
        sets = (generated, self.real.test, self.real.train)
        labels = [part.labels if by_class else torch.zeros_like(part.labels) for part in sets]
        classes = len(self.real.classes) if by_class else 1
        fewest = [int(found.bincount(minlength=classes).min()) for found in labels]
        count = min(fewest)
        rows, test, train = (first_of_each(found, [count] * classes) for found in labels)
        return Comparable(rows, test, train, first_of_each(labels[2], [fewest[2]] * classes), labels[0][rows])
