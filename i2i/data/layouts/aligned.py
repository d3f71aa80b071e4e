"""Pairs of images: halves of one file, files of equal names in several folders, rows of a table, or derived pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from i2i.data.batch import Key, Sample
from i2i.data.folder import describe, has_images, in_any_case
from i2i.data.layouts.base import ImageDataset, Images
from i2i.data.listing import FileTable, common_folder, condition_folder, paired, phase_folder
from i2i.data.pipeline import RandomStream
from i2i.errors import UserError

PAIR = "pair"  # the column of files that hold A and B side by side


class AlignedDataset(ImageDataset):
    """Images of a and b that belong together and share one crop, mirroring and geometry.

    Each file in `<dataroot>/<phase>/` holds A in its left half and B in its right half. If there are none, or options
    ask for it, A and B have folders of their own (see `condition_folder`, or `--dataroot_A` and `--dataroot_B`), in
    which files of equal names are pairs. With `--derive`, one folder holds single images.
    """

    colored = "in"

    def scan(self) -> FileTable:
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

    def _single_images(self, table: FileTable | None) -> FileTable:
        config, b = self.config, self.output_name
        assert b is not None
        self.input_names = ()
        if table is not None:
            name = next((name for name in (b, "image", PAIR) if table.column(name)), b)
            rows = table.complete([name], config.dataroot, config.max_dataset_size)
            return FileTable({b: rows.files[name]}, groups=rows.groups)
        folder = self._folder(b) or self._given(b) or phase_folder(self.root, config.phase)
        files, self.root = self.images_in(folder), folder
        return FileTable({b: files})

    def _folders(self) -> FileTable:
        config = self.config
        phase = in_any_case(self.root / config.phase, self.root)
        explicit = (
            config.conditions or config.dataroot_A or config.dataroot_B or config.out_classes or config.in_classes
        )
        # As in the reference, files directly in the phase's folder are pairs, whatever else is there.
        found = {} if not explicit and has_images(phase, recursive=False) else self._found()
        if not found and not explicit:
            files = self.images_in(phase)
            self.root, self.input_names, self.output_name = phase, (PAIR,), PAIR
            return FileTable({PAIR: files})
        needed = [*self.input_names, *([self.output_name] if self.needs_b and self.output_name else [])]
        if missing := [name for name in needed if name not in found]:
            there = describe(self.root / f"{config.phase}{missing[0]}", self.root, config.phase, config.dataset_mode)
            raise UserError(f"--dataset_mode aligned: no folder of {missing[0]} ({there})")
        self.root = found[self.input_names[0]]
        return self._with_b_if_needed(
            lambda names: self._paired({name: found[name] for name in names if name in found})
        )

    def _paired(self, folders: dict[str, Path]) -> FileTable:
        self.passed_over.clear()  # an earlier call may have filled it
        return paired(folders, self.config.max_dataset_size, self.passed_over)

    def _found(self) -> dict[str, Path]:
        """Return the existing folders of the inputs and of b, by name."""
        names = [*self.input_names, *([self.output_name] if self.output_name else [])]
        folders = {name: self._folder(name) for name in names}
        return {name: folder for name, folder in folders.items() if folder is not None}

    def _with_b_if_needed(self, rows: Callable[[list[str]], FileTable]) -> FileTable:
        """Return the rows of inputs and b. If b is optional and some inputs have none, return the inputs only."""
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
        """Return the folder of the images called `name`, if there is one."""
        given = {"A": self.config.dataroot_A, "B": self.config.dataroot_B}.get(name)
        if given is not None:
            return phase_folder(Path(given), self.config.phase)
        return condition_folder(self.root, self.config.phase, name) if self.config.dataroot else None

    def _given(self, name: str) -> Path | None:
        """Return the folder given for the other domain, if there is no `--dataroot`."""
        other = self.config.dataroot_B if name == "A" else self.config.dataroot_A
        return None if self.config.dataroot or other is None else phase_folder(Path(other), self.config.phase)

    def load(self, key: Key) -> Sample:
        """Load a pair; with `--derive`, make it of one image."""
        if self.derivation is None:
            return self.load_together(key)
        path, image = self.files[key.item], self.derivation.image
        (cropped,) = self.pipeline.crop([self.pipeline.read(path, image.channels)], [image], path, key, "A")
        random = self.pipeline.random(key, RandomStream.DERIVATION)
        a, b = self.derivation_of(cropped, path).pair(cropped, random)
        return self.sample({"a": [a], "b": [b]}, key)

    def read_images(self, key: Key) -> Images:
        """Return the resized images of one pair; side-by-side pairs are the halves of one file."""
        if self.input_names != (PAIR,):
            return super().read_images(key)
        domains = [domains[0] for domains in self.domains]
        left, right = domains if self.config.direction == "AtoB" else domains[::-1]
        channels, fills = (left.channels, right.channels), (left.low, right.low)
        halves = self.pipeline.read_halves(self.files[key.item], channels, fills)
        a, b = halves if self.config.direction == "AtoB" else halves[::-1]
        return {"a": [a], "b": [b]}
