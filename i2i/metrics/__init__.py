"""Metrics of generated images, by name.

To add a metric, write a function and add one line to METRICS, here or from your own code:
`METRICS["mae"] = Metric("paired", False, "MAE", "mean absolute error", mae)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from i2i.metrics.distribution import (
    KID_SUBSET_SIZE,
    KID_SUBSETS,
    MAX_SPLITS,
    NEIGHBOURS,
    SPLIT,
    frechet_distance,
    frechet_distance_of_few,
    inception_score,
    kernel_distance,
    kernel_distance_of_all,
    on_features,
    precision_recall,
)
from i2i.metrics.segmentation import class_accuracy, mean_iou, pixel_accuracy
from i2i.metrics.similarity import MS_SSIM_SMALLEST, SSIM_WINDOW, l1, ms_ssim, psnr, ssim


class Metric(NamedTuple):
    """A metric and how it is computed.

    The `kind` decides what `compute` takes and returns:

    - "paired": predictions and targets (N, C, H, W) in [-1, 1]; returns (N,)
    - "cycle": reconstructions and inputs (N, C, H, W) in [-1, 1]; returns (N,)
    - "features": `Features` of the generated and of the real images; returns a float
    - "labels": pixel counts (K, K + 1) by true and predicted class, see `label_confusion`; returns a float
    """

    kind: str
    higher_is_better: bool
    title: str
    about: str
    compute: Callable[..., Any] | None = None  # None for lpips, which is a network with weights of its own
    replicate: Callable[..., float] | None = None  # features: a faster `compute` for bootstrap replicates
    bounds: tuple[float, float] = (-math.inf, math.inf)  # features: clip confidence intervals to these
    min_images: int = 1  # features: number of images needed on each side
    min_size: int = 1  # paired: shortest image side, in pixels
    needs_classes: bool = False  # features: needs class probabilities
    uses_rgb: bool = False  # paired: validation compares rendered 8-bit RGB images instead of raw output channels
    settings: str = ""  # recorded in the protocol of a metrics card


NEAR = f"within the distance to neighbour {NEIGHBOURS}"
KID_SUBSETTING = f"the mean over {KID_SUBSETS} subsets of {KID_SUBSET_SIZE:,} images, or as many as there are"
WINDOWS = "Gaussian window of 11x11, sigma 1.5, at all pixels, the border continued by reflection"
FIVE_SCALES = "as published: five scales, Gaussian windows of 11x11, sigma 1.5"
MANIFOLD: dict[str, Any] = {"bounds": (0.0, 1.0), "min_images": NEIGHBOURS + 1, "settings": NEAR}

METRICS: dict[str, Metric] = {
    "l1": Metric("paired", False, "L1", "mean absolute difference from the target, for values in [-1, 1]", l1),
    "psnr": Metric(
        "paired", True, "PSNR", "peak signal-to-noise ratio in dB", psnr, settings="the mean of the images' own"
    ),
    "ssim": Metric("paired", True, "SSIM", "structural similarity", ssim, min_size=SSIM_WINDOW, settings=WINDOWS),
    "ms_ssim": Metric(
        "paired", True, "MS-SSIM", "SSIM at five scales", ms_ssim, min_size=MS_SSIM_SMALLEST, settings=FIVE_SCALES
    ),
    "lpips": Metric("paired", False, "LPIPS", "perceptual distance in the features of a network", uses_rgb=True),
    "fid": Metric(
        "features",
        False,
        "FID",
        "Fréchet distance between Gaussians fitted to the features of both sets",
        on_features(frechet_distance),
        on_features(frechet_distance_of_few),
        bounds=(0.0, math.inf),
        min_images=2,
    ),
    "kid": Metric(
        "features",
        False,
        "KID",
        "kernel distance between the features of both sets, unbiased",
        on_features(kernel_distance),
        on_features(kernel_distance_of_all),
        min_images=2,
        settings=f"cubic kernel, {KID_SUBSETTING}",
    ),
    "precision": Metric(
        "features",
        True,
        "precision",
        "share of generated images that are close to real ones",
        on_features(lambda generated, real: precision_recall(generated, real)[0]),
        **MANIFOLD,
    ),
    "recall": Metric(
        "features",
        True,
        "recall",
        "share of real images that are close to generated ones",
        on_features(lambda generated, real: precision_recall(generated, real)[1]),
        **MANIFOLD,
    ),
    "inception_score": Metric(
        "features",
        True,
        "Inception Score",
        "confidence and diversity of the predictions of a classifier",
        lambda generated, real: inception_score(generated.probabilities),
        bounds=(1.0, math.inf),
        needs_classes=True,
        settings=f"the mean over parts of {SPLIT:,} images or more, {MAX_SPLITS} at most",
    ),
    "cycle": Metric("cycle", False, "cycle", "L1 between an input and its reconstruction, for values in [-1, 1]", l1),
    "pixel_accuracy": Metric("labels", True, "pixel accuracy", "share of correctly classified pixels", pixel_accuracy),
    "class_accuracy": Metric("labels", True, "class accuracy", "pixel accuracy, averaged over classes", class_accuracy),
    "miou": Metric("labels", True, "mIoU", "intersection over union, averaged over classes", mean_iou),
}
