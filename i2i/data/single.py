"""One folder of images, or one image: inputs to translate, with nothing to compare them to."""

from i2i.data.batch import Key, Sample
from i2i.data.dataset import ImageDataset


class SingleDataset(ImageDataset):
    """Every image below `<dataroot>`, or `<dataroot>` itself where it is a file, as domain a."""

    def scan(self) -> None:
        if self.root.is_file():
            self.files, self.root = [str(self.root)], self.root.parent
        else:
            self.files = self.images_in(self.root)

    def load(self, key: Key) -> Sample:
        path = self.files[key.item]
        return Sample(a=self.read(path, self.config.in_channels, key, 0), path_a=path)
