"""Pairs that lie side by side in one image file."""

from i2i.data.batch import ImageError, Key, Sample
from i2i.data.dataset import ImageDataset
from i2i.data.folder import MODES, open_image


class AlignedDataset(ImageDataset):
    """`<dataroot>/<phase>/x.jpg`: A is the left half and B the right one; both get one and the same crop and flip."""

    def scan(self) -> None:
        self.files = self.images_in(self.root / self.config.phase)

    def load(self, key: Key) -> Sample:
        path, config = self.files[key.item], self.config
        channels = (config.in_channels, config.out_channels)
        both = open_image(path, max(channels))
        if both.width % 2:
            raise ImageError(
                f"{path} is {both.width} pixels wide: side-by-side pairs have an even width; two separate "
                "folders of images are --dataset_mode unaligned"
            )
        half = both.width // 2
        left, right = both.crop((0, 0, half, both.height)), both.crop((half, 0, both.width, both.height))
        first, second = (left, right) if config.direction == "AtoB" else (right, left)
        first, second = first.convert(MODES[channels[0]]), second.convert(MODES[channels[1]])
        a, b = self.prepare(first, path, key, 0, second)
        return Sample(a=a, b=b, path_a=path, path_b=path)
