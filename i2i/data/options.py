"""The options that data sets use. `config.DataConfig` adds the choices of layouts, which are built on this module."""

from __future__ import annotations

import dataclasses
import math
from typing import Self

from i2i.config import check_choice, check_range, option
from i2i.data.augment import AUGMENT_PRESETS
from i2i.data.derive import DERIVATIONS
from i2i.data.images import ALPHA, PAGES
from i2i.data.transforms import PREPROCESSING
from i2i.errors import UserError

DIRECTIONS = ("AtoB", "BtoA")
ON_BAD_IMAGE = ("error", "skip")
AUGMENT = ("auto", "cpu", "gpu")
AUGMENT_COLOR = ("auto", "none", "in", "out", "both")
CACHES = ("none", "ram", "disk")
MINIMA = {"in_channels": 1, "out_channels": 1, "in_classes": 0, "out_classes": 0, "derive_scale": 2, "max_pixels": 1}
MINIMA |= {"batch_size": 1, "num_threads": 0, "max_dataset_size": 1, "cache_limit": 0}


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """Options of where the images are, and how they are loaded and prepared for the model."""

    dataroot: str = option(
        "", "folder of the images, a CSV or JSON-lines manifest, or shards such as shards-{00..99}.tar", path=True
    )
    dataroot_A: str | None = option(None, "folder of the images of A, if it is not below --dataroot", path=True)
    dataroot_B: str | None = option(None, "folder of the images of B, if it is not below --dataroot", path=True)
    dataset_mode: str = option("unaligned", "layout of the folder")
    phase: str = option("train", "data set split: train, val, test ...")
    direction: str = option("AtoB", "BtoA swaps the two domains", choices=DIRECTIONS)
    conditions: tuple[str, ...] | None = option(None, "folders whose images are concatenated channel-wise to the input")
    derive: str = option("none", "make pairs of single images by deriving the input", choices=DERIVATIONS)
    derive_scale: int = option(4, "factor by which --derive downscale shrinks and enlarges again")
    in_channels: int = option(3, "channels of the input images", aliases=("--input_nc",))
    out_channels: int = option(3, "channels of the output images", aliases=("--output_nc",))
    condition_channels: tuple[int, ...] | None = option(
        None, "channels of each of the --conditions (default: in_channels)"
    )
    in_classes: int = option(0, "number of classes if the input is a label map")
    out_classes: int = option(0, "number of classes if the output is a label map")
    condition_classes: tuple[int, ...] | None = option(
        None, "number of classes of each of the --conditions; 0: an image, no label map"
    )
    in_range: tuple[float, ...] | None = option(
        None, "input values that become -1 and 1 (default: the full range of 8 or 16 bits)"
    )
    out_range: tuple[float, ...] | None = option(None, "output values that become -1 and 1")
    alpha: str = option("drop", "background for transparent images where 1 or 3 channels are needed", choices=ALPHA)
    pages: str = option("auto", "pages of a multi-page file to use: all as channels, or the first", choices=PAGES)
    max_pixels: int = option(2**27, "reject images with more pixels")
    preprocess: str = option("resize_and_crop", "how images are resized and cropped", choices=PREPROCESSING)
    load_size: tuple[int, ...] = option((286,), "resize to this: one number, or width and height")
    crop_size: tuple[int, ...] = option((256,), "then crop to this: one number, or width and height")
    flip: bool = option(True, "mirror images at random")
    augment: str = option("auto", "where images are augmented; auto: on the gpu if there is one", choices=AUGMENT)
    augment_preset: str = option(
        "reference", "none, random crop and flip (reference), or more changes", choices=tuple(AUGMENT_PRESETS)
    )
    augment_color: str = option(
        "auto", "whose colours are augmented; auto: not those of the b of pairs", choices=AUGMENT_COLOR
    )
    augment_file: str | None = option(
        None, "albumentations pipeline, saved as YAML, to use instead of the preset", path=True
    )
    cache: str = option("none", "keep resized images in memory, or on disk for later runs as well", choices=CACHES)
    cache_limit: float = option(8.0, "largest size of the cache in GiB")
    cache_dir: str | None = option(None, "folder of --cache disk (default: i2i in the user's cache folder)", path=True)
    max_dataset_size: int | None = option(None, "use at most this many images of a folder")
    serial_batches: bool = option(False, "take images in order instead of at random")
    batch_size: int = option(1, "images per step")
    num_threads: int = option(2, "worker processes that load images; 0 loads in the main process")
    on_bad_image: str = option("error", "stop at an unusable image, or skip it", choices=ON_BAD_IMAGE)

    def __post_init__(self) -> None:
        for name in ("load_size", "crop_size"):
            object.__setattr__(self, name, _width_height(name, getattr(self, name)))
        for field in dataclasses.fields(self):
            if choices := field.metadata["choices"]:
                check_choice(field.name, getattr(self, field.name), choices)
        for name, low in MINIMA.items():
            check_range(name, getattr(self, name), low)
        check_range("cache_limit", self.cache_limit, 0, 2**30)
        if self.augment == "gpu" and self.augment_file is not None:
            raise UserError("--augment_file is an albumentations pipeline, which works on the CPU: use --augment cpu")
        if self.augment_file is not None and self.augment_preset not in ("none", "reference"):
            raise UserError(f"--augment_file replaces --augment_preset {self.augment_preset}: give only one of them")
        if self.conditions and self.dataset_mode != "aligned":
            raise UserError(f"--conditions need pairs: --dataset_mode aligned, not {self.dataset_mode}")
        self._check_inputs()
        self._check_ranges()
        self._check_crop_fits()

    def _check_inputs(self) -> None:
        for name, low in (("condition_channels", 1), ("condition_classes", 0)):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.conditions or ()):
                raise UserError(f"--{name} {_shown(given)}: one number for each of the --conditions is expected")
            for number in given or ():
                check_range(name, number, low)
        if self.derive != "none" and self.dataset_mode not in ("aligned", "single"):
            raise UserError(f"--derive {self.derive} makes pairs: --dataset_mode aligned, not {self.dataset_mode}")
        names = [name.casefold() for name in self.conditions or ()]
        if len(set(names)) < len(names) or ("b" if self.direction == "AtoB" else "a") in names:
            raise UserError(f"--conditions {' '.join(self.conditions or ())}: name each input once, and not the output")
        if self.derive != "none" and (self.conditions or self.in_classes or self.out_classes):
            raise UserError(f"--derive {self.derive} makes the input: leave --conditions and label maps out")

    def _check_ranges(self) -> None:
        for name in ("in_range", "out_range"):
            given = getattr(self, name)
            if given is not None and (len(given) != 2 or not -math.inf < given[0] < given[1] < math.inf):
                raise UserError(f"--{name} {_shown(given)}: give the value of -1, and a larger one for 1")

    def _check_crop_fits(self) -> None:
        # scale_width_and_crop fixes only the width; the height is enlarged to that of the crop.
        fixed = {"resize_and_crop": 2, "scale_width_and_crop": 1}.get(self.preprocess, 0)
        if any(load < crop for load, crop in zip(self.load_size[:fixed], self.crop_size[:fixed], strict=True)):
            raise UserError(
                f"--load_size {_shown(self.load_size)} is smaller than --crop_size {_shown(self.crop_size)}: "
                "images are resized to the first and then cropped to the second"
            )

    @property
    def input_root(self) -> str:
        """Return the folder of the input images: --dataroot_A or --dataroot_B by the direction, else --dataroot."""
        return (self.dataroot_A if self.direction == "AtoB" else self.dataroot_B) or self.dataroot

    def for_device(self, kind: str) -> Self:
        """Return a copy in which `--augment auto` is resolved for a device of type `kind`."""
        if self.augment != "auto":
            return self
        on_device = kind == "cuda" and self.augment_file is None
        return dataclasses.replace(self, augment="gpu" if on_device else "cpu")

    def for_validation(self, phase: str) -> Self:
        """Return a copy that loads all images of `phase` in order, resized but not augmented."""
        return dataclasses.replace(
            self,
            phase=phase,
            load_size=self.crop_size if "crop" in self.preprocess else self.load_size,
            flip=False,
            augment="cpu",
            augment_preset="none",
            augment_file=None,
            cache="none",
            max_dataset_size=None,
            serial_batches=True,
            num_threads=0,
            on_bad_image="skip",
        )

    def swapped(self) -> Self:
        """Return a copy for the opposite translation, with the options of input and output exchanged."""
        if self.conditions:
            raise UserError(f"--conditions {' '.join(self.conditions)}: no translation returns several images")
        if self.derive != "none":
            raise UserError(f"--derive {self.derive}: there is no opposite translation to derived inputs")
        ends = ("channels", "classes", "range")
        there = {f"in_{end}": getattr(self, f"out_{end}") for end in ends}
        return dataclasses.replace(self, **there, **{f"out_{end}": getattr(self, f"in_{end}") for end in ends})

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the load size and the crop size as (width, height)."""
        (load_width, load_height), (crop_width, crop_height) = self.load_size, self.crop_size
        return (load_width, load_height), (crop_width, crop_height)

    @property
    def inputs(self) -> tuple[tuple[int, int], ...]:
        """Return (channels, classes) of each image whose channels make up the input; 0 classes for none."""
        count = len(self.conditions or ("A",))
        channels = self.condition_channels or (self.in_channels,) * count
        classes = self.condition_classes or (self.in_classes,) * count
        return tuple(zip(channels, classes, strict=True))


def _width_height(name: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) not in (1, 2) or min(size) < 1:
        raise UserError(f"--{name} {_shown(size)}: give one positive number, or width and height")
    return (size[0], size[-1])


def _shown(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
