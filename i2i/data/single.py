"""One folder of images, or one image: inputs to translate, with nothing to compare them to."""

from i2i.data.batch import Key, Sample
from i2i.data.dataset import DataConfig, ImageDataset
from i2i.data.folder import require_images


class SingleDataset(ImageDataset):
    """Every image below `<dataroot>`, or `<dataroot>` itself where it is a file, as domain a."""

    mode = "single"

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        if self.root.is_file():
            self.files = [config.dataroot]
            self.root = self.root.parent
        else:
            self.files = require_images(self.root, self.root, config.phase, self.mode, config.max_dataset_size)

    def __len__(self) -> int:
        return len(self.files)

    def load(self, key: Key) -> Sample:
        path = self.files[key.item]
        return Sample(a=self.read(path, self.config.in_channels, key, 0), path_a=path)
