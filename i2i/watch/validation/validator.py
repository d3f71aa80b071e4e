"""Validate a model: its metrics on held-out images, the best and worst of them, and what else observers look at."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data import ImageDataset
from i2i.data.batch import normalise
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.config import MetricNetworksConfig
from i2i.metrics.distribution import Features
from i2i.metrics.suite import MetricSuite
from i2i.models.base import GanModel
from i2i.watch.boards.board import Example
from i2i.watch.validation.accumulator import MetricAccumulator, translate_batch
from i2i.watch.validation.config import ValidationConfig, choose_best, choose_metrics, has_targets
from i2i.watch.validation.data import ValidationSamples, target_thumbnails, thumbnails

log = logging.getLogger(__name__)

PER_IMAGE = ("paired", "labels", "cycle")  # kinds of metrics that each single image has
SEARCHED = 500  # training images to compare outputs with, for models that copy them
SHOWN = 4  # examples of the best images, and of the worst


class Thumbnails(NamedTuple):
    """Outputs, held-out real images and training images of the target domain, each (N, 3, 32, 32) in [-1, 1]."""

    outputs: Tensor
    truths: Tensor
    training: Tensor


class Validation(NamedTuple):
    """The result of a validation.

    `figures` are metrics by name; `train_figures` those of training images, if these have targets. The `best` and
    `worst` images are ranked by the metric `ranked_by`, which is empty if no metric can rank images.
    """

    figures: dict[str, float]
    train_figures: dict[str, float]
    best: list[Example]
    worst: list[Example]
    thumbnails: Thumbnails
    ranked_by: str


class Ranking:
    """Collects examples, and keeps those with the best and the worst `metric`; none if it is None."""

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self._ranked: list[Example] = []

    def add(self, examples: Iterable[Example]) -> None:
        """Add some examples."""
        ranked = sorted([*self._ranked, *examples], key=self._badness)
        self._ranked = ranked if len(ranked) <= 2 * SHOWN else ranked[:SHOWN] + ranked[-SHOWN:]

    @property
    def best(self) -> list[Example]:
        """At most SHOWN examples, the best first."""
        return self._ranked[: (len(self._ranked) + 1) // 2]

    @property
    def worst(self) -> list[Example]:
        """At most SHOWN other examples, the worst first."""
        return self._ranked[(len(self._ranked) + 1) // 2 :][::-1]

    def _badness(self, example: Example) -> float:
        assert self.metric is not None
        value = example.figures[self.metric]
        if math.isnan(value):
            return math.inf
        return -value if METRICS[self.metric].higher_is_better else value


class Validator:
    """Validates models by `metrics` on at most `size` fixed images of `held_out`; its length is their number.

    The images of `training` are compared with. Both data sets should be read without augmentation. `best_metric` is the
    metric that chooses the best checkpoint.

    Raises:
        UserError: if the weights of a network are missing; names the file and where to put it.
    """

    def __init__(
        self,
        held_out: ImageDataset,
        training: ImageDataset,
        metrics: Sequence[str],
        networks: MetricNetworksConfig,
        size: int = 50,
        device: torch.device | str = "cpu",
        best_metric: str | None = None,
    ) -> None:
        self.metrics, self.best_metric, self.device = tuple(metrics), best_metric, torch.device(device)
        self.suite = MetricSuite(metrics, networks, device, replicates=0, seed=0)
        self.held_out, self.training = ValidationSamples(held_out, size), ValidationSamples(training, size)
        self.paired = has_targets(held_out)
        ranking = [name for name in (best_metric, *metrics) if name and METRICS[name].kind in PER_IMAGE]
        self.ranked_by = ranking[0] if ranking else None
        self._real: dict[str, Features] = {}
        self._training_thumbnails: Tensor | None = None

    def __len__(self) -> int:
        return len(self.held_out)

    @torch.no_grad()
    def run(self, model: GanModel) -> Validation:
        """Validate `model` as it is; neither the model nor any random state is changed."""
        accumulator = MetricAccumulator(self.suite, self.metrics, model.spec, self._real)
        ranking = Ranking(self.ranked_by)
        outputs, truths = self._translate(model, self.held_out, accumulator, ranking)
        training, train_figures = self._training_images(model)
        shown = Thumbnails(outputs, truths, training)
        ranked_by = self.ranked_by or ""
        return Validation(accumulator.figures(), train_figures, ranking.best, ranking.worst, shown, ranked_by)

    def _translate(
        self, model: GanModel, samples: ValidationSamples, accumulator: MetricAccumulator, ranking: Ranking
    ) -> tuple[Tensor, Tensor]:
        """Translate all samples; return thumbnails of the outputs and of the real images of their domain."""
        of_sets = any(METRICS[name].kind in ("cycle", "features") for name in accumulator.names)
        both_ways = of_sets and "a" in model.targets
        outputs, truths = [torch.empty(0, 3, 32, 32)], [torch.empty(0, 3, 32, 32)]
        for first, names, batch in samples.batches(self.device):
            shown, figures = accumulator.add(translate_batch(model, batch, first, both_ways))
            if ranking.metric is not None:
                labels = ("real_A", "fake_B", "real_B" if self.paired else "rec_A")
                pictures = {label: normalise(shown[label].cpu()) for label in labels}
                ranking.add(
                    Example(name, figures[row], {label: images[row] for label, images in pictures.items()})
                    for row, name in enumerate(names)
                )
            outputs.append(thumbnails(shown["fake_B"]))
            truths.append(thumbnails(shown["real_B"]))
        return torch.cat(outputs), torch.cat(truths)

    def _training_images(self, model: GanModel) -> tuple[Tensor, dict[str, float]]:
        """Return thumbnails of training images and, if these have targets, their metrics."""
        if self.paired:
            compared = [name for name in self.metrics if METRICS[name].kind in ("paired", "labels")]
            accumulator = MetricAccumulator(self.suite, compared, model.spec, {})
            _, training = self._translate(model, self.training, accumulator, Ranking(None))
            return training, accumulator.figures()
        if self._training_thumbnails is None:
            self._training_thumbnails = target_thumbnails(self.training.source, model.spec, SEARCHED)
        return self._training_thumbnails, {}


def build_validator(
    config: ValidationConfig,
    networks: MetricNetworksConfig,
    held_out: ImageDataset | None,
    training: ImageDataset,
    targets: Sequence[str] = ("b",),
    device: torch.device | str = "cpu",
) -> Validator | None:
    """Build the validator for models that translate to the domains `targets`; None for no validation.

    `training` and `held_out` are the data sets of `validation_data`.

    Raises:
        UserError: for options that these data, or the networks at hand, do not allow.
    """
    if held_out is None:
        _check_unused(config)
        return None
    images = min(config.val_size, *map(len, held_out.columns.files.values()))
    metrics = choose_metrics(config, networks, held_out, targets, images)
    best = choose_best(config, metrics)
    if best is None:
        if config.patience is not None:
            raise UserError(
                f"--patience {config.patience} needs a validation metric: set --best_metric, or --inception FILE to "
                "enable kid"
            )
        nothing = "no best checkpoint" if metrics else "no validation"
        log.info("%s: no metric here measures quality; --inception FILE enables kid", nothing)
    if not metrics:
        return None
    unaugmented = training.read_by(training.config.for_validation(training.config.phase))
    return Validator(held_out, unaugmented, metrics, networks, config.val_size, device, best)


def _check_unused(config: ValidationConfig) -> None:
    for name in ("patience", "best_metric", "val_metrics", "val_freq"):
        if getattr(config, name) is not None and config.val_freq != 0:
            raise UserError(
                f"--{name} needs images to validate on, and there are none; --val_fraction 0.1 holds out 10 % for it"
            )
