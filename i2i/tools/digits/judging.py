"""A run's generated images against real ones: how good, how varied, and how much of them was learnt by heart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from i2i.config import check_range
from i2i.errors import UserError, file_errors
from i2i.metrics.distribution import NEIGHBOURS, frechet_distance, precision_recall
from i2i.run import epoch_checkpoints
from i2i.tools.digits import pictures
from i2i.tools.digits.candidate import Candidate
from i2i.tools.digits.classifier import accuracy, classify, train_classifier
from i2i.tools.digits.distances import diversity, nearest
from i2i.tools.digits.labelled import Labelled, first_of_each
from i2i.tools.digits.real_data import Comparable, RealData
from i2i.tools.digits.report import CurvePoint, DigitsReport, GanTrain, Pair

SAMPLES = 10_000
SHOWN_PAIRS = 12
NEAR = 0.01  # the quantile of real images' distances below which a generated one is nearer than it should be


def judge(
    run: Path,
    real_data: RealData,
    *,
    epoch: str = "latest",
    samples: int = SAMPLES,
    gan_train_samples: int | None = None,
    truncation: float | None = None,
    seed: int = 0,
    device: str = "auto",
    folder: Path | None = None,
) -> DigitsReport:
    """Judge up to `samples` images of a run's checkpoint, as many of each class; image i has the seed `seed + i`.

    For GAN-train a classifier is trained on `gan_train_samples` others: None for as many as there are real ones, 0 to
    leave it out. `folder` gets the pictures confusion.png (or classes.png) and nearest.png.

    Raises:
        ValueError: if there is no such checkpoint, or it is not of a cgan with the classes and sizes of `real_data`,
            or a number of images is too small.
    """
    candidate = Candidate(run, epoch, real_data, truncation, device)
    check_counts(candidate.num_classes, samples, gan_train_samples)
    generated = _generate(candidate, samples, seed)
    logits, features = classify(real_data.classifier.network, generated.images)
    predicted = _predicted(candidate, generated.labels, logits)
    rows = real_data.comparable(generated, candidate.conditional)
    compared, training = generated.images[rows.generated], real_data.real.train.images
    distances, originals = nearest(compared, training, real_data.device)
    by_features, _ = nearest(features[rows.generated], real_data.train_features, real_data.device)
    if folder is not None:
        closest = closest_pairs(distances, rows.groups)
        with file_errors("--results_dir", folder):
            folder.mkdir(parents=True, exist_ok=True)
            pictures.draw_classes(predicted, real_data.real.classes, folder)
            pictures.draw_pairs(compared[closest], training[originals[closest]], folder / "nearest.png")
    real_accuracy = real_data.classifier.accuracy
    others = len(training) if gan_train_samples is None else gan_train_samples
    return DigitsReport(
        run=run.name,
        epoch=epoch,
        step=candidate.step,
        dataroot=real_data.dataroot,
        classes=real_data.real.classes,
        samples=len(generated.labels),
        compared=len(compared),
        training=len(training),
        seed=seed,
        truncation=truncation,
        classifier=real_data.classifier.digest,
        classifier_accuracy=real_accuracy,
        predicted=tuple(map(tuple, predicted.tolist())),
        accuracy=Pair(accuracy(logits, generated.labels), real_accuracy) if candidate.conditional else None,
        gan_train=_gan_train(candidate, real_data, others, seed + len(generated.labels)),
        **_in_features(real_data, features[rows.generated], rows),
        **_by_heart("nearest", distances, real_data.test_distances[rows.test]),
        **_by_heart("nearest_feature", by_features, real_data.test_feature_distances[rows.test]),
    )


def curve(
    run: Path,
    real_data: RealData,
    *,
    samples: int = SAMPLES,
    truncation: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[CurvePoint]:
    """Accuracy and FID of each `epoch_N.pt` that a run has kept, in order; the arguments are those of `judge`.

    Raises:
        ValueError: if there is none.
    """
    epochs = epoch_checkpoints(run)
    if not epochs:
        raise UserError(f"{run} has kept no epoch_N.pt: train with --save_epoch_freq 1 and --keep_checkpoints")
    check_counts(len(real_data.real.classes), samples)
    for number in epochs:
        candidate = Candidate(run, str(number), real_data, truncation, device)
        generated = _generate(candidate, samples, seed)
        logits, features = classify(real_data.classifier.network, generated.images)
        rows = real_data.comparable(generated, candidate.conditional)
        fid = _fid(real_data, features[rows.generated], rows)
        right = accuracy(logits, generated.labels) if candidate.conditional else None
        count, compared = len(generated.labels), len(rows.generated)
        yield CurvePoint(number, candidate.step, count, compared, right, fid.generated, fid.real)


def check_counts(classes: int, samples: int, gan_train_samples: int | None = None) -> None:
    """Raise ValueError for fewer images than can be compared or, unless they are none, trained on."""
    least = (NEIGHBOURS + 1) * classes
    check_range("samples", samples, least)
    check_range("gan_train_samples", gan_train_samples or None, least)


def _generate(candidate: Candidate, samples: int, seed: int) -> Labelled:
    """Generate equally many images of each class, at most `samples` in all."""
    return candidate.generate(samples // candidate.num_classes * candidate.num_classes, seed)


def _predicted(candidate: Candidate, asked: Tensor, logits: Tensor) -> Tensor:
    """Counts (asked, seen) of classes, or (1, seen) where none were asked for."""
    classes = candidate.num_classes
    if not candidate.conditional:
        return logits.argmax(dim=1).bincount(minlength=classes)[None]
    return (asked * classes + logits.argmax(dim=1)).bincount(minlength=classes**2).view(classes, classes)


def closest_pairs(distances: Tensor, groups: Tensor) -> Tensor:
    """The rows of the least distances (N,), as many of each group (N,): over all, the simplest class would be first."""
    order, number = distances.argsort(), int(groups.max()) + 1
    chosen = first_of_each(groups[order], [max(1, SHOWN_PAIRS // number)] * number)
    return order[chosen.sort().values[:SHOWN_PAIRS]]


def _gan_train(candidate: Candidate, real_data: RealData, samples: int, seed: int) -> GanTrain | None:
    if not (samples and candidate.conditional):
        return None
    generated = candidate.generate(samples, seed)
    network = train_classifier(generated, candidate.num_classes, device=real_data.device)
    right = accuracy(classify(network, real_data.real.test.images)[0], real_data.real.test.labels)
    return GanTrain(samples, Pair(right, real_data.classifier.accuracy))


def _fid(real_data: RealData, features: Tensor, rows: Comparable) -> Pair:
    train, test = real_data.train_features[rows.all_train], real_data.test_features[rows.test]
    return Pair(frechet_distance(features, train), frechet_distance(test, train))


def _in_features(real_data: RealData, features: Tensor, rows: Comparable) -> dict[str, Pair]:
    train, test = real_data.train_features[rows.train], real_data.test_features[rows.test]
    figures = zip(precision_recall(features, train), precision_recall(test, train), strict=True)
    precision, recall = (Pair(*figure) for figure in figures)
    spread = Pair(diversity(features, rows.groups), diversity(test, rows.groups))
    return {"fid": _fid(real_data, features, rows), "precision": precision, "recall": recall, "diversity": spread}


def _by_heart(name: str, distances: Tensor, real: Tensor) -> dict[str, Pair]:
    limit = real.quantile(NEAR)
    shares = ((found < limit).double().mean().item() for found in (distances, real))
    return {
        f"{name}_distance": Pair(distances.median().item(), real.median().item()),
        f"{name}_share": Pair(*shares),
    }
