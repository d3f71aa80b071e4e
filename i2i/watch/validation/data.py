"""The images to validate on, which are not trained on, and the fixed sample of them that every validation uses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from i2i.data import Batch, DataConfig, DataSpec, ImageDataset, ImageError, Key, Sample, build_dataset, collate
from i2i.data.batch import normalise
from i2i.data.folder import common_stem
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.listing import shown_files
from i2i.data.split import split, spread
from i2i.errors import UserError
from i2i.watch.validation.config import ValidationConfig

log = logging.getLogger(__name__)

PHASE = "val"
BATCH_SIZE, BATCH_PIXELS = 8, 2**21  # maximum number of images of a batch, and of their pixels
CACHE_BYTES = 2**28  # samples stay in memory if all of them fit into this


def validation_data(
    config: ValidationConfig, data: DataConfig, seed: int = 0
) -> tuple[ImageDataset, ImageDataset | None]:
    """Return the data sets for training and, without augmentation, for validation, or None for no validation.

    The images to validate on are another phase of the data or, with `val_fraction`, a part of the training images,
    which are then no longer trained on.

    Raises:
        UserError: if there are no data, `val_phase` has no images of its own, or one of the two sets would be empty.
    """
    dataset = build_dataset(data, seed)
    if config.val_fraction:
        training, held_out = split(dataset, config.val_fraction, seed)
        return training, held_out.read_by(held_out.config.for_validation(held_out.config.phase))
    if config.val_freq == 0:
        return dataset, None
    if config.val_phase is not None:
        return dataset, _phase(dataset, config.val_phase)
    try:
        held_out = _phase(dataset, PHASE)
        if getattr(held_out, "images", None) is not None:
            raise UserError("MNIST files have phases train and test only; val reads those of test")
    except UserError as error:
        log.info("there is no phase val, so no validation and no best.pt; --val_fraction 0.1 holds out 10 % for it")
        log.debug("%s", error)
        return dataset, None
    return dataset, held_out


def _phase(training: ImageDataset, phase: str) -> ImageDataset:
    """Return the images of `phase`. Raises UserError if there are none, or they are those of `training`."""
    found = build_dataset(training.config.for_validation(phase), training.seed)
    for name, files in found.columns.files.items():
        # A layout without phases gives the same images for each of them.
        if set(files) <= set(training.columns.files.get(name, ())):
            raise UserError(f"--val_phase {phase}: these images are trained on")
    if found.classes != training.classes:
        raise UserError(
            f"--val_phase {phase}: the classes are {', '.join(found.classes)}, but {', '.join(training.classes)} in "
            "the training data"
        )
    return found


class NamedBatch(NamedTuple):
    """A batch on the device, the names of its images, and the index of the first one."""

    first: int
    names: list[str]
    batch: Batch


class ValidationSamples:
    """At most `size` evenly spaced samples of `dataset`; without pairs, each image is in at most one sample.

    Files that cannot be used are left out, with one warning.
    """

    def __init__(self, dataset: ImageDataset, size: int) -> None:
        self.source, self.dataset = dataset, spread(dataset, size)
        self.names = common_stem(self.dataset.files, dataset.root)
        self._cache: dict[int, Sample] | None = None

    def __len__(self) -> int:
        return min(map(len, self.dataset.columns.files.values()))

    def batches(self, device: torch.device | str) -> Iterator[NamedBatch]:
        """Yield all samples in order, in batches of images of one size."""
        first, waiting = 0, dict[int, Sample]()
        for item, sample in self._samples():
            most = min(BATCH_SIZE, BATCH_PIXELS // sample.shapes[0][-2:].numel())
            if waiting and (len(waiting) >= most or sample.shapes != next(iter(waiting.values())).shapes):
                yield self._batch(first, waiting, device)
                first, waiting = first + len(waiting), {}
            waiting[item] = sample
        if waiting:
            yield self._batch(first, waiting, device)

    def _batch(self, first: int, samples: dict[int, Sample], device: torch.device | str) -> NamedBatch:
        batch = collate(list(samples.values()))
        assert isinstance(batch, Batch)  # all samples have the same size
        return NamedBatch(first, [self.names[item] for item in samples], batch.to(device))

    def _samples(self) -> Iterator[tuple[int, Sample]]:
        if self._cache is not None:
            yield from self._cache.items()
            return
        read: dict[int, Sample] = {}
        size, unusable = 0, []
        for item in range(len(self)):
            sample = self.dataset[Key(0, item)]
            if isinstance(sample, ImageError):
                unusable.append(str(sample))
                continue
            size += sum(image.nbytes for image in (sample.a, sample.b) if image is not None)
            if size <= CACHE_BYTES:
                read[item] = sample
            yield item, sample
        if unusable:
            count = f"{len(unusable)} of {len(self)}"
            log.warning("%s images to validate on are left out: %s", count, shown_files(unusable, 3))
        if size <= CACHE_BYTES:
            self._cache = read


def thumbnails(images: Tensor) -> Tensor:
    """Downsample uint8 images (N, 1, 3 or 4, H, W) to (N, 3, 32, 32) in [-1, 1] on the CPU, by area, without alpha."""
    colours = normalise(images[:, :3]).expand(-1, 3, -1, -1)
    return torch.nn.functional.adaptive_avg_pool2d(colours, 32).cpu()


def target_thumbnails(dataset: ImageDataset, spec: DataSpec, size: int) -> Tensor:
    """Return `thumbnails` of at most `size` evenly spaced images of domain b, without files that cannot be used."""
    few = spread(dataset, size)
    (domain,) = few.domains[1]
    found = [torch.empty(0, 3, 32, 32)]
    for item, path in enumerate(few.outputs):
        try:
            image = normalise(few.image(path, domain, Key(0, item), "B").tensor[None])
        except ImageError:
            continue
        found.append(thumbnails(to_uint8(displayed({"real_B": image}, *spec.domains)["real_B"])))
    return torch.cat(found)
