"""Options of validation, and the metrics that follow from them, the data and the networks at hand."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence

from i2i.config import check_choice, check_range, option
from i2i.data import ImageDataset
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.compute import check_image_size
from i2i.metrics.config import METRIC_NAMES, MetricNetworksConfig
from i2i.metrics.extractor import find_inception
from i2i.metrics.lpips import find_lpips
from i2i.metrics.metric_choice import fits_size

TRAINED_ON = 50  # training images for each validated one between validations, which then take about 1 % of the time
PREFERRED = ("lpips", "miou", "l1", "kid")  # the first of these that is available is the best metric


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """The images to validate on, how often, by which metrics, and which checkpoint is the best."""

    val_freq: int | None = option(
        None, f"images between validations; 0: none (default: whole epochs, {TRAINED_ON} images for each validated one)"
    )
    val_phase: str | None = option(None, "phase of the data to validate on (default: val, if there is one)")
    val_fraction: float = option(0.0, "hold out this fraction of the training images instead, chosen by --seed")
    val_size: int = option(50, "maximum number of images to validate on, and of training images to compare with")
    val_metrics: tuple[str, ...] | None = option(
        None, "metrics (default: all that the data and the networks at hand allow)", choices=METRIC_NAMES
    )
    best_metric: str | None = option(
        None,
        "metric that chooses best.pt (default: lpips or l1 for pairs, miou for label maps, otherwise kid)",
        choices=METRIC_NAMES,
    )
    patience: int | None = option(None, "stop training after this many validations without a better --best_metric")

    def __post_init__(self) -> None:
        check_range("val_freq", self.val_freq, 0)
        check_range("val_size", self.val_size, 1)
        check_range("patience", self.patience, 1)
        check_range("val_fraction", self.val_fraction, 0, 0.99)
        for name in self.val_metrics or ():
            check_choice("val_metrics", name, METRIC_NAMES)
        if self.best_metric is not None:
            check_choice("best_metric", self.best_metric, METRIC_NAMES)
            if self.val_metrics is not None:
                check_choice("best_metric", self.best_metric, self.val_metrics)
        if self.val_fraction and self.val_phase is not None:
            raise UserError(
                f"--val_phase {self.val_phase} and --val_fraction {self.val_fraction:g} both choose the images to "
                "validate on; give one of them"
            )
        if self.val_freq == 0 and (self.patience is not None or self.best_metric is not None):
            name = "patience" if self.patience is not None else "best_metric"
            raise UserError(f"--val_freq 0 turns validation off, but --{name} needs it; leave one of them out")

    def frequency(self, validated: int, epoch: int) -> int | None:
        """Return the number of training images between validations, or None for no validation.

        A validation translates `validated` images; an epoch has `epoch` images.
        """
        if self.val_freq is not None:
            return self.val_freq or None
        return math.ceil(TRAINED_ON * validated / epoch) * epoch


def choose_metrics(
    config: ValidationConfig, networks: MetricNetworksConfig, data: ImageDataset, targets: Sequence[str], images: int
) -> tuple[str, ...]:
    """Return `--val_metrics` or, by default, the metrics that suit the data, and `--best_metric`.

    `targets` are the domains that the model translates to, `images` is the number of images to validate on. Networks
    are not downloaded: by default their metrics are used only if the files are there.

    Raises:
        UserError: for metrics that cannot be computed for these data, or so few images.
    """
    names = config.val_metrics or _default_metrics(networks, data, targets, images)
    if config.best_metric is not None and config.best_metric not in names:
        names = (*names, config.best_metric)
    for name in names:
        _check(name, networks, data, targets, images)
    return names


def choose_best(config: ValidationConfig, metrics: Sequence[str]) -> str | None:
    """Return `--best_metric` or, by default, the most meaningful of `metrics`; None if there are only cycle metrics.

    The cycle loss alone says nothing about quality: the identity has none.
    """
    if config.best_metric is not None:
        return config.best_metric
    candidates = [name for name in metrics if METRICS[name].kind != "cycle"]
    return next((name for name in PREFERRED if name in candidates), next(iter(candidates), None))


def has_targets(data: ImageDataset) -> bool:
    """Return True if every input has a target image to compare the output with, pixel by pixel."""
    return data.is_paired and data.labels is None


def _default_metrics(
    networks: MetricNetworksConfig, data: ImageDataset, targets: Sequence[str], images: int
) -> tuple[str, ...]:
    if not has_targets(data):
        cycle = ("cycle",) if data.labels is None and "a" in targets else ()
        return (*cycle, "kid") if images >= METRICS["kid"].min_images and find_inception(networks.inception) else cycle
    (output,) = data.domains[1]
    labels = ("pixel_accuracy", "class_accuracy", "miou")
    if output.is_labels:
        return labels
    is_picture = output.channels in (1, 3, 4) or output.kind == "chroma"
    has_lpips = is_picture and find_lpips(networks.lpips_net, networks.lpips_weights) is not None
    paired = ("l1", "psnr", "ssim", "lpips") if has_lpips else ("l1", "psnr", "ssim")
    segmented = labels if networks.segmentation is not None and _takes_labels(data) else ()
    return (*(name for name in paired if fits_size(name, _image_size(data), networks)), *segmented)


def _takes_labels(data: ImageDataset) -> bool:
    return any(domain.is_labels for domain in data.domains[0])


def _image_size(data: ImageDataset) -> tuple[int, int]:
    """Return (width, height) of the images, as large as possible where only the files know it."""
    width, height = data.config.crop_size
    return (width, height) if "crop" in data.config.preprocess else (sys.maxsize, sys.maxsize)


def _check(name: str, networks: MetricNetworksConfig, data: ImageDataset, targets: Sequence[str], images: int) -> None:
    metric, asked = METRICS[name], f"--val_metrics {name}"
    if metric.kind == "cycle" and "a" not in targets:
        raise UserError(f"{asked} needs a --model that translates in both directions")
    if metric.kind == "features" and images < metric.min_images:
        raise UserError(f"{asked} needs at least {metric.min_images} images, there are {images} to validate on")
    if metric.kind in ("paired", "labels") and not has_targets(data):
        mode = data.config.dataset_mode
        raise UserError(f"{asked} needs a target image for each input, which --dataset_mode {mode} does not give")
    if metric.kind == "paired":
        check_image_size([name], *_image_size(data), networks.lpips_net)
    if metric.kind == "labels" and not (
        data.domains[1][0].is_labels or (networks.segmentation and _takes_labels(data))
    ):
        raise UserError(
            f"{asked} compares label maps: those that the model generates, with --out_classes, or those that a "
            "--segmentation network predicts from photos generated from label maps, with --in_classes"
        )
