"""What a model makes of images that it is validated on, as files would hold it, and the figures of that."""

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
from i2i.metrics.distribution import LEAST, feature_values
from i2i.metrics.extractor import Features
from i2i.metrics.judging import Judge
from i2i.metrics.paired import paired_values
from i2i.metrics.segmentation import label_confusion, label_values
from i2i.models.base import GanModel

Pictures = dict[str, Tensor]


def translations(model: GanModel, batch: Batch, first: int, both_ways: bool) -> Pictures:
    """The images of `batch` and what `model` makes of them, (N, C, H, W) in [-1, 1], by the labels of files.

    Images are rounded as in files, also between the way there and back, where small differences could hide what the
    other way needs (Chu et al. 2017, arXiv 1712.02950). Images of classes are of the seeds `first`, `first` + 1 ...
    """
    a, b = model.spec.domains
    if batch.a is None:
        return {"fake_B": as_in_files(model.translate(batch, seed=first), b), "real_B": batch.image("b")}
    fake_b = as_in_files(model.translate(batch), b)
    pictures = {"real_A": batch.a, "fake_B": fake_b, "real_B": batch.image("b")}
    if both_ways:
        fake_a = as_in_files(model.translate(batch, target="a"), a)
        from_b = dataclasses.replace(batch, b=fake_b, paths_b=batch.paths_a)
        from_a = dataclasses.replace(batch, a=fake_a, paths_a=batch.paths_b)
        pictures["rec_A"] = as_in_files(model.translate(from_b, target="a"), a)
        pictures |= {"fake_A": fake_a, "rec_B": as_in_files(model.translate(from_a), b)}
    return pictures


def as_in_files(images: Tensor, domains: Sequence[Domain]) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] with the values that come back from files of these domains."""
    parts = images.float().clamp(-1, 1).split([domain.channels for domain in domains], dim=1)
    return torch.cat([_rounded(part, domain) for part, domain in zip(parts, domains, strict=True)], dim=1)


def _rounded(images: Tensor, domain: Domain) -> Tensor:
    if domain.kind not in FULL_RANGE:
        return images
    half = (domain.high - domain.low) / 2
    return ((images + 1) * half).round() / half - 1


class Tally:
    """Figures of the metrics `names` by `judge`, of pictures that come batch by batch.

    `real` holds features of real images by label: those that it has are not taken again, and others are added.
    """

    def __init__(self, judge: Judge, names: Sequence[str], spec: DataSpec, real: dict[str, Features]) -> None:
        self.judge, self.names, self.spec, self.real = judge, names, spec, real
        self._known = set(real)
        self._values: dict[str, list[Tensor]] = {}
        self._confusions: list[Tensor] = []
        self._features: dict[str, list[Features]] = {}

    def add(self, pictures: Pictures) -> tuple[Pictures, list[dict[str, float]]]:
        """Take in a batch; gives the pictures as they are shown, uint8, and the figures of each image by itself."""
        shown = {label: to_uint8(images) for label, images in displayed(pictures, *self.spec.domains).items()}
        self._add_features(shown)
        values, cycles = self._paired(pictures, shown), self._cycles(pictures)
        for name, numbers in (values | cycles).items():
            self._values.setdefault(name, []).append(numbers.double())
        if cycles:  # that of b is of another image, which only happens to be in the same batch
            values["cycle"] = cycles["cycle_A"]
        rows = [{name: numbers[row].item() for name, numbers in values.items()} for row in range(len(shown["fake_B"]))]
        if self._of_kind("labels"):
            confusions = self._count(pictures, shown)
            self._confusions.append(confusions)
            rows = [row | self._label_values(counts) for row, counts in zip(rows, confusions, strict=True)]
        return shown, rows

    def figures(self) -> dict[str, float]:
        """The figures of all pictures so far; of both ways, if there are two, the mean and each with `_A` or `_B`."""
        figures = {name: torch.cat(values).mean().item() for name, values in self._values.items()}
        if self._confusions:
            figures |= self._label_values(torch.cat(self._confusions))
        fakes = {label[-1]: _joined(parts) for label, parts in self._features.items() if label.startswith("fake")}
        self.real |= {label: _joined(parts) for label, parts in self._features.items() if label.startswith("real")}
        for way, features in fakes.items():
            names = [name for name in self._of_kind("features") if len(features.features) >= LEAST[name]]
            values = feature_values(names, features, self.real[f"real_{way}"])
            figures |= {f"{name}_{way}" if len(fakes) > 1 else name: value for name, value in values.items()}
        for name in self.names:
            if f"{name}_A" in figures:
                figures[name] = (figures[f"{name}_A"] + figures[f"{name}_B"]) / 2
        return {name: figures[name] for name in self.names if name in figures} | figures

    def _of_kind(self, kind: str) -> list[str]:
        return [name for name in self.names if METRICS[name].kind == kind]

    def _paired(self, pictures: Pictures, shown: Pictures) -> dict[str, Tensor]:
        """Of the channels of b; lpips, and what is colour only together with the input, of what is shown."""
        colours = {label: normalise(shown[label][:, :3]) for label in ("fake_B", "real_B")}
        compared = colours if self.spec.domains[1][0].kind == "chroma" else pictures
        plain = [name for name in self._of_kind("paired") if name != "lpips"]
        values = paired_values(plain, compared["fake_B"], compared["real_B"])
        if "lpips" in self.names:
            values |= paired_values(["lpips"], colours["fake_B"], colours["real_B"], self.judge.lpips)
        return values

    def _cycles(self, pictures: Pictures) -> dict[str, Tensor]:
        ways = "AB" if "cycle" in self.names else ""
        return {f"cycle_{way}": _l1(pictures[f"rec_{way}"], pictures[f"real_{way}"]) for way in ways}

    def _add_features(self, shown: Pictures) -> None:
        if self.judge.extractor is None or not self._of_kind("features"):
            return
        ways = [label[-1] for label in shown if label.startswith("fake")]
        for label in (f"{end}_{way}" for way in ways for end in ("fake", "real")):
            if label not in self._known:
                self._features.setdefault(label, []).append(self.judge.extractor(shown[label]))

    def _count(self, pictures: Pictures, shown: Pictures) -> Tensor:
        """Pixels of each image by true and by found class: of a map, or of what a network reads off a photo."""
        a, b = self.spec.domains
        if b[0].is_labels:
            return label_confusion(pictures["fake_B"].argmax(dim=1).cpu(), _classes(pictures["real_B"]), b[0].channels)
        parts = pictures["real_A"].split([domain.channels for domain in a], dim=1)
        truth = next(part for part, domain in zip(parts, a, strict=True) if domain.is_labels)
        segmentation = self.judge.segmentation
        assert segmentation is not None  # where metrics of labels are asked for, and the output is a photo
        photos = normalise(shown["fake_B"][:, :3]).expand(-1, 3, -1, -1)
        return label_confusion(segmentation(photos), _classes(truth), segmentation.num_classes)

    def _label_values(self, confusion: Tensor) -> dict[str, float]:
        return {name: value for name, value in label_values(confusion).items() if name in self.names}


def _l1(restored: Tensor, images: Tensor) -> Tensor:
    return paired_values(["l1"], restored, images)["l1"]


def _classes(maps: Tensor) -> Tensor:
    return class_maps(maps).long().cpu()


def _joined(parts: Sequence[Features]) -> Features:
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    features = torch.cat([part.features for part in parts])
    return Features(features, torch.cat(probabilities) if probabilities else None)
