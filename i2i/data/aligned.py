"""Pairs of images: halves of one file, files of one name in several folders, rows of a table, or made on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from i2i.data.batch import Key, Sample
from i2i.data.dataset import ImageDataset
from i2i.data.folder import describe, has_images
from i2i.data.listing import Columns, common_folder, condition_folder, paired
from i2i.data.pipeline import Purpose

PAIR = "pair"  # the column of files that hold A and B side by side


class AlignedDataset(ImageDataset):
    """Images of a and b that belong together; both get one and the same crop, flip and geometry.

    A file of `<dataroot>/<phase>/` holds A in its left half and B in the right one, unless there are folders for A and
    B (see `condition_folder`, or `--dataroot_A` and `--dataroot_B`), where files of one name are a pair. With
    `--derive` it is one folder of single images.
    """

    colored = "in"

    def scan(self) -> Columns:
        config = self.config
        first, self.output_name = "AB" if config.direction == "AtoB" else "BA"
        self.input_names = config.conditions or (first,)
        table = self.table()
        if table is not None:
            self.root = common_folder(path for files in table.files.values() for path in files if path)
        if config.derive != "none":
            return self._single_images(table)
        if table is not None and table.column(PAIR) is not None and not config.conditions:
            self.input_names, self.output_name = (PAIR,), PAIR
            return table.complete([PAIR], config.dataroot, config.max_dataset_size)
        has_b = self._folder(self.output_name) if table is None else table.column(self.output_name)
        if not self.needs_b and has_b is None:
            self.output_name = None
        wanted = [name for name in (*self.input_names, self.output_name) if name is not None]
        if table is not None:
            return table.complete(wanted, config.dataroot, config.max_dataset_size)
        return self._folders(wanted)

    def _single_images(self, table: Columns | None) -> Columns:
        config, b = self.config, self.output_name
        assert b is not None
        self.input_names = ()
        if table is not None:
            name = next((name for name in (b, "image", PAIR) if table.column(name)), b)
            return Columns({b: table.complete([name], config.dataroot, config.max_dataset_size).files[name]})
        phase = self.root / config.phase
        places = (
            self._folder(b),
            phase if has_images(phase) else None,
            self.root if has_images(self.root, False) else None,
        )
        folder = next((place for place in places if place is not None), phase)
        files, self.root = self.images_in(folder), folder
        return Columns({b: files})

    def _folders(self, wanted: list[str]) -> Columns:
        config = self.config
        folders = {name: self._folder(name) for name in wanted}
        found = {name: folder for name, folder in folders.items() if folder is not None}
        if len(found) == len(wanted):
            self.root = found[wanted[0]]
            return paired(found, config.max_dataset_size)
        if config.conditions or config.dataroot_A or config.dataroot_B:
            missing = next(name for name in wanted if name not in found)
            there = describe(self.root / f"{config.phase}{missing}", self.root, config.phase, config.dataset_mode)
            raise ValueError(f"--dataset_mode aligned: no folder of {missing} ({there})")
        if any(classes for _, classes in config.inputs) or config.out_classes:
            raise ValueError("label maps lie in a folder of their own, not side by side with other images")
        files = self.images_in(self.root / config.phase)
        self.root, self.input_names, self.output_name = self.root / config.phase, (PAIR,), PAIR
        return Columns({PAIR: files})

    def _folder(self, name: str) -> Path | None:
        """The folder of the images called `name`, if there is one."""
        given = {"A": self.config.dataroot_A, "B": self.config.dataroot_B}.get(name)
        if given is None:
            return condition_folder(self.root, self.config.phase, name) if self.config.dataroot else None
        return phase if (phase := Path(given) / self.config.phase).is_dir() else Path(given)

    def load(self, key: Key) -> Sample:
        pipeline, (domains_a, domains_b) = self.pipeline, self.domains
        path, path_b = self.files[key.item], self.outputs[key.item] if self.outputs else None
        images = self._images(path, key)
        inputs, output = images[: len(domains_a)], images[len(domains_a) :]
        changes_a, changes_b = pipeline.changes(key, "A", "A"), pipeline.changes(key, "B", "A")
        return Sample(
            a=pipeline.tensor(inputs, domains_a, changes_a, path),
            b=pipeline.tensor(output, domains_b, changes_b, path_b) if path_b else None,
            path_a=path,
            path_b=path_b,
            changes_a=pipeline.for_device(changes_a),
            changes_b=pipeline.for_device(changes_b) if path_b else None,
            kind=inputs[0].dtype.name,
        )

    def _images(self, path: str, key: Key) -> list[np.ndarray]:
        """Of one sample the images of a and, if there is one, of b."""
        pipeline, (domains_a, domains_b) = self.pipeline, self.domains
        if self.derivation is not None:
            picture = pipeline.picture(path, self.derivation.image.channels)
            (image,) = pipeline.cut([picture], [self.derivation.image], path, key, "A")
            return list(self.derivation_of(image, path).pair(image, pipeline.random(key, Purpose.DERIVATION)))
        if self.input_names == (PAIR,):
            channels = (domains_a[0].channels, domains_b[0].channels)
            forwards = self.config.direction == "AtoB"
            halves = pipeline.halves(path, channels if forwards else channels[::-1])
            return pipeline.cut(halves if forwards else halves[::-1], [*domains_a, *domains_b], path, key, "A")
        files = [*self.inputs, *([self.outputs] if self.outputs else [])]
        held = list(zip(files, [*domains_a, *domains_b], strict=False))
        pictures = [pipeline.picture(paths[key.item], domain.channels, domain.is_labels) for paths, domain in held]
        return pipeline.cut(pictures, [domain for _, domain in held], path, key, "A")
