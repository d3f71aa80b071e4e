"""Two folders of images without pairs."""

import functools

import numpy as np

from i2i.data.batch import Key, Sample
from i2i.data.dataset import ImageDataset


class UnalignedDataset(ImageDataset):
    """`<dataroot>/<phase>A` and `<dataroot>/<phase>B`; every image of the larger folder exactly once an epoch.

    Which image of b meets an image of a is drawn anew for every epoch, or goes in order under `--serial_batches`.
    Those of the smaller folder come up equally often, give or take one.
    """

    def scan(self) -> None:
        domains = "AB" if self.config.direction == "AtoB" else "BA"
        self.files, self.files_b = (self.images_in(self.root / f"{self.config.phase}{domain}") for domain in domains)

    def __len__(self) -> int:
        return max(len(self.files), len(self.files_b))

    def load(self, key: Key) -> Sample:
        path_a = self.files[key.item % len(self.files)]
        index_b = key.item % len(self.files_b)
        if not self.config.serial_batches:
            index_b = _permutation(self.seed, key.epoch, len(self.files_b))[index_b]
        path_b = self.files_b[index_b]
        return Sample(
            a=self.read(path_a, self.config.in_channels, key, 0),
            b=self.read(path_b, self.config.out_channels, key, 1),
            path_a=path_a,
            path_b=path_b,
        )


@functools.lru_cache(maxsize=2)  # asked once a sample, and drawing it takes time linear in `count`
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, 0, 2)).permutation(count)
