"""Describe how images were evaluated, and warn about what makes the scores misleading."""

from __future__ import annotations

from collections.abc import Sequence

from i2i.metrics import METRICS
from i2i.metrics.baselines import EvaluationData
from i2i.metrics.card import MetricResult
from i2i.metrics.extractor import Extractor
from i2i.metrics.image_sets import ImageSetSummary
from i2i.metrics.suite import MetricSuite, Score

FEW = 50  # images, below which scores are very uncertain
SMALL = 128  # pixels of the shorter side, below which Inception's input is enlarged more than twice
# Entries of the protocol that may differ between cards that are compared.
IMMATERIAL = ("intervals", "feature network", "generated set")
RESIZES = {
    "clean": "Pillow's bicubic filter with antialiasing, to 299x299 (clean-fid's)",
    "tf1": "TensorFlow 1's bilinear filter without antialiasing, to 299x299 (that of FID as first published)",
}


def protocol(
    data: EvaluationData, suite: MetricSuite, generated: ImageSetSummary, real: ImageSetSummary | None
) -> dict[str, str]:
    """Return counts, sizes, file formats, digests and settings as text by name.

    Cards are comparable if these agree, so the texts must not change between versions.
    """
    found = {
        "generated images": f"{len(data.generated):,}",
        "real images": f"{len(data.real):,}" if data.real is not None else "none",
        "pairs": "each image with its truth" if data.paired else "none",
        "generated files": " and ".join(data.formats),
        "generated sizes": generated.shown_sizes,
        "real sizes": real.shown_sizes if real else "none",
        "quantisation": f"8 bits, {_colours(generated, real)}, transparency dropped",
        "generated set": f"pixels {generated.digest}",
        "real set": f"pixels {real.digest}" if real else "none",
        "intervals": f"95 %, {suite.replicates:,} resamples, seed {suite.seed}" if suite.replicates else "none",
    }
    if suite.extractor is not None:
        found["feature network"] = suite.extractor.name
        found["feature weights"] = f"SHA-256 {suite.extractor.digest}"
        found["feature resizing"] = RESIZES[suite.extractor.resize]
    if suite.lpips is not None:
        found["lpips"] = f"{suite.lpips.name}, SHA-256 {suite.lpips.digest}"
    if suite.segmentation is not None:
        found["segmentation"] = f"SHA-256 {suite.segmentation.digest}"
    return found | {METRICS[name].title: METRICS[name].settings for name in suite.metrics if METRICS[name].settings}


def protocol_warnings(
    data: EvaluationData, suite: MetricSuite, generated: ImageSetSummary, real: ImageSetSummary | None
) -> list[str]:
    """Return warnings about the data that make the scores uncertain or misleading."""
    found = list(data.warnings)
    fewest = min(len(data.generated), len(data.generated if data.real is None else data.real))
    if fewest < FEW:
        found.append(f"only {_images(fewest)} on a side: differences within the intervals mean nothing")
    if lossy := [name for name in data.formats if name in ("jpg", "jpeg")]:
        found.append(f"the generated images are {lossy[0].upper()} files: the scores include compression artefacts")
    if real is not None and generated.digest == real.digest:
        found.append("the generated images are the real ones, pixel by pixel")
    compares_images = suite.of_kind("paired") or suite.of_kind("features")
    if real is not None and generated.has_colours != real.has_colours and compares_images:
        found.append(f"{_colours(generated, real)}: grey images were compared as RGB with equal channels")
    if suite.extractor is not None:
        found += _feature_warnings(suite, suite.extractor, fewest, generated, real)
    return found


def pairing_warnings(results: Sequence[MetricResult]) -> list[str]:
    """Warn if no paired metric is significantly better than that of another real image in the place of the target."""
    beside = [result for result in results if result.metric.kind == "paired" and "real" in result.baselines]
    if not beside or any(map(_beats_another, beside)):
        return []
    return [
        "the generated images are no nearer to their targets than other real images are: do the pairs belong together? "
        "--paired no of i2i.evaluate compares them as sets"
    ]


def _beats_another(result: MetricResult) -> bool:
    (low, high), (other_low, other_high) = _ends(result.score), _ends(result.baselines["real"])
    return low > other_high if result.metric.higher_is_better else high < other_low


def _ends(score: Score) -> tuple[float, float]:
    return (score.value, score.value) if score.low is None or score.high is None else (score.low, score.high)


def _colours(generated: ImageSetSummary, real: ImageSetSummary | None) -> str:
    own, true = ("RGB" if side.has_colours else "grey" for side in (generated, real or generated))
    return own if own == true else f"generated images {own}, real ones {true}"


def _feature_warnings(
    suite: MetricSuite, extractor: Extractor, fewest: int, generated: ImageSetSummary, real: ImageSetSummary | None
) -> list[str]:
    found = []
    if "fid" in suite.metrics and fewest <= extractor.dimensions:
        found.append(
            f"FID of {_images(fewest)} is too high, as estimating the covariance of {extractor.dimensions:,} features "
            "needs more: compare it only at equal numbers of images, or use KID; the baseline of two halves of the "
            "real images is even higher"
        )
    shortest = min(min(size) for size in generated.sizes)
    if shortest < SMALL:
        found.append(
            f"images of {shortest} pixels are enlarged to 299 for the feature network, which was trained on photos"
        )
    if real is not None and set(generated.sizes) != set(real.sizes):
        found.append(
            f"generated images are of {generated.shown_sizes}, real ones of {real.shown_sizes}: features depend on "
            "sharpness, so part of the distance may come from the sizes"
        )
    return found


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
