"""Results of a run: its figures beside those of real images, as text and as plain values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class Pair:
    """A figure of generated images, and that of as many real ones: where it ends if all goes well."""

    generated: float
    real: float

    @property
    def ratio(self) -> float:
        """The first over the second."""
        return self.generated / self.real if self.real else math.inf


@dataclasses.dataclass(frozen=True)
class GanTrain:
    """The accuracy on real images of a classifier trained on `samples` generated ones, and on all real ones."""

    samples: int
    accuracy: Pair


class CurvePoint(NamedTuple):
    """The quality of a checkpoint's images; the accuracy is None for an unconditional run."""

    epoch: int
    step: int
    samples: int
    compared: int  # of the samples, for the FID
    accuracy: float | None
    fid: float
    fid_floor: float

    def __str__(self) -> str:
        right = "" if self.accuracy is None else f"accuracy {self.accuracy:.2%}, "
        fid = f"FID {self.fid:.3f}, of real images {self.fid_floor:.3f}"
        return f"epoch {self.epoch} (step {self.step:,}): {right}{fid}"


@dataclasses.dataclass(frozen=True)
class DigitsReport:
    """Figures of `samples` generated images; those of `compared` of them, beside as many real ones, from `fid` on.

    `predicted[asked][seen]` counts the images of the class that was asked for by the class that the classifier sees;
    of an unconditional run it has one row, and there is neither accuracy nor GAN-train. Distances of `diversity` are
    between features, those to the nearest image of `training` between pixels in [0, 1] and between features.
    """

    run: str
    epoch: str
    step: int
    dataroot: str
    classes: tuple[str, ...]
    samples: int
    compared: int
    training: int  # real images
    seed: int  # image i has the seed `seed + i`
    truncation: float | None
    classifier: str  # digest
    classifier_accuracy: float
    predicted: tuple[tuple[int, ...], ...]
    accuracy: Pair | None  # and GAN-test (Shmelkov et al. 2018, arXiv 1807.09499), which is the same
    gan_train: GanTrain | None
    fid: Pair
    precision: Pair
    recall: Pair
    diversity: Pair
    nearest_distance: Pair  # median
    nearest_share: Pair  # of images nearer to one for training than 1 % of the real ones are
    nearest_feature_distance: Pair  # median
    nearest_feature_share: Pair

    @property
    def class_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each class; empty for an unconditional run."""
        if self.accuracy is None:
            return ()
        return tuple(row[label] / sum(row) for label, row in enumerate(self.predicted))

    @property
    def entropy(self) -> float:
        """The entropy of the predicted classes, in nats; for equal shares it is log(number of classes)."""
        shares = [sum(column) / self.samples for column in zip(*self.predicted, strict=True)]
        return max(0.0, -sum(share * math.log(share) for share in shares if share))  # of one class it is -0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self) | {
            "class_accuracies": self.class_accuracies,
            "entropy": self.entropy,
            "diversity_ratio": self.diversity.ratio,
            "nearest_ratio": self.nearest_distance.ratio,
            "nearest_feature_ratio": self.nearest_feature_distance.ratio,
        }

    def text(self) -> str:
        """Return a table for people to read."""
        truncated = "" if self.truncation is None else f", truncation {self.truncation:g}"
        seeds = f"seeds {self.seed} to {self.seed + self.samples - 1}{truncated}"
        lines = [
            f"{self.run}, epoch {self.epoch} (step {self.step:,}): {self.samples:,} images, {seeds}",
            f"judged by classifier {self.classifier}, right about {self.classifier_accuracy:.2%} of real test images",
            f"{'':52}{'generated':>10}{'real':>10}",
            *(f"{name:52}{pair.generated:>10{form}}{pair.real:>10{form}}" for name, pair, form in self._figures()),
            self._by_class(),
        ]
        return "\n".join(lines)

    def _figures(self) -> Iterator[tuple[str, Pair, str]]:
        compared = f"{self.compared:,} images"
        if self.accuracy is not None:
            yield "class-conditional accuracy (GAN-test)", self.accuracy, ".2%"
        if self.gan_train is not None:
            yield f"GAN-train accuracy ({self.gan_train.samples:,} images)", self.gan_train.accuracy, ".2%"
        yield f"FID in the classifier's features ({compared})", self.fid, ".3f"
        yield f"precision ({compared})", self.precision, ".3f"
        yield f"recall ({compared})", self.recall, ".3f"
        within = " within a class" if self.accuracy else ""
        yield f"diversity{within} ({compared})", self.diversity, ".3f"
        yield f"nearest of {self.training:,} by pixels: median distance", self.nearest_distance, ".3f"
        yield "    share nearer than the nearest 1 % of real images", self.nearest_share, ".2%"
        yield "nearest in the classifier's features: median", self.nearest_feature_distance, ".3f"
        yield "    share nearer than the nearest 1 % of real images", self.nearest_feature_share, ".2%"

    def _by_class(self) -> str:
        if self.class_accuracies:
            found = zip(self.classes, self.class_accuracies, strict=True)
            return "accuracy by class: " + ", ".join(f"{name} {share:.1%}" for name, share in found)
        counts = ", ".join(f"{name} {count}" for name, count in zip(self.classes, self.predicted[0], strict=True))
        return f"classes seen: {counts}; entropy {self.entropy:.3f} nats of at most {math.log(len(self.classes)):.3f}"
