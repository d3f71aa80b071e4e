"""What every data layout shares: its files, seeded samples, and the answer to a bad file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from i2i.data.batch import DataSpec, ImageError, Key, Sample
from i2i.data.folder import describe, list_images, open_image
from i2i.data.transforms import Preprocess

if TYPE_CHECKING:
    from i2i.data.config import DataConfig  # which takes its choices from the layouts, and they from here


class ImageDataset(torch.utils.data.Dataset):
    """A data set asked by `Key`; a layout lists its files in `scan` and puts a sample together in `load`."""

    classes: tuple[str, ...] = ()
    files: list[str]

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.root = Path(config.dataroot)
        self.preprocess = Preprocess(config.preprocess, config.load_size, config.crop_size, config.flip)  # type: ignore[arg-type]
        self.scan()

    def scan(self) -> None:
        """Find the files below `root`. Raises ValueError, saying what is there instead, if there are none."""
        raise NotImplementedError

    def load(self, key: Key) -> Sample:
        """Read and prepare one sample. Raises ImageError for a file that cannot be used."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: Key) -> Sample | ImageError:
        """`load`, with the error returned: raised in a worker process it would arrive as a traceback."""
        try:
            return self.load(key)
        except ImageError as error:
            way_out = "; --on_bad_image skip leaves such files out" if self.config.on_bad_image == "error" else ""
            return ImageError(f"{error}{way_out}")

    @property
    def spec(self) -> DataSpec:
        """What the model is told about this data."""
        config = self.config
        return DataSpec(config.in_channels, config.out_channels, config.crop_size, self.classes)  # type: ignore[arg-type]

    def images_in(self, folder: Path) -> list[str]:
        """At most `--max_dataset_size` images below `folder`. Raises ValueError if there are none."""
        config = self.config
        found = list_images(folder, config.max_dataset_size)
        if not found:
            there = describe(folder, self.root, config.phase, config.dataset_mode)
            raise ValueError(f"--dataset_mode {config.dataset_mode}: no images in {folder} ({there})")
        return found

    def random(self, key: Key, purpose: int) -> np.random.Generator:
        """A generator that depends on the seed, the key and the purpose alone, whatever process asks."""
        return np.random.default_rng((self.seed, key.epoch, key.item, purpose))

    def read(self, path: str, channels: int, key: Key, purpose: int) -> torch.Tensor:
        """One image file through the preprocessing, with its own random crop and flip."""
        return self.prepare(open_image(path, channels), path, key, purpose)[0]

    def prepare(
        self, image: Image.Image, path: str, key: Key, purpose: int, partner: Image.Image | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Preprocess an opened image and its partner; an ImageError names `path`."""
        try:
            return self.preprocess(image, int(self.random(key, purpose).integers(2**31)), partner)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
