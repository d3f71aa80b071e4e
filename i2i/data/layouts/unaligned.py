"""Two unpaired sets of images."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from i2i.data.batch import Key, Sample
from i2i.data.layouts.base import ImageDataset
from i2i.data.listing import FileTable, condition_folder, phase_folder
from i2i.data.pipeline import RandomStream


class UnalignedDataset(ImageDataset):
    """The images in `<dataroot>/<phase>A` and `<dataroot>/<phase>B`.

    An epoch shows every image of the larger set once, and those of the smaller set equally often, up to one. Each epoch
    combines a and b in a new random order, or in the order of the files with `--serial_batches`.
    """

    is_paired = False

    def scan(self) -> FileTable:
        config, table = self.config, self.table()
        names = "AB" if config.direction == "AtoB" else "BA"
        self.input_names, self.output_name = (names[0],), names[1]
        if table is None:
            return FileTable({name: self.images_in(self._folder(name)) for name in names})
        each = {name: table.complete([name], config.dataroot, config.max_dataset_size) for name in names}
        longest = max(each.values(), key=lambda table: len(next(iter(table.files.values()))))
        return FileTable({name: found.files[name] for name, found in each.items()}, groups=longest.groups)

    def _folder(self, name: str) -> Path:
        given = self.config.dataroot_A if name == "A" else self.config.dataroot_B
        if given is None:
            return condition_folder(self.root, self.config.phase, name) or self.root / f"{self.config.phase}{name}"
        return phase_folder(Path(given), self.config.phase)

    def __len__(self) -> int:
        return max(len(self.files), len(self.outputs))

    def load(self, key: Key) -> Sample:
        index_b = key.item % len(self.outputs)
        if not self.config.serial_batches:
            index_b = _permutation(self.seed, key.epoch, len(self.outputs))[index_b]
        path_a, path_b = self.files[key.item % len(self.files)], self.outputs[index_b]
        (domain_a,), (domain_b,) = self.domains
        a, b = self.image(path_a, domain_a, key, "A"), self.image(path_b, domain_b, key, "B")
        return Sample(
            a=a.tensor,
            b=b.tensor,
            path_a=path_a,
            path_b=path_b,
            changes=a.changes | b.changes,
            kind=a.kind,
        )


@functools.lru_cache(maxsize=2)  # every sample needs it, and drawing it takes time linear in `count`
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, 0, RandomStream.PAIRING)).permutation(count)
