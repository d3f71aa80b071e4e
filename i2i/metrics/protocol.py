"""How images were judged, in words by name, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence

from i2i.metrics import METRICS
from i2i.metrics.baselines import Sets
from i2i.metrics.card import Figure
from i2i.metrics.distribution import KID_SUBSET_SIZE, KID_SUBSETS, MAX_SPLITS, NEIGHBOURS, SPLIT
from i2i.metrics.extractor import Extractor
from i2i.metrics.image_sets import Survey
from i2i.metrics.judging import Judge, Score

FEW = 50  # images, of which a figure says little
SMALL = 128  # pixels of the shorter side, which Inception sees more than doubled
# What may differ between two cards that can be compared all the same.
IMMATERIAL = ("intervals", "feature network", "generated set")
RESIZES = {
    "clean": "Pillow's bicubic filter with antialiasing, to 299x299 (clean-fid's)",
    "tf1": "TensorFlow 1's bilinear filter without antialiasing, to 299x299 (that of FID as first published)",
}

# What libraries leave open, by metric.
SETTINGS = {
    "psnr": "the mean of the images' own",
    "ssim": "Gaussian window of 11x11, sigma 1.5, at all pixels, the border continued by reflection",
    "ms_ssim": "as published: five scales, Gaussian windows of 11x11, sigma 1.5",
    "kid": f"cubic kernel, the mean over {KID_SUBSETS} subsets of {KID_SUBSET_SIZE:,} images, or as many as there are",
    "precision": f"within the distance to neighbour {NEIGHBOURS}",
    "recall": f"within the distance to neighbour {NEIGHBOURS}",
    "inception_score": f"the mean over parts of {SPLIT:,} images or more, {MAX_SPLITS} at most",
}


def protocol(sets: Sets, judge: Judge, generated: Survey, real: Survey | None) -> dict[str, str]:
    """Counts, sizes, files, digests and settings of a judgement."""
    found = {
        "generated images": f"{len(sets.generated):,}",
        "real images": f"{len(sets.real):,}" if sets.real is not None else "none",
        "pairs": "each image with its truth" if sets.paired else "none",
        "generated files": " and ".join(sets.formats),
        "generated sizes": generated.shown_sizes,
        "real sizes": real.shown_sizes if real else "none",
        "quantisation": f"8 bits, {_colours(generated, real)}, transparency dropped",
        "generated set": f"pixels {generated.digest}",
        "real set": f"pixels {real.digest}" if real else "none",
        "intervals": f"95 %, {judge.replicates:,} resamples, seed {judge.seed}" if judge.replicates else "none",
    }
    if judge.extractor is not None:
        found["feature network"] = judge.extractor.name
        found["feature weights"] = f"SHA-256 {judge.extractor.digest}"
        found["feature resizing"] = RESIZES[judge.extractor.resize]
    if judge.lpips is not None:
        found["lpips"] = f"{judge.lpips.name}, SHA-256 {judge.lpips.digest}"
    if judge.segmentation is not None:
        found["segmentation"] = f"SHA-256 {judge.segmentation.digest}"
    return found | {METRICS[name].title: SETTINGS[name] for name in judge.metrics if name in SETTINGS}


def warnings(sets: Sets, judge: Judge, generated: Survey, real: Survey | None) -> list[str]:
    """What of a judgement makes its figures less than they seem."""
    found = list(sets.warnings)
    fewest = min(len(sets.generated), len(sets.generated if sets.real is None else sets.real))
    if fewest < FEW:
        found.append(f"{_images(fewest)} on a side: what lies within the intervals is no difference")
    if lossy := [name for name in sets.formats if name in ("jpg", "jpeg")]:
        found.append(f"the generated images are files of {lossy[0].upper()}, whose losses are judged along with them")
    if real is not None and generated.digest == real.digest:
        found.append("the generated images are the real ones, pixel by pixel")
    if real is not None and generated.has_colours != real.has_colours and _compares_images(judge):
        found.append(f"{_colours(generated, real)}: what is grey was compared as grey in three channels")
    if judge.extractor is not None:
        found += _of_features(judge, judge.extractor, fewest, generated, real)
    return found


def warnings_of_pairs(figures: Sequence[Figure]) -> list[str]:
    """What to beware of where no paired metric tells generated images from other real ones."""
    beside = [figure for figure in figures if figure.metric.kind == "paired" and "real" in figure.baselines]
    if not beside or any(map(_beats_another, beside)):
        return []
    return [
        "no nearer to their truth than other real images are: do the pairs belong together? --paired no of "
        "i2i.evaluate judges them as sets"
    ]


def _beats_another(figure: Figure) -> bool:
    """Whether the whole interval is better than that of another real image."""
    (low, high), (other_low, other_high) = _ends(figure.score), _ends(figure.baselines["real"])
    return low > other_high if figure.metric.higher_is_better else high < other_low


def _ends(score: Score) -> tuple[float, float]:
    return (score.value, score.value) if score.low is None or score.high is None else (score.low, score.high)


def _compares_images(judge: Judge) -> bool:
    return bool(judge.of_kind("paired") or judge.of_kind("features"))


def _colours(generated: Survey, real: Survey | None) -> str:
    """Of both sides, where they differ."""
    own, true = ("RGB" if side.has_colours else "grey" for side in (generated, real or generated))
    return own if own == true else f"generated images {own}, real ones {true}"


def _of_features(judge: Judge, extractor: Extractor, fewest: int, generated: Survey, real: Survey | None) -> list[str]:
    found = []
    if "fid" in judge.metrics and fewest <= extractor.dimensions:
        found.append(
            f"FID of {_images(fewest)} is too high, as the covariance of {extractor.dimensions:,} features wants more "
            "of them than that: compare it at equal numbers alone, or read KID; between two halves of the real images "
            "it is higher still"
        )
    shortest = min(min(size) for size in generated.sizes)
    if shortest < SMALL:
        found.append(
            f"images of {shortest} pixels are enlarged to 299 for the features, which were learned from photos"
        )
    if real is not None and set(generated.sizes) != set(real.sizes):
        found.append(
            f"generated images are of {generated.shown_sizes}, real ones of {real.shown_sizes}: features tell sharp "
            "from blurred, and part of the distance may be that of the sizes"
        )
    return found


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
