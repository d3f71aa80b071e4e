"""How good a model is on images that it does not learn from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data import ImageDataset
from i2i.data.batch import normalise
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.config import JudgesConfig
from i2i.metrics.extractor import Features
from i2i.metrics.judging import Judge
from i2i.models.base import GanModel
from i2i.watch.boards.board import Example
from i2i.watch.validation.choice import choose_best, choose_metrics, has_pairs
from i2i.watch.validation.config import ValidationConfig
from i2i.watch.validation.probe import Part, Probe, target_thumbnails, thumbnails
from i2i.watch.validation.ranking import Ranking
from i2i.watch.validation.tally import Pictures, Tally, translations

log = logging.getLogger(__name__)

OF_AN_IMAGE = ("paired", "labels", "cycle")  # kinds of metrics that a single image has
SEARCHED = 500  # training images among which those that a model repeats are looked for


class Thumbnails(NamedTuple):
    """What was made, what is real and held out, and real images that are trained on, each (N, 3, 32, 32) in [-1, 1]."""

    outputs: Tensor
    truths: Tensor
    training: Tensor


class Validation(NamedTuple):
    """Figures by metric, those of training images beside them where there are pairs, and the best and worst images.

    These are ranked by the metric `ranked_by`, which is empty where there are none.
    """

    figures: dict[str, float]
    train_figures: dict[str, float]
    best: list[Example]
    worst: list[Example]
    thumbnails: Thumbnails
    ranked_by: str


class Validator:
    """Validates models on at most `size` images of `held_out`, always the same ones, by `metrics`.

    Both data sets are to be read without augmentation. The images of `training` are compared with. `best_metric` is
    what a checkpoint is chosen by. Its length is the number of images validated on.

    Raises:
        ValueError: if a network that a metric needs is missing; says where to put which file.
    """

    def __init__(
        self,
        held_out: ImageDataset,
        training: ImageDataset,
        metrics: Sequence[str],
        judges: JudgesConfig,
        size: int = 50,
        device: torch.device | str = "cpu",
        best_metric: str | None = None,
    ) -> None:
        self.metrics, self.best_metric, self.device = tuple(metrics), best_metric, torch.device(device)
        self.judge = Judge(metrics, judges, device, replicates=0, seed=0)
        self.held_out, self.training = Probe(held_out, size), Probe(training, size)
        self.paired = has_pairs(held_out)
        ranking = [name for name in (best_metric, *metrics) if name and METRICS[name].kind in OF_AN_IMAGE]
        self.ranked_by = ranking[0] if ranking else None
        self._real: dict[str, Features] = {}
        self._learned: Tensor | None = None

    def __len__(self) -> int:
        return len(self.held_out)

    @torch.no_grad()
    def run(self, model: GanModel) -> Validation:
        """Validate `model` as it is; nothing of it, and no random state, is changed."""
        tally, ranking = Tally(self.judge, self.metrics, model.spec, self._real), Ranking(self.ranked_by)
        outputs, truths = self._pass(model, self.held_out, tally, ranking)
        learned, train_figures = self._seen(model)
        return Validation(
            tally.figures(),
            train_figures,
            ranking.best,
            ranking.worst,
            Thumbnails(outputs, truths, learned),
            self.ranked_by or "",
        )

    def _pass(self, model: GanModel, probe: Probe, tally: Tally, ranking: Ranking) -> tuple[Tensor, Tensor]:
        """Translate all images of `probe`; gives thumbnails of the outputs and of the real images of their domain."""
        of_sets = any(METRICS[name].kind in ("cycle", "features") for name in tally.names)
        both_ways = of_sets and "a" in model.targets
        outputs, truths = [torch.empty(0, 3, 32, 32)], [torch.empty(0, 3, 32, 32)]
        for part in probe.parts(self.device):
            shown, figures = tally.add(translations(model, part.batch, part.first, both_ways))
            if ranking.metric is not None:
                labels = ("real_A", "fake_B", "real_B" if self.paired else "rec_A")
                ranking.add(_examples(part, figures, {label: shown[label] for label in labels}))
            outputs.append(thumbnails(shown["fake_B"]))
            truths.append(thumbnails(shown["real_B"]))
        return torch.cat(outputs), torch.cat(truths)

    def _seen(self, model: GanModel) -> tuple[Tensor, dict[str, float]]:
        """Thumbnails of training images, and figures of those that have a truth."""
        if self.paired:
            compared = [name for name in self.metrics if METRICS[name].kind in ("paired", "labels")]
            tally = Tally(self.judge, compared, model.spec, {})
            _, learned = self._pass(model, self.training, tally, Ranking(None))
            return learned, tally.figures()
        if self._learned is None:
            self._learned = target_thumbnails(self.training.source, model.spec, SEARCHED)
        return self._learned, {}


def _examples(part: Part, figures: list[dict[str, float]], shown: Pictures) -> list[Example]:
    pictures = {label: normalise(images.cpu()) for label, images in shown.items()}
    return [
        Example(name, figures[row], {label: images[row] for label, images in pictures.items()})
        for row, name in enumerate(part.names)
    ]


def build_validator(
    config: ValidationConfig,
    judges: JudgesConfig,
    held_out: ImageDataset | None,
    training: ImageDataset,
    targets: Sequence[str] = ("b",),
    device: torch.device | str = "cpu",
) -> Validator | None:
    """What validates models that translate to the domains `targets`, as `config` says; None where nothing does.

    `training` and `held_out` are the two data sets of `validation_data`.

    Raises:
        ValueError: if options ask for what these data, or the networks that are at hand, do not give.
    """
    if held_out is None:
        _check_unused(config)
        return None
    images = min(config.val_size, *map(len, held_out.columns.files.values()))
    metrics = choose_metrics(config, judges, held_out, targets, images)
    best = choose_best(config, metrics)
    if best is None:
        if config.patience is not None:
            raise UserError(f"--patience {config.patience} goes by a --best_metric: --inception FILE makes it kid")
        nothing = "no best checkpoint" if metrics else "no validation"
        log.info("%s: no metric here says how good images are; --inception FILE adds kid", nothing)
    if not metrics:
        return None
    seen = training.read_by(training.config.for_validation(training.config.phase))
    return Validator(held_out, seen, metrics, judges, config.val_size, device, best)


def _check_unused(config: ValidationConfig) -> None:
    for name in ("patience", "best_metric", "val_metrics", "val_freq"):
        if getattr(config, name) is not None and config.val_freq != 0:
            raise UserError(f"--{name}: there are no images to validate on; --val_fraction 0.1 holds a tenth out")
