"""What every data layout shares: its files, what they hold, seeded samples, and the answer to a bad file."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from i2i.data.batch import DataSpec, ImageError, Key, OptionError, Sample
from i2i.data.derive import Derivation, derivation
from i2i.data.domain import FULL_RANGE, VOID, Domain, held_by
from i2i.data.folder import describe, described_by_extension, list_images
from i2i.data.images import Info
from i2i.data.listing import Columns, is_manifest, read_manifest, shown_files
from i2i.data.options import ImageOptions
from i2i.data.pipeline import Pipeline
from i2i.data.shards import columns as shard_columns
from i2i.data.shards import is_shards
from i2i.errors import UserError

log = logging.getLogger(__name__)


class View(NamedTuple):
    """An image (C, H, W) as a sample has it, what is left to the device to do to it, and the kind of its file."""

    tensor: Tensor
    changes: Tensor | None
    kind: str


class ImageDataset(torch.utils.data.Dataset):
    """A data set asked by `Key`; a layout lists its files in `scan` and puts a sample together in `load`.

    Without `needs_b` the images of b may be missing, as they are where a translation is wanted. `inputs` are the files
    of a, a list for each condition; `outputs` those of b; `files` those that name the samples.
    """

    classes: tuple[str, ...] = ()
    labels: np.ndarray | None = None  # the class of every sample, where there are classes
    is_paired = True  # whether a row of the columns is a sample
    colored = "both"  # whose colours `--augment_color auto` changes
    input_names: tuple[str, ...] = ()
    output_name: str | None = None
    root: Path  # what the names of results are relative to

    def __init__(self, config: ImageOptions, seed: int = 0, needs_b: bool = True) -> None:
        self.config, self.seed, self.needs_b = config, seed, needs_b
        self.root = Path(config.dataroot)
        self.passed_over: list[str] = []  # files that no reader takes, and folders that cannot be opened
        self._take(self.scan())
        if self.passed_over:
            log.warning("not read: %s", "; ".join(described_by_extension(self.passed_over)))
        if unmatched := self.columns.unmatched:
            log.warning("%d files have no partner and are left out: %s", len(unmatched), shown_files(unmatched))
        self.pipeline = self._pipeline()

    def scan(self) -> Columns:
        """List the files, and say in `input_names` and `output_name` which columns are the images of a and of b.

        Raises:
            ValueError: if there are none; says what is there instead.
        """
        raise NotImplementedError

    def load(self, key: Key) -> Sample:
        """Read and prepare one sample. Raises ImageError for a file that cannot be used."""
        raise NotImplementedError

    def subset(self, rows: Mapping[str, Sequence[int]]) -> Self:
        """A data set of some of the files: of every column the given rows, ascending, and of pairs the same of each."""
        _ = self.domains  # those of the first file of all
        part = copy.copy(self)
        part._take(self.columns.take(rows))
        return part

    def read_by(self, config: ImageOptions) -> Self:
        """A data set of the same files, which are read as `config` says."""
        other = copy.copy(self)
        other.config = config
        other.pipeline = other._pipeline()
        return other

    def _take(self, columns: Columns) -> None:
        self.columns = columns
        files: dict[str, list[str]] = columns.files  # type: ignore[assignment]
        self.inputs = [files[name] for name in self.input_names]
        self.outputs = [] if self.output_name is None else files[self.output_name]
        self.files = self.inputs[0] if self.inputs else self.outputs

    def _pipeline(self) -> Pipeline:
        colored = self.colored if self.config.derive == "none" else "none"
        return Pipeline(self.config, self.seed, colored, self._all_files())

    def _all_files(self) -> list[str]:
        return list(dict.fromkeys(path for files in (*self.inputs, self.outputs) for path in files))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Key) -> Sample | ImageError:
        """`load`, with the error returned: raised in a worker process it would arrive as a traceback."""
        try:
            return self.load(key)
        except OptionError as error:
            return error
        except ImageError as error:
            way_out = "; --on_bad_image skip leaves such files out" if self.config.on_bad_image == "error" else ""
            return ImageError(f"{error}{way_out}")

    @property
    def spec(self) -> DataSpec:
        """What the model is told about this data.

        Raises:
            ValueError: if files hold floats, and no option says of which range.
        """
        a, b = self.domains
        in_channels, out_channels = (sum(domain.channels for domain in domains) for domains in (a, b))
        width, height = self.config.crop_size
        return DataSpec(in_channels, out_channels, (width, height), self.classes, a, b)

    @cached_property
    def derivation(self) -> Derivation | None:
        """How pairs are made of single images, if `--derive` says so."""
        config = self.config
        if config.derive == "none":
            return None
        return derivation(config.derive, config.derive_scale, self._domain("out", config.out_channels, 0, self.files))

    def derivation_of(self, pixels: np.ndarray, path: str) -> Derivation:
        """`derivation` for pixels of a file, which may have another depth than the first."""
        assert self.derivation is not None
        try:
            return dataclasses.replace(self.derivation, image=held_by(pixels, self.derivation.image, path))
        except UserError as error:
            raise ImageError(str(error)) from None

    @cached_property
    def domains(self) -> tuple[tuple[Domain, ...], tuple[Domain, ...]]:
        """What the images of a, one for each condition, and those of b hold."""
        config = self.config
        if self.derivation is not None:
            a, b = self.derivation.domains()
            return (a,), (b,)
        files = self.inputs or [[]] * len(config.inputs)
        inputs = [self._domain("in", *held, paths) for held, paths in zip(config.inputs, files, strict=True)]
        return tuple(inputs), (self._domain("out", config.out_channels, config.out_classes, self.outputs),)

    def _domain(self, end: str, channels: int, classes: int, paths: list[str]) -> Domain:
        if classes:
            return Domain(classes, "labels", 0, self._last_class(end, classes, paths))
        given = self.config.in_range if end == "in" else self.config.out_range
        info = self._info(paths[0]) if paths else None
        kind = info.kind if info is not None else "uint8"
        if given is None and kind not in FULL_RANGE:
            raise UserError(
                f"{paths[0]} holds {kind}: give --{end}_range LOW HIGH, the values that become black and white "
                f"(python -m i2i.check {self.config.dataroot} shows those of the files)"
            )
        low, high = given or FULL_RANGE[kind]
        # Of a file with fewer channels the last one is added, and opaque.
        alpha = channels in (2, 4) and info is not None and (info.alpha or info.channels != channels)
        if info is not None and info.nodata is not None:
            log.info("pixels that files mark as nodata (%g) count as %g, the low end of the range", info.nodata, low)
        return Domain(channels, kind, low, high, alpha)

    def _last_class(self, end: str, classes: int, paths: list[str]) -> int:
        """The number that the last class has in files: of two classes 255 where a few maps hold 0 and 255 alone."""
        if classes != 2 or not self.pipeline.reader.are_masks(paths):
            return classes - 1
        log.info("label maps hold 0 and %d: %d is read as class 1 of --%s_classes 2", VOID, VOID, end)
        return VOID

    def _info(self, path: str) -> Info | None:
        try:
            return self.pipeline.reader.info(path)
        except ImageError:
            return None  # what is wrong with the file is said when it is loaded

    def image(self, path: str, domain: Domain, key: Key, name: str) -> View:
        """An image by itself, with a crop and changes of its own; `name` is its domain, A or B."""
        pipeline = self.pipeline
        (image,) = pipeline.cut([self.read(path, domain, key)], [domain], path, key, name)
        if self.derivation is not None:
            image = self.derivation_of(image, path).input(image)
        changes = pipeline.changes(key, name, name)
        return View(pipeline.tensor([image], [domain], changes, path), pipeline.for_device(changes), image.dtype.name)

    def read(self, path: str, domain: Domain, key: Key) -> np.ndarray:
        """The resized pixels of a file."""
        if domain.is_labels:
            return self.pipeline.label_map(path, domain.is_mask)
        channels = domain.channels if self.derivation is None else self.derivation.input_channels
        return self.pipeline.picture(path, channels, domain.low)

    def table(self) -> Columns | None:
        """The rows of a manifest or of shards, if `--dataroot` is one of these."""
        if is_manifest(self.config.dataroot):
            return read_manifest(self.root, self.config.phase)
        return shard_columns(self.config.dataroot) if is_shards(self.config.dataroot) else None

    def images_in(self, folder: Path) -> list[str | None]:
        """At most `--max_dataset_size` images below `folder`. Raises ValueError if there are none."""
        config = self.config
        found = list_images(folder, config.max_dataset_size, self.passed_over)
        if not found:
            there = describe(folder, self.root, config.phase, config.dataset_mode)
            raise UserError(f"--dataset_mode {config.dataset_mode}: no images in {folder} ({there})")
        return list(found)
