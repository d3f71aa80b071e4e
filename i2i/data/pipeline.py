"""What is done to the images of a sample, from files to tensors; every random choice comes from seed and key alone."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from i2i.data.augment import AUGMENT_PRESETS, draw
from i2i.data.batch import ImageError, Key, OptionError
from i2i.data.cache import build_cache
from i2i.data.domain import Domain, classes_of_mask, held_by, merged
from i2i.data.images import Reader
from i2i.data.images.channels import Info, check_channels, to_channels
from i2i.data.options import ImageOptions
from i2i.data.transforms import Preprocess, resized
from i2i.errors import UserError

if TYPE_CHECKING:
    from i2i.data.augment.cpu import UserPipeline


class Purpose(enum.IntEnum):
    """What a random number is for: each has a stream of its own."""

    WINDOW_A = 0
    WINDOW_B = 1
    PAIRING = 2
    GEOMETRY_A = 3
    GEOMETRY_B = 4
    COLOR_A = 5
    COLOR_B = 6
    USER_A = 7
    USER_B = 8
    DERIVATION = 9


class Pipeline:
    """Reading, resizing, cropping and augmenting as `config` says. Domains are called "A" and "B".

    `colored` is whose colours `--augment_color auto` changes: none, in, out or both.
    """

    def __init__(self, config: ImageOptions, seed: int, colored: str, files: Sequence[str]) -> None:
        self.seed = seed
        self.preset = config.augment_preset
        self.on_device = config.augment == "gpu"
        self.colored = colored if config.augment_color == "auto" else config.augment_color
        self.reader = Reader(config.alpha, config.pages, config.max_pixels)
        jitter = config.augment_preset != "none"
        sizes = (config.load_size, config.crop_size)
        self.preprocess = Preprocess(config.preprocess, *sizes, config.flip and jitter, jitter)  # type: ignore[arg-type]
        self.user = _user_pipeline(config)
        self.cache = build_cache(config, files)
        self.recipe = f"{config.preprocess} {config.load_size} {config.crop_size} {config.alpha} {config.pages}"

    def random(self, key: Key, purpose: Purpose) -> np.random.Generator:
        """A generator that depends on the seed, the key and the purpose alone, whatever process asks."""
        return np.random.default_rng((self.seed, key.epoch, key.item, purpose))

    def picture(self, path: str, channels: int, fill: float = 0.0) -> np.ndarray:
        """Return the pixels (H, W, C) of a file, resized; those that hold nothing are `fill`."""

        def make() -> np.ndarray:
            return self._resized(self.reader.pixels(path, channels, self.preprocess.at_least, fill))

        return self._cached(path, f"{channels} {fill!r}", make)

    def label_map(self, path: str, is_mask: bool = False) -> np.ndarray:
        """Return the class indices (H, W) of a file, resized; of a mask 255 is class 1."""

        def make() -> np.ndarray:
            stored = self.reader.labels(path)
            return self._resized(classes_of_mask(stored) if is_mask else stored, nearest=True)

        return self._cached(path, "mask" if is_mask else "labels", make)

    def halves(self, path: str, channels: tuple[int, int], fills: tuple[float, float]) -> list[np.ndarray]:
        """The left and the right half of a file, resized, with so many channels and `fills` as in `picture`."""

        def make() -> np.ndarray:
            halves = self.reader.halves(path, channels, self.preprocess.at_least, fills)
            return np.concatenate([self._resized(half) for half in halves], axis=2)

        both = self._cached(path, f"halves {channels} {fills}", make)
        return np.split(both, [channels[0]], axis=2)

    def prepared(self, pixels: np.ndarray, channels: int, path: str) -> np.ndarray:
        """Pixels (H, W, C) that need no file of their own, as `picture` gives them; an ImageError names `path`."""
        try:
            height, width, stored = pixels.shape
            check_channels(Info(width, height, stored, pixels.dtype.name, "", ""), channels)
        except UserError as error:
            raise ImageError(f"{path} {error}") from None
        return self._resized(to_channels(pixels, channels, self.reader.alpha))

    def _cached(self, path: str, what: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        return make() if self.cache is None else self.cache.get(path, f"{self.recipe} {what}", make)

    def _resized(self, pixels: np.ndarray, nearest: bool = False) -> np.ndarray:
        height, width = pixels.shape[:2]
        return resized(pixels, self.preprocess.target((width, height)), nearest)

    def cut(
        self, pictures: Sequence[np.ndarray], domains: Sequence[Domain], path: str, key: Key, domain: str
    ) -> list[np.ndarray]:
        """One window of all `pictures`, through the user's pipeline if there is one.

        Raises:
            ImageError: if they differ in size or are smaller than the crop; names `path`.
        """
        sizes = [picture.shape[1::-1] for picture in pictures]
        if len(set(sizes)) > 1:
            shown = " and ".join(f"{width}x{height}" for width, height in dict.fromkeys(sizes))
            raise ImageError(
                f"{path}: the images of this sample are {shown}; --preprocess resize_and_crop makes them equal"
            )
        try:
            window = self.preprocess.window(sizes[0], self.random(key, Purpose[f"WINDOW_{domain}"]))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        cuts = [window.cut(picture) for picture in pictures]
        if self.user is None:
            return cuts
        labels = [domain.is_labels for domain in domains]
        try:
            return self.user(cuts, labels, int(self.random(key, Purpose[f"USER_{domain}"]).integers(2**31)))
        except UserError as error:
            raise OptionError(f"{path}: {error}") from None

    def changes(self, key: Key, domain: str, geometry: str) -> np.ndarray | None:
        """What the preset does to the images of `domain`, with the geometry of `geometry`'s; None for nothing."""
        if self.user is not None or not AUGMENT_PRESETS[self.preset]:
            return None
        colors = self.colored in ("both", "in" if domain == "A" else "out")
        return draw(
            self.preset,
            self.random(key, Purpose[f"GEOMETRY_{geometry}"]),
            self.random(key, Purpose[f"COLOR_{domain}"]) if colors else None,
        )

    def tensor(
        self, images: Sequence[np.ndarray], domains: Sequence[Domain], changes: np.ndarray | None, path: str
    ) -> torch.Tensor:
        """The images of one domain as one (C, H, W), changed unless the device will do that."""
        tensors = []
        for image, domain in zip(images, domains, strict=True):
            try:
                actual = held_by(image, domain, path)
            except UserError as error:
                raise ImageError(str(error)) from None
            if changes is not None and not self.on_device:
                from i2i.data.augment.cpu import augment

                image = augment(image, changes, actual)
            tensors.append(actual.to_tensor(image))
        return merged(tensors)

    def for_device(self, changes: np.ndarray | None) -> torch.Tensor | None:
        """The changes that are left to the device."""
        return torch.from_numpy(changes) if changes is not None and self.on_device else None


def _user_pipeline(config: ImageOptions) -> UserPipeline | None:
    if config.augment_file is None:
        return None
    from i2i.data.augment.cpu import UserPipeline

    return UserPipeline(config.augment_file)
