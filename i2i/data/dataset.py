"""What every data layout shares: options, seeded samples, and the answer to a bad file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from i2i.config import check_choice, check_range, option
from i2i.data.batch import DataSpec, ImageError, Key, Sample
from i2i.data.folder import open_image
from i2i.data.transforms import PREPROCESSING, Preprocess

MAX_SKIPPED = 100  # in a row: a folder full of bad files should stop, not crawl


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the images lie and what is done to them before the model sees them."""

    dataroot: str = option("", "folder that holds the images")
    dataset_mode: str = option(
        "unaligned", "layout of the folder", choices=("aligned", "unaligned", "single", "classes")
    )
    phase: str = option("train", "which part of the data: train, val, test ...")
    direction: str = option("AtoB", "BtoA swaps the two domains", choices=("AtoB", "BtoA"))
    in_channels: int = option(3, "channels of the input images: 1, 3 or 4", aliases=("--input_nc",))
    out_channels: int = option(3, "channels of the output images: 1, 3 or 4", aliases=("--output_nc",))
    preprocess: str = option("resize_and_crop", "how images come to the training size", choices=PREPROCESSING)
    load_size: tuple[int, ...] = option((286,), "resize to this, one number or width and height")
    crop_size: tuple[int, ...] = option((256,), "then crop to this, one number or width and height")
    flip: bool = option(True, "mirror images at random")
    max_dataset_size: int | None = option(None, "use at most so many images of a folder")
    serial_batches: bool = option(False, "take images in order instead of at random")
    batch_size: int = option(1, "images a step")
    num_threads: int = option(2, "worker processes that load images; 0 loads in the main process")
    on_bad_image: str = option("error", "what to do about an unreadable file", choices=("error", "skip"))

    def __post_init__(self) -> None:
        for name in ("load_size", "crop_size"):
            object.__setattr__(self, name, _width_height(name, getattr(self, name)))
        for name, choices in (("preprocess", PREPROCESSING), ("direction", ("AtoB", "BtoA"))):
            check_choice(name, getattr(self, name), choices)
        for name, low in (("batch_size", 1), ("num_threads", 0), ("max_dataset_size", 1)):
            check_range(name, getattr(self, name), low)
        too_small = any(load < crop for load, crop in zip(self.load_size, self.crop_size, strict=True))
        if self.preprocess == "resize_and_crop" and too_small:
            raise ValueError(
                f"--load_size {_shown(self.load_size)} is smaller than --crop_size {_shown(self.crop_size)}: "
                "images are resized to the first and then cropped to the second"
            )


def _width_height(name: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) not in (1, 2) or min(size) < 1:
        raise ValueError(f"--{name} {_shown(size)}: give one positive number, or width and height")
    return (size[0], size[-1])


def _shown(size: tuple[int, ...]) -> str:
    return " ".join(map(str, size))


class ImageDataset(torch.utils.data.Dataset):
    """A data set asked by `Key`; subclasses list their files and say in `load` how a sample is put together."""

    mode: ClassVar[str]
    classes: tuple[str, ...] = ()

    def __init__(self, config: DataConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.root = Path(config.dataroot)
        self.preprocess = Preprocess(config.preprocess, config.load_size, config.crop_size, config.flip)  # type: ignore[arg-type]

    def __len__(self) -> int:
        raise NotImplementedError

    def load(self, key: Key) -> Sample:
        """Read and prepare one sample. Raises ImageError for a file that cannot be used."""
        raise NotImplementedError

    def __getitem__(self, key: Key) -> Sample | ImageError:
        """`load`, with unusable files replaced by the next usable sample under `--on_bad_image skip`."""
        skipped: list[str] = []
        for offset in range(min(len(self), MAX_SKIPPED)):
            try:
                sample = self.load(Key(key.epoch, (key.item + offset) % len(self)))
                return dataclasses.replace(sample, skipped=tuple(skipped))
            except ImageError as error:
                if self.config.on_bad_image == "error":
                    return error
                skipped.append(str(error))
        return ImageError(f"{len(skipped)} unusable images in a row, the last one: {skipped[-1]}")

    @property
    def spec(self) -> DataSpec:
        """What the model is told about this data."""
        config = self.config
        return DataSpec(config.in_channels, config.out_channels, config.crop_size, self.classes)  # type: ignore[arg-type]

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
