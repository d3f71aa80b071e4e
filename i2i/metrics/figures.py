"""From sets of images to a card: every metric, each with its baselines by the same code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from i2i.errors import UserError
from i2i.metrics import protocol
from i2i.metrics.baselines import Baselines, Sets, shuffled
from i2i.metrics.card import Card, Figure
from i2i.metrics.image_sets import Fitted, Pictures, Rows, Survey, survey
from i2i.metrics.judging import Judge, Score

Scores = dict[str, Score]
Scorer = Callable[[], Scores]  # may raise ValueError, which says why there is none

# What stands for the real images beside a metric of each kind, and beside generated label maps.
REAL = {
    "paired": "another real image, as of a model that ignores its input",
    "features": "one half of the real images against the other",
    "cycle": "another input",
    "labels": "what the network reads off the real photos",
    "maps": "another true label map",
}


def make_card(sets: Sets, judge: Judge, *, warnings: Sequence[str] = (), **about: Any) -> Card:
    """Judge `sets`; `about` are the card's title, subject, options, environment and command.

    Raises:
        ValueError: if the images cannot be judged; a baseline that cannot is left out.
    """
    generated = survey(sets.generated)
    real = survey(sets.real) if sets.real is not None else None
    if judge.of_kind("paired") and real is not None:
        _check_sizes(sets.names, generated, real)
    found, baselines = figures(sets, judge, (real or generated).sizes)
    return Card(
        figures=found,
        baselines=baselines,
        protocol=protocol.protocol(sets, judge, generated, real),
        warnings=[*warnings, *protocol.warnings(sets, judge, generated, real), *protocol.warnings_of_pairs(found)],
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        **about,
    )


def _check_sizes(names: Sequence[str], generated: Survey, real: Survey) -> None:
    for name, size, true_size in zip(names, generated.sizes, real.sizes, strict=True):
        if size != true_size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (size, true_size))
            raise UserError(f"{name} and its truth are {sizes}: bring pairs to one size, or judge by --paired no")


def figures(sets: Sets, judge: Judge, sizes: Sequence[tuple[int, int]]) -> tuple[list[Figure], dict[str, str]]:
    """The figures of `sets`, and what the baselines beside them are; `sizes` are those of the real images."""
    made = Baselines(sets, sizes[0])
    judged = {
        "paired": lambda: _of_pairs(sets, judge, made, sizes),
        "features": lambda: _of_features(sets, judge, made),
        "cycle": lambda: _of_cycles(sets, judge),
        "labels": lambda: _of_labels(sets, judge, made),
    }
    kinds = [kind for kind in judged if judge.of_kind(kind)]
    found = {figure.name: figure for kind in kinds for figure in judged[kind]()}
    about = made.about | {"real": "; ".join(REAL["maps" if sets.maps is not None else kind] for kind in kinds)}
    shown = {name: text for name, text in about.items() if any(name in figure.baselines for figure in found.values())}
    return [found[name] for name in judge.metrics], shown


def _of_pairs(sets: Sets, judge: Judge, made: Baselines, sizes: Sequence[tuple[int, int]]) -> list[Figure]:
    real = sets.real
    assert real is not None  # where these metrics are asked for

    def score(pictures: Pictures) -> Scores:
        return judge.pairs(Fitted(pictures, sizes), real)

    return _compared(
        judge.pairs(sets.generated, real),
        {
            "copy": lambda: score(made.copy),
            "mean": lambda: score(made.mean),
            "nearest": lambda: score(made.nearest),
            "real": lambda: score(Rows(real, shuffled(len(real), judge.seed))),
        },
    )


def _of_features(sets: Sets, judge: Judge, made: Baselines) -> list[Figure]:
    assert sets.real is not None  # where these metrics are asked for
    real = judge.features(sets.real)

    def score(pictures: Pictures) -> Scores:
        return judge.sets(judge.features(pictures), real)

    baselines: dict[str, Scorer] = {
        "copy": lambda: score(made.copy),
        "mean": lambda: score(made.mean),
        "nearest": lambda: score(made.nearest),
        "real": lambda: judge.floor(real),
    }
    if sets.training is not None:
        baselines["training"] = lambda: score(made.training)
    return _compared(score(sets.generated), baselines)


def _of_cycles(sets: Sets, judge: Judge) -> list[Figure]:
    assert sets.restored is not None and sets.inputs is not None  # where this metric is asked for
    inputs = sets.inputs
    sizes = [(image.shape[2], image.shape[1]) for image in map(inputs.__getitem__, range(len(inputs)))]
    made = Baselines(Sets(inputs, inputs, True, sets.names, sets.formats), sizes[0])

    def score(pictures: Pictures) -> Scores:
        return judge.cycles(Fitted(pictures, sizes), inputs)

    return _compared(
        judge.cycles(sets.restored, inputs),
        {
            "copy": lambda: score(inputs),
            "mean": lambda: score(made.mean),
            "real": lambda: score(Rows(inputs, shuffled(len(inputs), judge.seed))),
        },
    )


def _of_labels(sets: Sets, judge: Judge, made: Baselines) -> list[Figure]:
    assert sets.truth is not None  # where these metrics are asked for
    truth = sets.truth
    score = partial(judge.labels, truth=truth, num_classes=sets.num_classes)
    if sets.maps is not None:
        return _compared(score(sets.maps), {"real": lambda: score(Rows(truth, shuffled(len(truth), judge.seed)))})
    sizes = [(labels.shape[1], labels.shape[0]) for labels in map(truth.__getitem__, range(len(truth)))]
    baselines: dict[str, Scorer] = {
        "copy": lambda: score(Fitted(made.copy, sizes)),
        "mean": lambda: score(Fitted(made.mean, sizes)),
        "nearest": lambda: score(Fitted(made.nearest, sizes)),
    }
    if sets.paired and (real := sets.real) is not None:
        baselines["real"] = lambda: score(Fitted(real, sizes))
    return _compared(score(sets.generated), baselines)


def _compared(own: Scores, baselines: dict[str, Scorer]) -> list[Figure]:
    scores: dict[str, Scores] = {}
    left_out: dict[str, str] = {}
    for name, scorer in baselines.items():
        try:
            scores[name] = scorer()
        except UserError as error:
            left_out[name] = str(error)
    return [_figure(metric, score, scores, left_out) for metric, score in own.items()]


def _figure(metric: str, score: Score, scores: dict[str, Scores], left_out: dict[str, str]) -> Figure:
    beside = {name: found[metric] for name, found in scores.items() if metric in found}
    lacking = {name: "too few images" for name in scores if name not in beside}
    return Figure(metric, score, beside, left_out | lacking)
