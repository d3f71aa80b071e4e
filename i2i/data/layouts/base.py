"""The base class of the layouts: it lists files, finds out what they hold, and loads seeded samples."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from i2i.data.augment.cpu import UserPipeline
from i2i.data.batch import DataSpec, ImageError, Key, OptionError, Sample
from i2i.data.cache import build_cache
from i2i.data.derive import Derivation, derivation
from i2i.data.domain import FULL_RANGE, VOID, Domain, held_by
from i2i.data.folder import describe, described_by_extension, list_images
from i2i.data.images import Info, Reader
from i2i.data.listing import FileTable, is_manifest, read_manifest, shown_files
from i2i.data.options import ImageOptions
from i2i.data.pipeline import Pipeline
from i2i.data.shards import is_shards, read_shards
from i2i.data.transforms import Preprocess
from i2i.errors import UserError

log = logging.getLogger(__name__)

Images = dict[str, list[np.ndarray]]  # by the name of a tensor, the images (H, W, ...) that make up its channels


class PreparedImage(NamedTuple):
    """An image (C, H, W), the changes that are left to the device (see `Sample`), and the pixel type of its file."""

    tensor: Tensor
    changes: dict[str, np.ndarray]
    kind: str


class ImageDataset(torch.utils.data.Dataset):
    """A data set whose items are chosen by `Key`.

    A layout implements `scan`, which lists the files, and `load`, which makes a sample of them. In most layouts the
    files of a row belong together, and `load_together` does all the work of `load`.

    Attributes:
        classes, labels: the names of the classes, and the class index of every sample; empty and None without classes.
        is_paired: whether a row of `columns` is one sample.
        colored: the tensors whose colours `--augment_color auto` changes: "none", "in" (a), "out" (b) or "both".
        input_names, output_name: the columns that hold the images of a and of b.
        extra_domains: what the further columns that are loaded as `Sample.extras` hold, by their name.
        inputs, outputs: the files of a (a list for each condition) and of b.
        files: the files that name the samples.
        root: the folder to which the names of results are relative.
        passed_over: files that no reader takes, and folders that cannot be opened.
    """

    classes: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    is_paired = True
    colored = "both"
    input_names: tuple[str, ...] = ()
    output_name: str | None = None
    extra_domains: Mapping[str, Domain] = {}
    root: Path

    def __init__(self, config: ImageOptions, seed: int = 0, needs_b: bool = True) -> None:
        """List the files; without `needs_b`, images of b may be missing, as when inputs are translated."""
        self.config, self.seed, self.needs_b = config, seed, needs_b
        self.root = Path(config.dataroot)
        self.passed_over: list[str] = []
        self._set_files(self.scan())
        if self.passed_over:
            log.warning("not read: %s", "; ".join(described_by_extension(self.passed_over)))
        if unmatched := self.columns.unmatched:
            log.warning("%d files have no partner and are left out: %s", len(unmatched), shown_files(unmatched))
        self.pipeline = self._pipeline()

    def scan(self) -> FileTable:
        """List the files, and set `input_names` and `output_name` where they differ from the class's.

        Raises:
            UserError: if there are no files; says what is there instead.
        """
        raise NotImplementedError

    def load(self, key: Key) -> Sample:
        """Read and prepare one sample. Raises ImageError for a file that cannot be used."""
        raise NotImplementedError

    def subset(self, rows: Mapping[str, Sequence[int]]) -> Self:
        """Return a data set of the given rows of every column, in ascending order."""
        _ = self.domains  # found in the first file of the whole data set
        part = copy.copy(self)
        part._set_files(self.columns.take(rows))
        return part

    def read_by(self, config: ImageOptions) -> Self:
        """Return a data set of the same files that reads them with other options."""
        other = copy.copy(self)
        other.config = config
        other.pipeline = other._pipeline()
        return other

    def _set_files(self, columns: FileTable) -> None:
        self.columns = columns
        files: dict[str, list[str]] = columns.files  # type: ignore[assignment]
        self.inputs = [files[name] for name in self.input_names]
        self.outputs = [] if self.output_name is None else files[self.output_name]
        self.files = self.inputs[0] if self.inputs else self.outputs

    def _pipeline(self) -> Pipeline:
        config, jitter = self.config, self.config.augment_preset != "none"
        colored = self.colored if config.derive == "none" else "none"
        load_size, crop_size = config.sizes
        roots = [
            os.path.abspath(folder) for folder in (config.dataroot, config.dataroot_A, config.dataroot_B) if folder
        ]
        return Pipeline(
            reader=Reader(config.alpha, config.pages, config.max_pixels),
            preprocess=Preprocess(config.preprocess, load_size, crop_size, config.flip and jitter, jitter),
            seed=self.seed,
            preset=config.augment_preset,
            colored=colored if config.augment_color == "auto" else config.augment_color,
            on_device=config.augment == "gpu",
            user=UserPipeline(config.augment_file) if config.augment_file is not None else None,
            cache=build_cache(
                config.cache,
                data=(roots, config.preprocess, load_size, crop_size),
                images=len(self._all_files()),
                limit_gib=config.cache_limit,
                folder=config.cache_dir,
            ),
        )

    def _all_files(self) -> set[str]:
        return {path for files in (*self.inputs, self.outputs) for path in files}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Key) -> Sample | ImageError:
        """Return the sample, or its error: raised in a worker process, it would reach the user as a traceback."""
        try:
            return self.load(key)
        except OptionError as error:
            return error
        except ImageError as error:
            way_out = "; --on_bad_image skip leaves such files out" if self.config.on_bad_image == "error" else ""
            return ImageError(f"{error}{way_out}")

    @property
    def spec(self) -> DataSpec:
        """Return the properties of the data that a model needs.

        Raises:
            UserError: if files hold floats and no option gives their range.
        """
        a, b = self.domains
        in_channels, out_channels = (sum(domain.channels for domain in domains) for domains in (a, b))
        return DataSpec(in_channels, out_channels, self.config.sizes[1], self.classes, a, b)

    @cached_property
    def derivation(self) -> Derivation | None:
        """Return how `--derive` makes pairs of single images; None without it."""
        config = self.config
        if config.derive == "none":
            return None
        return derivation(config.derive, config.derive_scale, self._domain("out", config.out_channels, 0, self.files))

    def derivation_of(self, pixels: np.ndarray, path: str) -> Derivation:
        """Return `derivation` for the pixels of one file, whose depth may differ from the first file's."""
        assert self.derivation is not None
        try:
            return dataclasses.replace(self.derivation, image=held_by(pixels, self.derivation.image, path))
        except UserError as error:
            raise ImageError(str(error)) from None

    @cached_property
    def domains(self) -> tuple[tuple[Domain, ...], tuple[Domain, ...]]:
        """Return what the images of a (one for each condition) and of b hold."""
        config = self.config
        if self.derivation is not None:
            a, b = self.derivation.domains()
            return (a,), (b,)
        files = self.inputs or [[]] * len(config.inputs)
        inputs = [self._domain("in", *held, paths) for held, paths in zip(config.inputs, files, strict=True)]
        return tuple(inputs), (self._domain("out", config.out_channels, config.out_classes, self.outputs),)

    @cached_property
    def tensor_domains(self) -> dict[str, tuple[Domain, ...]]:
        """Return what the images of every image tensor hold, by the name of the tensor."""
        a, b = self.domains
        return {"a": a, "b": b} | {name: (domain,) for name, domain in self.extra_domains.items()}

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
        # A file with fewer channels gets an opaque alpha channel as its last one.
        alpha = channels in (2, 4) and info is not None and (info.alpha or info.channels != channels)
        if info is not None and info.nodata is not None:
            log.info("pixels that files mark as nodata (%g) count as %g, the low end of the range", info.nodata, low)
        return Domain(channels, kind, low, high, alpha)

    def _last_class(self, end: str, classes: int, paths: list[str]) -> int:
        """Return the value of the last class in files: 255 if there are two classes and files hold 0 and 255 only."""
        if classes != 2 or not self.pipeline.reader.are_masks(paths):
            return classes - 1
        log.info("label maps hold 0 and %d: %d is read as class 1 of --%s_classes 2", VOID, VOID, end)
        return VOID

    def _info(self, path: str) -> Info | None:
        try:
            return self.pipeline.reader.info(path)
        except ImageError:
            return None  # reported when the file is loaded

    def load_together(self, key: Key) -> Sample:
        """Load the files of a, b and `extra_domains` of one row, which share one crop, mirroring and geometry."""
        images = self.read_images(key)
        flat = [image for group in images.values() for image in group]
        domains = [domain for name in images for domain in self.tensor_domains[name]]
        cuts = iter(self.pipeline.crop(flat, domains, self.files[key.item], key, "A"))
        return self.sample({name: [next(cuts) for _ in group] for name, group in images.items()}, key)

    def read_images(self, key: Key) -> Images:
        """Return the resized images of one row, by the name of their tensor."""
        domains, item = self.tensor_domains, key.item
        files = {"a": [paths[item] for paths in self.inputs], "b": [self.outputs[item]] if self.outputs else []}
        files |= {name: [str(self.columns.files[name][item])] for name in self.extra_domains}
        return {
            name: [self.read(path, domain, key) for path, domain in zip(paths, domains[name], strict=True)]
            for name, paths in files.items()
            if paths
        }

    def sample(self, images: Images, key: Key) -> Sample:
        """Augment cropped images with one geometry and convert them to tensors."""
        item = key.item
        paths = {"a": self.files[item], "b": self.outputs[item] if self.outputs else ""}
        paths |= {name: str(self.columns.files[name][item]) for name in self.extra_domains}
        tensors, changes = self.pipeline.tensors(images, self.tensor_domains, paths, key, "A")
        return Sample(
            a=tensors.pop("a", None),
            b=tensors.pop("b", None),
            extras=tensors,
            path_a=paths["a"],
            path_b=paths["b"] or None,
            changes=changes,
            kind=next(iter(images.values()))[0].dtype.name,
        )

    def image(self, path: str, domain: Domain, key: Key, name: str) -> PreparedImage:
        """Load one image with a crop and an augmentation of its own; `name` is its domain, "A" or "B"."""
        pipeline, tensor = self.pipeline, name.lower()
        (image,) = pipeline.crop([self.read(path, domain, key)], [domain], path, key, name)
        if self.derivation is not None:
            image = self.derivation_of(image, path).input(image)
        tensors, changes = pipeline.tensors({tensor: [image]}, {tensor: [domain]}, {tensor: path}, key, name)
        return PreparedImage(tensors[tensor], changes, image.dtype.name)

    def read(self, path: str, domain: Domain, key: Key) -> np.ndarray:
        """Return the resized pixels (H, W, C), or class indices (H, W), of a file."""
        if domain.is_labels:
            return self.pipeline.read_labels(path, domain.is_mask)
        channels = domain.channels if self.derivation is None else self.derivation.input_channels
        return self.pipeline.read(path, channels, domain.low)

    def table(self) -> FileTable | None:
        """Return the rows of the manifest or of the shards that `--dataroot` names; None for a folder."""
        if is_manifest(self.config.dataroot):
            return read_manifest(self.root, self.config.phase)
        return read_shards(self.config.dataroot) if is_shards(self.config.dataroot) else None

    def images_in(self, folder: Path) -> list[str | None]:
        """Return at most `--max_dataset_size` images below `folder`. Raises UserError if there are none."""
        config = self.config
        found = list_images(folder, config.max_dataset_size, self.passed_over)
        if not found:
            there = describe(folder, self.root, config.phase, config.dataset_mode)
            raise UserError(f"--dataset_mode {config.dataset_mode}: no images in {folder} ({there})")
        return list(found)
