"""Translate images as files would store them, and accumulate the metrics of the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from i2i.data import Batch, DataSpec
from i2i.data.batch import normalise
from i2i.data.domain import FULL_RANGE, Domain
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.images.writing import class_maps
from i2i.metrics import METRICS
from i2i.metrics.compute import feature_values, label_values, paired_values
from i2i.metrics.distribution import Features
from i2i.metrics.segmentation import label_confusion
from i2i.metrics.suite import MetricSuite
from i2i.models.base import GanModel

Images = dict[str, Tensor]  # (N, C, H, W) by the labels of files: real_A, fake_B ...


def translate_batch(model: GanModel, batch: Batch, first: int, both_ways: bool) -> Images:
    """Return the images of `batch` and their translations, in [-1, 1] and quantised as in files.

    With `both_ways`, also translate b to a, and translate the results back. They are quantised in between, as a model
    could hide information in differences that files do not keep (Chu et al. 2017, arXiv 1712.02950). Images generated
    from classes use the seeds `first`, `first` + 1 ...
    """
    a, b = model.spec.domains
    if batch.a is None:
        return {"fake_B": quantised(model.translate(batch, seed=first), b), "real_B": batch.image("b")}
    fake_b = quantised(model.translate(batch), b)
    images = {"real_A": batch.a, "fake_B": fake_b, "real_B": batch.image("b")}
    if both_ways:
        fake_a = quantised(model.translate(batch, target="a"), a)
        from_b = dataclasses.replace(batch, b=fake_b, paths_b=batch.paths_a)
        from_a = dataclasses.replace(batch, a=fake_a, paths_a=batch.paths_b)
        images["rec_A"] = quantised(model.translate(from_b, target="a"), a)
        images |= {"fake_A": fake_a, "rec_B": quantised(model.translate(from_a), b)}
    return images


def quantised(images: Tensor, domains: Sequence[Domain]) -> Tensor:
    """Round images (N, C, H, W) in [-1, 1] to the values that files of these domains can store."""
    parts = images.float().clamp(-1, 1).split([domain.channels for domain in domains], dim=1)
    return torch.cat([_rounded(part, domain) for part, domain in zip(parts, domains, strict=True)], dim=1)


def _rounded(images: Tensor, domain: Domain) -> Tensor:
    if domain.kind not in FULL_RANGE:
        return images
    half = (domain.high - domain.low) / 2
    return ((images + 1) * half).round() / half - 1


class MetricAccumulator:
    """Accumulates the metrics `names` of `suite` over batches.

    `real` caches features of real images by label: labels in it are not computed again, others are added.
    """

    def __init__(self, suite: MetricSuite, names: Sequence[str], spec: DataSpec, real: dict[str, Features]) -> None:
        self.suite, self.names, self.spec, self.real = suite, names, spec, real
        self._known = set(real)
        self._values: dict[str, list[Tensor]] = {}
        self._confusions: list[Tensor] = []
        self._features: dict[str, list[Features]] = {}

    def add(self, images: Images) -> tuple[Images, list[dict[str, float]]]:
        """Add a batch; return the rendered images, uint8, and the metrics of each image."""
        shown = {label: to_uint8(batch) for label, batch in displayed(images, *self.spec.domains).items()}
        self._add_features(shown)
        values, cycles = self._paired(images, shown), self._cycles(images)
        for name, numbers in (values | cycles).items():
            self._values.setdefault(name, []).append(numbers.double())
        for name in self._of_kind("cycle"):  # without b, whose images have nothing to do with those of a
            values[name] = cycles[f"{name}_A"]
        rows = [{name: numbers[row].item() for name, numbers in values.items()} for row in range(len(shown["fake_B"]))]
        if labels := self._of_kind("labels"):
            confusions = self._confusion(images, shown)
            self._confusions.append(confusions)
            rows = [row | label_values(labels, counts) for row, counts in zip(rows, confusions, strict=True)]
        return shown, rows

    def figures(self) -> dict[str, float]:
        """Return the metrics of all batches; in two directions the mean, and each with `_A` or `_B`."""
        figures = {name: torch.cat(values).mean().item() for name, values in self._values.items()}
        if self._confusions:
            figures |= label_values(self._of_kind("labels"), torch.cat(self._confusions))
        fakes = {label[-1]: Features.join(parts) for label, parts in self._features.items() if label.startswith("fake")}
        self.real |= {
            label: Features.join(parts) for label, parts in self._features.items() if label.startswith("real")
        }
        for way, features in fakes.items():
            names = [name for name in self._of_kind("features") if len(features.features) >= METRICS[name].min_images]
            values = feature_values(names, features, self.real[f"real_{way}"])
            figures |= {f"{name}_{way}" if len(fakes) > 1 else name: value for name, value in values.items()}
        for name in self.names:
            if f"{name}_A" in figures:
                figures[name] = (figures[f"{name}_A"] + figures[f"{name}_B"]) / 2
        return {name: figures[name] for name in self.names if name in figures} | figures

    def _of_kind(self, kind: str) -> list[str]:
        return [name for name in self.names if METRICS[name].kind == kind]

    def _paired(self, images: Images, shown: Images) -> dict[str, Tensor]:
        """Compute on raw output channels; metrics with `uses_rgb`, and all of chroma, use the rendered RGB images."""
        if not (names := self._of_kind("paired")):
            return {}
        rgb = {label: normalise(shown[label][:, :3]) for label in ("fake_B", "real_B")}
        raw = rgb if self.spec.domains[1][0].kind == "chroma" else images
        values = paired_values([n for n in names if not METRICS[n].uses_rgb], raw["fake_B"], raw["real_B"])
        rgb_names = [name for name in names if METRICS[name].uses_rgb]
        return values | paired_values(rgb_names, rgb["fake_B"], rgb["real_B"], self.suite.lpips)

    def _cycles(self, images: Images) -> dict[str, Tensor]:
        names = self._of_kind("cycle")
        found: dict[str, Tensor] = {}
        for way in "AB" if names else "":
            values = paired_values(names, images[f"rec_{way}"], images[f"real_{way}"])
            found |= {f"{name}_{way}": value for name, value in values.items()}
        return found

    def _add_features(self, shown: Images) -> None:
        if self.suite.extractor is None or not self._of_kind("features"):
            return
        ways = [label[-1] for label in shown if label.startswith("fake")]
        for label in (f"{end}_{way}" for way in ways for end in ("fake", "real")):
            if label not in self._known:
                self._features.setdefault(label, []).append(self.suite.extractor(shown[label]))

    def _confusion(self, images: Images, shown: Images) -> Tensor:
        """Count pixels by true and predicted class, of generated maps or of those predicted from generated photos."""
        a, b = self.spec.domains
        if b[0].is_labels:
            return label_confusion(images["fake_B"].argmax(dim=1).cpu(), _classes(images["real_B"]), b[0].channels)
        parts = images["real_A"].split([domain.channels for domain in a], dim=1)
        truth = next(part for part, domain in zip(parts, a, strict=True) if domain.is_labels)
        segmentation = self.suite.segmentation
        assert segmentation is not None  # choose_metrics has checked it
        photos = normalise(shown["fake_B"][:, :3]).expand(-1, 3, -1, -1)
        return label_confusion(segmentation(photos), _classes(truth), segmentation.num_classes)


def _classes(maps: Tensor) -> Tensor:
    return class_maps(maps).long().cpu()
