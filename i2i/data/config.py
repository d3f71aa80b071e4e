"""The options of the data."""

from __future__ import annotations

import dataclasses

from i2i.config import check_choice, check_range, option
from i2i.data.folder import MODES
from i2i.data.layouts import DATASETS
from i2i.data.transforms import PREPROCESSING

DIRECTIONS = ("AtoB", "BtoA")
ON_BAD_IMAGE = ("error", "skip")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the images lie and what is done to them before the model sees them."""

    dataroot: str = option("", "folder that holds the images")
    dataset_mode: str = option("unaligned", "layout of the folder", choices=tuple(DATASETS))
    phase: str = option("train", "which part of the data: train, val, test ...")
    direction: str = option("AtoB", "BtoA swaps the two domains", choices=DIRECTIONS)
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
    on_bad_image: str = option("error", "what to do about an unusable file", choices=ON_BAD_IMAGE)

    def __post_init__(self) -> None:
        for name in ("load_size", "crop_size"):
            object.__setattr__(self, name, _width_height(name, getattr(self, name)))
        for field in dataclasses.fields(self):
            if choices := field.metadata["choices"]:
                check_choice(field.name, getattr(self, field.name), choices)
        for name, low in (("batch_size", 1), ("num_threads", 0), ("max_dataset_size", 1)):
            check_range(name, getattr(self, name), low)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) not in MODES:
                raise ValueError(f"--{name} {getattr(self, name)}: choose 1 (grey), 3 (RGB) or 4 (RGBA)")
        self._check_crop_fits()

    def _check_crop_fits(self) -> None:
        # scale_width_and_crop fixes the width alone; the height grows to that of the crop.
        fixed = {"resize_and_crop": 2, "scale_width_and_crop": 1}.get(self.preprocess, 0)
        if any(load < crop for load, crop in zip(self.load_size[:fixed], self.crop_size[:fixed], strict=True)):
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
