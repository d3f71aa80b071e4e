"""Pairs of images: halves of one file, files of one name in several folders, rows of a table, or made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from i2i.data.batch import Key, Sample
from i2i.data.folder import describe, has_images, in_any_case
from i2i.data.layouts.base import ImageDataset
from i2i.data.listing import Columns, common_folder, condition_folder, paired, phase_folder
from i2i.data.pipeline import Purpose
from i2i.errors import UserError

PAIR = "pair"  # the column of files that hold A and B side by side


class AlignedDataset(ImageDataset):
    """Images of a and b that belong together; both get one and the same crop, flip and geometry.

    A file of `<dataroot>/<phase>/` holds A in its left half and B in the right one. Where none lie there, or the
    options say so, there are folders for A and B (see `condition_folder`, or `--dataroot_A` and `--dataroot_B`), and
    files of one name are a pair. With `--derive` it is one folder of single images.
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
        if table is not None:
            return self._with_b_if_needed(lambda names: table.complete(names, config.dataroot, config.max_dataset_size))
        return self._folders()

    def _single_images(self, table: Columns | None) -> Columns:
        config, b = self.config, self.output_name
        assert b is not None
        self.input_names = ()
        if table is not None:
            name = next((name for name in (b, "image", PAIR) if table.column(name)), b)
            rows = table.complete([name], config.dataroot, config.max_dataset_size)
            return Columns({b: rows.files[name]}, groups=rows.groups)
        folder = self._folder(b) or self._given(b) or phase_folder(self.root, config.phase)
        files, self.root = self.images_in(folder), folder
        return Columns({b: files})

    def _folders(self) -> Columns:
        config = self.config
        phase = in_any_case(self.root / config.phase, self.root)
        explicit = (
            config.conditions or config.dataroot_A or config.dataroot_B or config.out_classes or config.in_classes
        )
        # Files right in the phase's folder are pairs whatever else there is, as they are to the reference.
        found = {} if not explicit and has_images(phase, recursive=False) else self._found()
        if not found and not explicit:
            files = self.images_in(phase)
            self.root, self.input_names, self.output_name = phase, (PAIR,), PAIR
            return Columns({PAIR: files})
        needed = [*self.input_names, *([self.output_name] if self.needs_b and self.output_name else [])]
        if missing := [name for name in needed if name not in found]:
            there = describe(self.root / f"{config.phase}{missing[0]}", self.root, config.phase, config.dataset_mode)
            raise UserError(f"--dataset_mode aligned: no folder of {missing[0]} ({there})")
        self.root = found[self.input_names[0]]
        return self._with_b_if_needed(
            lambda names: self._paired({name: found[name] for name in names if name in found})
        )

    def _paired(self, folders: dict[str, Path]) -> Columns:
        self.passed_over.clear()  # of an earlier look at some of these folders
        return paired(folders, self.config.max_dataset_size, self.passed_over)

    def _found(self) -> dict[str, Path]:
        """The folders of the inputs and of b, of those that are there."""
        names = [*self.input_names, *([self.output_name] if self.output_name else [])]
        folders = {name: self._folder(name) for name in names}
        return {name: folder for name, folder in folders.items() if folder is not None}

    def _with_b_if_needed(self, rows: Callable[[list[str]], Columns]) -> Columns:
        """The rows of inputs and b; where no b is needed, those of the inputs alone unless each has one."""
        inputs, b = list(self.input_names), self.output_name
        assert b is not None
        if self.needs_b:
            return rows([*inputs, b])
        alone = rows(inputs)
        try:
            both = rows([*inputs, b])
        except UserError:
            both = alone
        if b in both.files and len(both.files[b]) == len(alone.files[inputs[0]]):
            return both
        self.output_name = None
        return alone

    def _folder(self, name: str) -> Path | None:
        """The folder of the images called `name`, if there is one."""
        given = {"A": self.config.dataroot_A, "B": self.config.dataroot_B}.get(name)
        if given is not None:
            return phase_folder(Path(given), self.config.phase)
        return condition_folder(self.root, self.config.phase, name) if self.config.dataroot else None

    def _given(self, name: str) -> Path | None:
        """Without --dataroot, the folder that is given for the other domain."""
        other = self.config.dataroot_B if name == "A" else self.config.dataroot_A
        return None if self.config.dataroot or other is None else phase_folder(Path(other), self.config.phase)

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
            lows = (domains_a[0].low, domains_b[0].low)
            wanted = (channels, lows) if forwards else (channels[::-1], lows[::-1])
            halves = pipeline.halves(path, *wanted)
            return pipeline.cut(halves if forwards else halves[::-1], [*domains_a, *domains_b], path, key, "A")
        files = [*self.inputs, *([self.outputs] if self.outputs else [])]
        held = list(zip(files, [*domains_a, *domains_b], strict=False))
        pictures = [self.read(paths[key.item], domain, key) for paths, domain in held]
        return pipeline.cut(pictures, [domain for _, domain in held], path, key, "A")
