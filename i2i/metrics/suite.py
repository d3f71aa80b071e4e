"""Compute the scores of chosen metrics, with confidence intervals, in the same way for any set of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data.batch import normalise
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.bootstrap import feature_intervals, mean_interval
from i2i.metrics.compute import feature_values, label_values, paired_values
from i2i.metrics.config import MetricNetworksConfig
from i2i.metrics.distribution import Features
from i2i.metrics.extractor import Extractor, load_extractor
from i2i.metrics.image_sets import ImageSet, LabelMapFiles, SelectedImages, as_rgb
from i2i.metrics.lpips import LPIPS, load_lpips
from i2i.metrics.segmentation import Segmentation, label_confusion, load_segmentation
from i2i.progress import Meter

BATCH_SIZE = 16
LEVEL = 0.95  # of the intervals


class Score(NamedTuple):
    """The value of a metric, its 95 % interval if there is one, and the number of images on each side."""

    value: float
    low: float | None
    high: float | None
    fakes: int
    reals: int


class MetricSuite:
    """Metrics of METRICS by name, with the networks that they need.

    `replicates` is the number of bootstrap resamples for intervals; 0 for no intervals.

    Raises:
        UserError: if the weights of a network are missing; names the file and where to put it.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        networks: MetricNetworksConfig,
        device: str | torch.device,
        replicates: int,
        seed: int,
    ) -> None:
        self.metrics, self.device, self.replicates, self.seed = tuple(metrics), torch.device(device), replicates, seed
        self.extractor: Extractor | None = None
        self.lpips: LPIPS | None = None
        self.segmentation: Segmentation | None = None
        if self.of_kind("features"):
            self.extractor = load_extractor(networks.inception, networks.inception_resize, self.device)
            for name in self.of_kind("features"):
                if METRICS[name].needs_classes and not self.extractor.has_classes:
                    raise UserError(
                        f"{name} needs class probabilities, which {self.extractor.name} does not give: leave it out, "
                        "or name a classifier by --inception"
                    )
        if "lpips" in metrics:
            self.lpips = load_lpips(networks.lpips_net, networks.lpips_weights, self.device)
        if self.of_kind("labels") and networks.segmentation:
            self.segmentation = load_segmentation(networks.segmentation, self.device)

    def check_counts(self, fakes: int, reals: int) -> None:
        """Raise UserError if there are fewer images than one of the metrics needs."""
        for name in self.of_kind("features"):
            for side, count in (("generated", fakes), ("real", reals)):
                if count < METRICS[name].min_images:
                    raise UserError(
                        f"--metrics {name} needs at least {METRICS[name].min_images} {side} images, there are {count}"
                    )

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of the metrics of a kind, see `Metric`."""
        return [name for name in self.metrics if METRICS[name].kind == kind]

    def pairs(self, fakes: ImageSet, reals: ImageSet) -> dict[str, Score]:
        """Return the paired metrics, as means over images and their targets in the same order."""
        return self._means(self.of_kind("paired"), fakes, reals)

    def cycles(self, restored: ImageSet, inputs: ImageSet) -> dict[str, Score]:
        """Return the cycle metrics, as means over reconstructions and inputs in the same order."""
        return self._means(self.of_kind("cycle"), restored, inputs)

    def _means(self, names: Sequence[str], fakes: ImageSet, reals: ImageSet) -> dict[str, Score]:
        parts = []
        for fake, real in _batches(_same_channels(fakes[row], reals[row]) for row in range(len(reals))):
            fake, real = normalise(fake), normalise(real)
            if self.lpips is not None:
                fake, real = fake.to(self.device), real.to(self.device)
            parts.append(paired_values(names, fake, real, self.lpips))
        return {name: self._mean(torch.cat([part[name] for part in parts]).double()) for name in names}

    def _mean(self, values: Tensor) -> Score:
        sensible = self.replicates > 0 and len(values) > 1 and bool(values.isfinite().all())
        low, high = mean_interval(values, self.replicates, self.seed) if sensible else (None, None)
        return Score(values.mean().item(), low, high, len(values), len(values))

    def features(self, images: ImageSet) -> Features:
        """Return the features of a set; each image of a SelectedImages is processed only once."""
        if isinstance(images, SelectedImages):
            rows, index = torch.tensor(list(images.rows)).unique(return_inverse=True)
            return self._extracted(SelectedImages(images.source, rows.tolist())).take(index)
        return self._extracted(images)

    def _extracted(self, images: ImageSet) -> Features:
        assert self.extractor is not None  # only called if a metric needs features
        parts = []
        with Meter(len(images), about="features") as bar:
            for (batch,) in _batches((images[row],) for row in range(len(images))):
                parts.append(self.extractor(batch))
                bar.update(len(batch))
        return Features.join(parts)

    def sets(self, fake: Features, real: Features) -> dict[str, Score]:
        """Return the metrics of two sets of features."""
        return self._of_sets(self.of_kind("features"), fake, real)

    def floor(self, real: Features) -> dict[str, Score]:
        """Return the metrics between two random halves of the real images, as far as these are large enough.

        Metrics of class probabilities use all real images.
        """
        order = torch.randperm(len(real.features), generator=torch.Generator().manual_seed(self.seed))
        first, second = (real.take(rows) for rows in order.tensor_split(2))
        names = [name for name in self.of_kind("features") if len(second.features) >= METRICS[name].min_images]
        whole = [name for name in names if METRICS[name].needs_classes]
        return self._of_sets(names, first, second) | self._of_sets(whole, real, real)

    def _of_sets(self, names: Sequence[str], fake: Features, real: Features) -> dict[str, Score]:
        values = feature_values(names, fake, real)
        intervals: Mapping[str, tuple[float | None, float | None]] = {}
        if self.replicates:
            intervals = feature_intervals(names, fake, real, self.replicates, self.seed, values)
        counts = len(fake.features), len(real.features)
        nothing = None, None
        return {name: Score(values[name], *intervals.get(name, nothing), *counts) for name in names}

    def labels(self, found: ImageSet, truth: LabelMapFiles, num_classes: int) -> dict[str, Score]:
        """Return the label metrics of label maps (H, W), or of photos, which the segmentation network labels."""
        confusions = []
        for index in range(len(truth)):
            image = found[index]
            if image.ndim == 2:
                predicted = image[None]
            else:
                assert self.segmentation is not None  # only called for photos if there is one
                predicted = self.segmentation(normalise(as_rgb(image)[None]))
                num_classes = self.segmentation.num_classes
            confusions.append(label_confusion(predicted, truth[index][None], num_classes)[0])
        return self._label_scores(torch.stack(confusions))

    def _label_scores(self, confusions: Tensor) -> dict[str, Score]:
        count, names = len(confusions), self.of_kind("labels")
        values = label_values(names, confusions)
        generator = torch.Generator().manual_seed(self.seed)
        draws = [torch.randint(count, (count,), generator=generator) for _ in range(self.replicates)]
        replicates = [label_values(names, confusions[rows]) for rows in draws]
        scores = {}
        for name in names:
            drawn = torch.tensor([found[name] for found in replicates], dtype=torch.double)
            ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.double)
            low, high = drawn.nanquantile(ends).tolist() if len(drawn) and count > 1 else (None, None)
            scores[name] = Score(values[name], low, high, count, count)
        return scores


def _same_channels(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    return (fake, real) if len(fake) == len(real) else (as_rgb(fake), as_rgb(real))


def _batches(rows: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """Stack consecutive rows of tensors whose first ones have the same shape, at most BATCH_SIZE rows at once."""
    held: list[tuple[Tensor, ...]] = []
    for row in rows:
        if held and (len(held) == BATCH_SIZE or held[0][0].shape != row[0].shape):
            yield tuple(torch.stack(column) for column in zip(*held, strict=True))
            held = []
        held.append(row)
    if held:
        yield tuple(torch.stack(column) for column in zip(*held, strict=True))
