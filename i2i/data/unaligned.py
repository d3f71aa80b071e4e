"""Two folders of images without pairs."""

from i2i.data.batch import Key, Sample
from i2i.data.dataset import DataConfig, ImageDataset
from i2i.data.folder import require_images


class UnalignedDataset(ImageDataset):
    """`<dataroot>/<phase>A` and `<dataroot>/<phase>B`; every image of the larger folder once an epoch.

    The image of b is drawn at random, anew for every (seed, epoch, index), or goes in order under serial_batches.
    """

    mode = "unaligned"

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        domains = "AB" if config.direction == "AtoB" else "BA"
        self.files_a, self.files_b = (
            require_images(
                self.root / f"{config.phase}{domain}", self.root, config.phase, self.mode, config.max_dataset_size
            )
            for domain in domains
        )

    def __len__(self) -> int:
        return max(len(self.files_a), len(self.files_b))

    def load(self, key: Key) -> Sample:
        path_a = self.files_a[key.item % len(self.files_a)]
        count_b = len(self.files_b)
        index_b = key.item % count_b if self.config.serial_batches else self.random(key, 2).integers(count_b)
        path_b = self.files_b[int(index_b)]
        return Sample(
            a=self.read(path_a, self.config.in_channels, key, 0),
            b=self.read(path_b, self.config.out_channels, key, 1),
            path_a=path_a,
            path_b=path_b,
        )
