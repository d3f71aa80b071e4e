"""Images with a class label: class folders, or files in the format of MNIST."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from i2i.data.batch import Key, Sample
from i2i.data.dataset import DataConfig, ImageDataset
from i2i.data.folder import MODES, class_folders, describe, list_images, open_image

IDX_PREFIX = {"train": "train", "test": "t10k", "val": "t10k"}


class ClassDataset(ImageDataset):
    """`<dataroot>/<phase>/<class>/...` or `<dataroot>/<class>/...`, or `<dataroot>/train-images-idx3-ubyte[.gz]` and
    its label file; images are domain b, the class index is the label.
    """

    mode = "classes"

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.files: list[str] = []
        self.images: np.ndarray | None = None
        self.labels = np.empty(0, np.int64)
        idx_images = find_idx(self.root, config.phase, "images-idx3")
        if idx_images is not None:
            self._read_idx(idx_images)
        else:
            self._list_folders()
        limit = config.max_dataset_size
        if limit is not None and limit < len(self.labels):
            # The first of every class, not of the first class alone.
            order = np.argsort(_rank_in_class(self.labels), kind="stable")[:limit]
            self.labels = self.labels[order]
            self.files = [self.files[i] for i in order] if self.files else []
            self.images = None if self.images is None else self.images[order]

    def _read_idx(self, path: Path) -> None:
        labels = find_idx(self.root, self.config.phase, "labels-idx1")
        if labels is None:
            raise ValueError(f"{path} has no label file beside it: {path.name.replace('images-idx3', 'labels-idx1')}")
        self.images, self.labels = read_idx(path, 3), read_idx(labels, 1).astype(np.int64)
        if len(self.images) != len(self.labels):
            raise ValueError(f"{path} holds {len(self.images)} images, {labels} {len(self.labels)} labels")
        self.classes = tuple(str(label) for label in range(int(self.labels.max()) + 1))

    def _list_folders(self) -> None:
        folder = self.root / self.config.phase
        folder = folder if folder.is_dir() else self.root
        names = class_folders(folder) if folder.is_dir() else []
        if not names:
            what = f"no class folders with images in {folder}"
            raise ValueError(
                f"--dataset_mode classes: {what} ({describe(self.root, folder, self.config.phase, self.mode)})"
            )
        files = [list_images(folder / name) for name in names]
        self.classes = tuple(names)
        self.files = [path for paths in files for path in paths]
        self.labels = np.repeat(np.arange(len(names)), [len(paths) for paths in files])

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, key: Key) -> Sample:
        channels = self.config.out_channels
        if self.images is None:
            path = self.files[key.item]
            image = open_image(path, channels)
        else:
            path = f"image {key.item}"
            image = Image.fromarray(self.images[key.item]).convert(MODES[channels])
        (b,) = self.prepare(image, path, key, 0)
        return Sample(b=b, label=int(self.labels[key.item]), path_b=path)


def find_idx(root: Path, phase: str, kind: str) -> Path | None:
    """The idx file of a phase, as it is or gzipped; None where there is none."""
    prefix = IDX_PREFIX.get(phase, phase)
    names = [f"{prefix}-{kind}-ubyte", f"{prefix}-{kind}-ubyte.gz"]
    return next((root / name for name in names if (root / name).is_file()), None)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """A uint8 array from a file in MNIST's idx format (http://yann.lecun.com/exdb/mnist): magic, sizes, bytes.

    Raises:
        ValueError: if the file is damaged or holds anything but uint8 of `dimensions` dimensions.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); download it again") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{path} is not an idx file of {dimensions}-dimensional uint8 data")
    sizes = np.frombuffer(content, ">u4", dimensions, 4)
    if len(content) != header + int(np.prod(sizes)):
        raise ValueError(f"{path} is truncated: {len(content)} bytes instead of {header + int(np.prod(sizes))}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[members] = np.arange(len(members))
    return ranks
