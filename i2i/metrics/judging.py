"""The same numbers for whatever set of images is judged: generated ones, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data.batch import normalise
from i2i.data.domain import classes_of_mask
from i2i.data.images import Reader
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.bootstrap import Interval, feature_intervals, mean_interval
from i2i.metrics.config import JudgesConfig
from i2i.metrics.distribution import LEAST, feature_values
from i2i.metrics.extractor import Extractor, Features, load_extractor
from i2i.metrics.image_sets import Pictures, Rows, coloured
from i2i.metrics.lpips import LPIPS, load_lpips
from i2i.metrics.paired import paired_values
from i2i.metrics.segmentation import Segmentation, label_confusion, label_values, load_segmentation
from i2i.progress import Meter

AT_ONCE = 16  # images of one size
LEVEL = 0.95


class Score(NamedTuple):
    """A figure, the ends of its interval if there is one, and how many images it was made of on either side."""

    value: float
    low: float | None
    high: float | None
    fakes: int
    reals: int


class Maps:
    """Label maps in files: class indices (H, W), also of masks that hold 0 and 255 for `num_classes` 2."""

    def __init__(self, paths: Sequence[str], num_classes: int = 0) -> None:
        self.paths, self.reader = list(paths), Reader()
        self.are_masks = num_classes == 2 and self.reader.are_masks(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        stored = self.reader.labels(self.paths[index])
        return torch.from_numpy(classes_of_mask(stored) if self.are_masks else stored).long()


class Judge:
    """The metrics that are asked for, with the networks that they need.

    `replicates` is the number of resamples for intervals, none for 0.

    Raises:
        ValueError: if the weights of a network are missing; says where to put which file.
    """

    def __init__(
        self, metrics: Sequence[str], judges: JudgesConfig, device: str | torch.device, replicates: int, seed: int
    ) -> None:
        self.metrics, self.device, self.replicates, self.seed = tuple(metrics), torch.device(device), replicates, seed
        self.extractor: Extractor | None = None
        self.lpips: LPIPS | None = None
        self.segmentation: Segmentation | None = None
        if self.of_kind("features"):
            self.extractor = load_extractor(judges.inception, judges.inception_resize, self.device)
            if "inception_score" in metrics and not self.extractor.has_classes:
                raise UserError(
                    f"inception_score needs classes, which {self.extractor.name} does not give: leave it out, or name "
                    "a file with them by --inception"
                )
        if "lpips" in metrics:
            self.lpips = load_lpips(judges.lpips_net, judges.lpips_weights, self.device)
        if self.of_kind("labels") and judges.segmentation:
            self.segmentation = load_segmentation(judges.segmentation, self.device)

    def check_counts(self, fakes: int, reals: int) -> None:
        """Raise ValueError for fewer images than one of the metrics needs."""
        for name in self.of_kind("features"):
            for which, count in (("generated", fakes), ("real", reals)):
                if count < LEAST[name]:
                    raise UserError(f"--metrics {name} needs {LEAST[name]} {which} images at least, there are {count}")

    def of_kind(self, kind: str) -> list[str]:
        """Those of the metrics that are of this kind, see `METRICS`."""
        return [name for name in self.metrics if METRICS[name].kind == kind]

    def pairs(self, fakes: Pictures, reals: Pictures) -> dict[str, Score]:
        """The paired metrics of images and their truths, row by row, as means."""
        return self._means(self.of_kind("paired"), fakes, reals)

    def cycles(self, restored: Pictures, inputs: Pictures) -> dict[str, Score]:
        """What is lost between inputs and their ways there and back."""
        return {"cycle": self._means(["l1"], restored, inputs)["l1"]}

    def _means(self, names: Sequence[str], fakes: Pictures, reals: Pictures) -> dict[str, Score]:
        parts = []
        for fake, real in _pairs(fakes, reals):
            if self.lpips is not None:
                fake, real = fake.to(self.device), real.to(self.device)
            parts.append(paired_values(names, fake, real, self.lpips))
        values = {name: torch.cat([part[name] for part in parts]).double() for name in names}
        return {name: self._mean(rows) for name, rows in values.items()}

    def _mean(self, rows: Tensor) -> Score:
        sensible = self.replicates > 0 and len(rows) > 1 and bool(rows.isfinite().all())
        interval = mean_interval(rows, self.replicates, self.seed) if sensible else None
        return _score(rows.mean().item(), interval, len(rows), len(rows))

    def features(self, pictures: Pictures) -> Features:
        """Features of a set, computed once for each image that it repeats."""
        assert self.extractor is not None  # where metrics of features are asked for
        if isinstance(pictures, Rows):
            rows, index = torch.tensor(list(pictures.rows)).unique(return_inverse=True)
            return take(self._extracted(Rows(pictures.source, rows.tolist())), index)
        return self._extracted(pictures)

    def _extracted(self, pictures: Pictures) -> Features:
        assert self.extractor is not None
        parts = []
        with Meter(len(pictures), about="features") as bar:
            for images in _same_sized(pictures):
                parts.append(self.extractor(torch.stack(images)))
                bar.update(len(images))
        classes = [part.probabilities for part in parts if part.probabilities is not None]
        return Features(torch.cat([part.features for part in parts]), torch.cat(classes) if classes else None)

    def sets(self, fake: Features, real: Features) -> dict[str, Score]:
        """The metrics of two sets of features."""
        return self._of_sets(self.of_kind("features"), fake, real)

    def floor(self, real: Features) -> dict[str, Score]:
        """The metrics of two random halves of the real images, if these are enough; the Inception Score is of all."""
        order = torch.randperm(len(real.features), generator=torch.Generator().manual_seed(self.seed))
        first, second = (take(real, rows) for rows in order.tensor_split(2))
        names = [name for name in self.of_kind("features") if len(second.features) >= LEAST[name]]
        whole = [name for name in names if name == "inception_score"]
        return self._of_sets(names, first, second) | self._of_sets(whole, real, real)

    def _of_sets(self, names: Sequence[str], fake: Features, real: Features) -> dict[str, Score]:
        values = feature_values(names, fake, real)
        found: dict[str, Interval] = {}
        if self.replicates:
            found = feature_intervals(names, fake, real, self.replicates, self.seed, values)
        counts = len(fake.features), len(real.features)
        return {name: _score(values[name], found.get(name), *counts) for name in names}

    def labels(self, found: Pictures, truth: Maps, num_classes: int) -> dict[str, Score]:
        """How many pixels are of the true class, in label maps (H, W), or in what the network sees in photos."""
        confusions = []
        for index in range(len(truth)):
            image = found[index]
            if image.ndim == 2:
                predicted = image[None]
            else:
                assert self.segmentation is not None  # where photos are judged
                predicted = self.segmentation(normalise(coloured(image)[None]))
                num_classes = self.segmentation.num_classes
            confusions.append(label_confusion(predicted, truth[index][None], num_classes)[0])
        return self._label_scores(torch.stack(confusions))

    def _label_scores(self, confusions: Tensor) -> dict[str, Score]:
        count, values = len(confusions), label_values(confusions)
        generator = torch.Generator().manual_seed(self.seed)
        draws = [torch.randint(count, (count,), generator=generator) for _ in range(self.replicates)]
        replicates = [label_values(confusions[rows]) for rows in draws]
        scores = {}
        for name in self.of_kind("labels"):
            drawn = torch.tensor([found[name] for found in replicates], dtype=torch.double)
            ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.double)
            interval = Interval(*drawn.nanquantile(ends).tolist()) if len(drawn) and count > 1 else None
            scores[name] = _score(values[name], interval, count, count)
        return scores


def take(features: Features, rows: Tensor) -> Features:
    """Some rows of features, in any order."""
    probabilities = None if features.probabilities is None else features.probabilities[rows]
    return Features(features.features[rows], probabilities)


def _score(value: float, interval: Interval | None, fakes: int, reals: int) -> Score:
    low, high = interval or (None, None)
    return Score(value, low, high, fakes, reals)


def _pairs(fakes: Pictures, reals: Pictures) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs in batches of one size, (N, C, H, W) in [-1, 1]; what is grey comes in colours if its partner does."""
    held: list[tuple[Tensor, Tensor]] = []
    for index in range(len(reals)):
        fake, real = fakes[index], reals[index]
        if len(fake) != len(real):
            fake, real = coloured(fake), coloured(real)
        if held and (len(held) == AT_ONCE or held[0][0].shape != fake.shape):
            yield _stacked(held)
            held = []
        held.append((fake, real))
    if held:
        yield _stacked(held)


def _stacked(held: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    fakes, reals = zip(*held, strict=True)
    return normalise(torch.stack(fakes)), normalise(torch.stack(reals))


def _same_sized(pictures: Pictures) -> Iterator[list[Tensor]]:
    """The images in their order, in batches of one shape."""
    held: list[Tensor] = []
    for index in range(len(pictures)):
        image = pictures[index]
        if held and (len(held) == AT_ONCE or held[0].shape != image.shape):
            yield held
            held = []
        held.append(image)
    if held:
        yield held
