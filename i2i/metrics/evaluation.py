"""Evaluate images: compute a metrics card, with the scores of the baselines by the same code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from i2i.errors import UserError
from i2i.metrics.baselines import Baselines, EvaluationData, derangement
from i2i.metrics.card import Card, MetricResult
from i2i.metrics.evaluation_protocol import pairing_warnings, protocol, protocol_warnings
from i2i.metrics.image_sets import ImageSet, ResizedImages, SelectedImages, summarize
from i2i.metrics.suite import MetricSuite, Score

Scores = dict[str, Score]
Sizes = Sequence[tuple[int, int]]

# The baseline "real" by kind of metric, and that of generated label maps.
REAL = {
    "paired": "another real image, as of a model that ignores its input",
    "features": "one half of the real images against the other",
    "cycle": "another input",
    "labels": "the classes that the network predicts from the real photos",
    "maps": "another true label map",
}


def make_card(data: EvaluationData, suite: MetricSuite, *, warnings: Sequence[str] = (), **about: Any) -> Card:
    """Evaluate `data`; `about` holds the title, subject, options, environment and command of the card.

    Raises:
        UserError: if the images cannot be evaluated; a baseline that cannot be is left out.
    """
    generated = summarize(data.generated)
    real = summarize(data.real) if data.real is not None else None
    if suite.of_kind("paired") and real is not None:
        _check_sizes(data.names, generated.sizes, real.sizes)
    results, baselines = _results(data, suite, (real or generated).sizes)
    return Card(
        figures=results,
        baselines=baselines,
        protocol=protocol(data, suite, generated, real),
        warnings=[*warnings, *protocol_warnings(data, suite, generated, real), *pairing_warnings(results)],
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        **about,
    )


def _check_sizes(names: Sequence[str], generated: Sizes, real: Sizes) -> None:
    for name, size, true_size in zip(names, generated, real, strict=True):
        if size != true_size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (size, true_size))
            raise UserError(f"{name} and its target are {sizes}: resize them to one size, or use --paired no")


def _results(data: EvaluationData, suite: MetricSuite, sizes: Sizes) -> tuple[list[MetricResult], dict[str, str]]:
    """Return the results by metric and a description of the baselines; `sizes` are those of the real images."""
    made = Baselines(data, sizes[0])
    by_kind = {"paired": _paired, "features": _features, "cycle": _cycle, "labels": _labels}
    kinds = [kind for kind in by_kind if suite.of_kind(kind)]
    found = {result.name: result for kind in kinds for result in by_kind[kind](data, suite, made, sizes)}
    about = made.about | {"real": "; ".join(REAL["maps" if data.maps is not None else kind] for kind in kinds)}
    shown = {name: text for name, text in about.items() if any(name in result.baselines for result in found.values())}
    return [found[name] for name in suite.metrics], shown


def _baselines(made: Baselines, score: Callable[[ImageSet], Scores]) -> dict[str, Callable[[], Scores]]:
    return {"copy": lambda: score(made.copy), "mean": lambda: score(made.mean), "nearest": lambda: score(made.nearest)}


def _others(images: ImageSet, suite: MetricSuite) -> SelectedImages:
    """Return for each image another one."""
    return SelectedImages(images, derangement(len(images), suite.seed))


def _paired(data: EvaluationData, suite: MetricSuite, made: Baselines, sizes: Sizes) -> list[MetricResult]:
    assert data.real is not None
    real = data.real

    def score(images: ImageSet) -> Scores:
        return suite.pairs(ResizedImages(images, sizes), real)

    baselines = _baselines(made, score) | {"real": lambda: score(_others(real, suite))}
    return _compared(suite.pairs(data.generated, real), baselines)


def _features(data: EvaluationData, suite: MetricSuite, made: Baselines, sizes: Sizes) -> list[MetricResult]:
    assert data.real is not None
    real = suite.features(data.real)

    def score(images: ImageSet) -> Scores:
        return suite.sets(suite.features(images), real)

    baselines = _baselines(made, score) | {"real": lambda: suite.floor(real)}
    if data.training is not None:
        baselines["training"] = lambda: score(made.training)
    return _compared(score(data.generated), baselines)


def _cycle(data: EvaluationData, suite: MetricSuite, made: Baselines, sizes: Sizes) -> list[MetricResult]:
    assert data.restored is not None and data.inputs is not None
    inputs = data.inputs
    sizes = [(inputs[row].shape[2], inputs[row].shape[1]) for row in range(len(inputs))]
    mean = Baselines(EvaluationData(inputs, inputs, True, data.names, data.formats), sizes[0])

    def score(images: ImageSet) -> Scores:
        return suite.cycles(ResizedImages(images, sizes), inputs)

    baselines: dict[str, Callable[[], Scores]] = {
        "copy": lambda: score(inputs),
        "mean": lambda: score(mean.mean),
        "real": lambda: score(_others(inputs, suite)),
    }
    return _compared(suite.cycles(data.restored, inputs), baselines)


def _labels(data: EvaluationData, suite: MetricSuite, made: Baselines, sizes: Sizes) -> list[MetricResult]:
    assert data.truth is not None
    truth = data.truth
    score = partial(suite.labels, truth=truth, num_classes=data.num_classes)
    if data.maps is not None:
        return _compared(score(data.maps), {"real": lambda: score(_others(truth, suite))})
    sizes = [(truth[row].shape[1], truth[row].shape[0]) for row in range(len(truth))]
    baselines = _baselines(made, lambda images: score(ResizedImages(images, sizes)))
    if data.paired and (real := data.real) is not None:
        baselines["real"] = lambda: score(ResizedImages(real, sizes))
    return _compared(score(data.generated), baselines)


def _compared(own: Scores, baselines: dict[str, Callable[[], Scores]]) -> list[MetricResult]:
    """Compute the baselines, and return a result for each metric of `own`, with reasons for missing baselines."""
    scores: dict[str, Scores] = {}
    left_out: dict[str, str] = {}
    for name, compute in baselines.items():
        try:
            scores[name] = compute()
        except UserError as error:
            left_out[name] = str(error)
    results = []
    for metric, score in own.items():
        beside = {name: found[metric] for name, found in scores.items() if metric in found}
        lacking = {name: "too few images" for name in scores if name not in beside}
        results.append(MetricResult(metric, score, beside, left_out | lacking))
    return results
