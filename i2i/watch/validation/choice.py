"""Which metrics suit the data and the model, and by which of them a checkpoint is the best."""

from __future__ import annotations

from collections.abc import Sequence

from i2i.data import ImageDataset
from i2i.data.domain import Domain
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.config import JudgesConfig
from i2i.metrics.distribution import LEAST
from i2i.metrics.extractor import find_inception
from i2i.metrics.lpips import find_lpips
from i2i.metrics.paired import check_paired
from i2i.watch.validation.config import ValidationConfig

PREFERRED = ("lpips", "miou", "l1", "kid")  # as the best metric, the first that there is


def choose_metrics(
    config: ValidationConfig, judges: JudgesConfig, data: ImageDataset, targets: Sequence[str], images: int
) -> tuple[str, ...]:
    """The metrics that are asked for, else those that suit `data`, of which `images` are validated on.

    `targets` are the domains that the model translates to. Networks are not fetched: their metrics are among those that
    suit where there is a file.

    Raises:
        ValueError: for metrics that the data, or so many images, cannot give.
    """
    names = config.val_metrics or _suitable(judges, data, targets, images)
    if config.best_metric is not None and config.best_metric not in names:
        names = (*names, config.best_metric)
    for name in names:
        _check(name, judges, data, targets, images)
    return names


def choose_best(config: ValidationConfig, metrics: Sequence[str]) -> str | None:
    """The best metric that is asked for, else the one of `metrics` that says most; None where there are but cycles.

    A cycle says nothing by itself: a model that changes nothing closes it.
    """
    if config.best_metric is not None:
        return config.best_metric
    candidates = [name for name in metrics if METRICS[name].kind != "cycle"]
    return next((name for name in PREFERRED if name in candidates), next(iter(candidates), None))


def has_pairs(data: ImageDataset) -> bool:
    """Whether an output has a truth to be compared with, pixel by pixel."""
    return data.is_paired and data.labels is None


def _suitable(judges: JudgesConfig, data: ImageDataset, targets: Sequence[str], images: int) -> tuple[str, ...]:
    if not has_pairs(data):
        cycle = ("cycle",) if data.labels is None and "a" in targets else ()
        return (*cycle, "kid") if images >= LEAST["kid"] and find_inception(judges.inception) else cycle
    (output,) = data.domains[1]
    labels = tuple(name for name, metric in METRICS.items() if metric.kind == "labels")
    if output.is_labels:
        return labels
    has_lpips = _is_picture(output) and find_lpips(judges.lpips_net, judges.lpips_weights) is not None
    paired = ("l1", "psnr", "ssim", "lpips") if has_lpips else ("l1", "psnr", "ssim")
    read = labels if judges.segmentation is not None and _takes_labels(data) else ()
    return (*(name for name in paired if _fits(name, judges, data)), *read)


def _is_picture(domain: Domain) -> bool:
    return domain.channels in (1, 3, 4) or domain.kind == "chroma"


def _takes_labels(data: ImageDataset) -> bool:
    return any(domain.is_labels for domain in data.domains[0])


def _fits(name: str, judges: JudgesConfig, data: ImageDataset) -> bool:
    try:
        _check_size(name, judges, data)
    except UserError:
        return False
    return True


def _check_size(name: str, judges: JudgesConfig, data: ImageDataset) -> None:
    width, height = data.config.crop_size
    if "crop" in data.config.preprocess:
        check_paired([name], width, height, judges.lpips_net)


def _check(name: str, judges: JudgesConfig, data: ImageDataset, targets: Sequence[str], images: int) -> None:
    kind, asked = METRICS[name].kind, f"--val_metrics {name}"
    if kind == "cycle" and "a" not in targets:
        raise UserError(f"{asked} goes there and back, and this --model has no way back")
    if kind == "features" and images < LEAST[name]:
        raise UserError(f"{asked}: it takes {LEAST[name]} images at least, there are {images} to validate on")
    if kind in ("paired", "labels") and not has_pairs(data):
        mode = data.config.dataset_mode
        raise UserError(f"{asked} compares with a truth, which --dataset_mode {mode} does not give")
    if kind == "paired":
        _check_size(name, judges, data)
    if kind == "labels" and not (data.domains[1][0].is_labels or (judges.segmentation and _takes_labels(data))):
        raise UserError(
            f"{asked} compares label maps: the output of --out_classes, or what a --segmentation network reads off "
            "photos that are made from the input of --in_classes"
        )
