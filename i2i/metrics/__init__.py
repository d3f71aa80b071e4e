"""How good images are: metrics from well-kept libraries, by name."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What a metric compares, which way is better, and what it says."""

    kind: str  # "paired": image by image with its truth; "features": sets; "cycle": inputs and their way back; "labels"
    higher_is_better: bool
    title: str
    about: str


METRICS: dict[str, Metric] = {
    "l1": Metric("paired", False, "L1", "mean absolute difference to the truth, of values in [-1, 1]"),
    "psnr": Metric("paired", True, "PSNR", "peak signal-to-noise ratio in dB, of values in [0, 1]"),
    "ssim": Metric("paired", True, "SSIM", "structural similarity, 1 for equal images"),
    "ms_ssim": Metric("paired", True, "MS-SSIM", "structural similarity at several scales"),
    "lpips": Metric("paired", False, "LPIPS", "perceptual distance in a network's features"),
    "fid": Metric("features", False, "FID", "Fréchet distance between the Gaussians of two sets' features"),
    "kid": Metric("features", False, "KID", "kernel distance between two sets' features, without bias by their size"),
    "precision": Metric("features", True, "precision", "share of generated images near real ones"),
    "recall": Metric("features", True, "recall", "share of real images near generated ones"),
    "inception_score": Metric("features", True, "Inception Score", "how sure and varied a classifier's answers are"),
    "cycle": Metric("cycle", False, "cycle", "L1 between an input and its way there and back, of values in [-1, 1]"),
    "pixel_accuracy": Metric("labels", True, "pixel accuracy", "share of pixels whose class a network reads off"),
    "class_accuracy": Metric("labels", True, "class accuracy", "share of a class that a network reads off, as a mean"),
    "miou": Metric("labels", True, "mIoU", "intersection over union of a class's pixels, as a mean over classes"),
}
