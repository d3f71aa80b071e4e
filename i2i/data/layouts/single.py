"""One set of images, or one image: inputs to translate, without targets."""

from __future__ import annotations

from pathlib import Path

from i2i.data.batch import Key, Sample
from i2i.data.folder import is_image
from i2i.data.layouts.base import ImageDataset
from i2i.data.listing import FileTable, common_folder


class SingleDataset(ImageDataset):
    """Every image below `<dataroot>`, or the file `<dataroot>`, as domain a.

    With `--derive`, the images are inputs already: for inpainting, for example, transparent pixels are the holes.
    """

    input_names = ("A",)

    def scan(self) -> FileTable:
        config = self.config
        self.root = Path(config.dataroot or config.input_root)
        if (table := self.table()) is not None:
            column = next((name for name in (config.direction[0], "image") if table.column(name)), config.direction[0])
            files = table.complete([column], config.dataroot, config.max_dataset_size).files[column]
            self.root = common_folder(path for path in files if path)
            return FileTable({"A": files})
        if self.root.is_file() and is_image(str(self.root)):
            path, self.root = str(self.root), self.root.parent
            return FileTable({"A": [path]})
        return FileTable({"A": self.images_in(self.root)})

    def load(self, key: Key) -> Sample:
        path = self.files[key.item]
        a = self.image(path, self.domains[0][0], key, "A")
        return Sample(a=a.tensor, path_a=path, changes=a.changes, kind=a.kind)
