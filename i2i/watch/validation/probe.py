"""A few images of a data set, the same ones every time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data import Batch, DataSpec, ImageDataset, ImageError, Key, Sample, collate
from i2i.data.batch import normalise
from i2i.data.folder import common_stem
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.listing import shown_files
from i2i.data.split import spread

log = logging.getLogger(__name__)

AT_ONCE, PIXELS_AT_ONCE = 8, 2**21  # images, and how many pixels they may have together
KEPT = 2**28  # bytes of images that stay in memory; of more all are read again every time


class Part(NamedTuple):
    """Some images of a probe: how many came before, their names, and a batch on the device."""

    first: int
    names: list[str]
    batch: Batch


class Probe:
    """At most `size` samples of `dataset`, at equal distances; an image of a set without pairs is in one of them only.

    Files that cannot be used are left out, with one warning.
    """

    def __init__(self, dataset: ImageDataset, size: int) -> None:
        self.source, self.dataset = dataset, spread(dataset, size)
        self.names = common_stem(self.dataset.files, dataset.root)
        self._kept: dict[int, Sample] | None = None

    def __len__(self) -> int:
        return min(map(len, self.dataset.columns.files.values()))

    def parts(self, device: torch.device | str) -> Iterator[Part]:
        """All samples in order, at most 8 of one size at once, fewer of large ones."""
        first, waiting = 0, dict[int, Sample]()
        for item, sample in self._samples():
            most = min(AT_ONCE, PIXELS_AT_ONCE // sample.shapes[0][-2:].numel())
            if waiting and (len(waiting) >= most or sample.shapes != next(iter(waiting.values())).shapes):
                yield self._part(first, waiting, device)
                first, waiting = first + len(waiting), {}
            waiting[item] = sample
        if waiting:
            yield self._part(first, waiting, device)

    def _part(self, first: int, samples: dict[int, Sample], device: torch.device | str) -> Part:
        batch = collate(list(samples.values()))
        assert isinstance(batch, Batch)  # they are all of one size
        return Part(first, [self.names[item] for item in samples], batch.to(device))

    def _samples(self) -> Iterator[tuple[int, Sample]]:
        if self._kept is not None:
            yield from self._kept.items()
            return
        read: dict[int, Sample] = {}
        size, unusable = 0, []
        for item in range(len(self)):
            sample = self.dataset[Key(0, item)]
            if isinstance(sample, ImageError):
                unusable.append(str(sample))
                continue
            size += sum(image.nbytes for image in (sample.a, sample.b) if image is not None)
            if size <= KEPT:
                read[item] = sample
            yield item, sample
        if unusable:
            count = f"{len(unusable)} of {len(self)}"
            log.warning("%s images to validate on are left out: %s", count, shown_files(unusable, 3))
        if size <= KEPT:
            self._kept = read


def thumbnails(images: Tensor) -> Tensor:
    """Pictures (N, 1, 3 or 4, H, W), uint8, at (N, 3, 32, 32) in [-1, 1] on the CPU: means over areas, no alpha."""
    colours = normalise(images[:, :3]).expand(-1, 3, -1, -1)
    return torch.nn.functional.adaptive_avg_pool2d(colours, 32).cpu()


def target_thumbnails(dataset: ImageDataset, spec: DataSpec, size: int) -> Tensor:
    """Those of at most `size` images of b at equal distances, as they are for `thumbnails`; unusable files left out."""
    few = spread(dataset, size)
    (domain,) = few.domains[1]
    found = []
    for item, path in enumerate(few.outputs):
        try:
            image = normalise(few.image(path, domain, Key(0, item), "B").tensor[None])
        except ImageError:
            continue
        found.append(thumbnails(to_uint8(displayed({"real_B": image}, *spec.domains)["real_B"])))
    return torch.cat(found) if found else torch.empty(0, 3, 32, 32)
