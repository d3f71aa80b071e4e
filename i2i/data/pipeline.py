"""The steps from files to tensors: read, resize, crop, augment, convert.

All random choices depend only on the seed and the key of the sample.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from i2i.data.augment import AUGMENT_PRESETS, draw
from i2i.data.augment.cpu import UserPipeline, augment
from i2i.data.batch import ImageError, Key, OptionError
from i2i.data.cache import ImageCache
from i2i.data.domain import Domain, classes_of_mask, held_by, merged
from i2i.data.images import Reader
from i2i.data.transforms import Preprocess, resized
from i2i.errors import UserError


class RandomStream(enum.IntEnum):
    """The independent streams of random numbers of a sample."""

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
    """The steps from files to tensors, with their settings.

    Args:
        preset: the augmentation preset, a key of `AUGMENT_PRESETS`.
        colored: the tensors whose colours the preset changes: "none", "in" (a), "out" (b) or "both".
        on_device: leave the preset's changes to the device.
        user: an albumentations pipeline in place of the preset.
        cache: keeps resized images.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        preprocess: Preprocess,
        seed: int = 0,
        preset: str = "reference",
        colored: str = "none",
        on_device: bool = False,
        user: UserPipeline | None = None,
        cache: ImageCache | None = None,
    ) -> None:
        self.reader, self.preprocess, self.cache, self.seed = reader, preprocess, cache, seed
        self.preset, self.colored, self.on_device, self.user = preset, colored, on_device, user
        self.at_least = preprocess.at_least()
        sizes = f"{preprocess.preprocess} {preprocess.load_size} {preprocess.crop_size}"
        self.recipe = f"{sizes} {reader.alpha} {reader.pages}"

    def random(self, key: Key, stream: RandomStream) -> np.random.Generator:
        """Return a generator that depends only on the seed, the key and the stream, in every process."""
        return np.random.default_rng((self.seed, key.epoch, key.item, stream))

    def read(self, path: str, channels: int, fill: float = 0.0) -> np.ndarray:
        """Return the resized pixels (H, W, C) of a file; pixels that the file marks as empty become `fill`."""

        def load() -> np.ndarray:
            return self.resize(self.reader.pixels(path, channels, self.at_least, fill))

        recipe = f"{self.recipe} {channels} {fill!r}"
        return load() if self.cache is None else self.cache.get(path, recipe, load)

    def read_labels(self, path: str, is_mask: bool = False) -> np.ndarray:
        """Return the resized class indices (H, W) of a file; with `is_mask`, 255 is class 1."""

        def load() -> np.ndarray:
            stored = self.reader.labels(path)
            return self.resize(classes_of_mask(stored) if is_mask else stored, nearest=True)

        recipe = f"{self.recipe} {'mask' if is_mask else 'labels'}"
        return load() if self.cache is None else self.cache.get(path, recipe, load)

    def read_halves(self, path: str, channels: tuple[int, int], fills: tuple[float, float]) -> list[np.ndarray]:
        """Return the left and the right half of a file, each resized, with `channels` and `fills` as in `read`."""

        def load() -> np.ndarray:
            halves = self.reader.halves(path, channels, self.at_least, fills)
            return np.concatenate([self.resize(half) for half in halves], axis=2)

        recipe = f"{self.recipe} halves {channels} {fills}"
        both = load() if self.cache is None else self.cache.get(path, recipe, load)
        return np.split(both, [channels[0]], axis=2)

    def resize(self, pixels: np.ndarray, nearest: bool = False) -> np.ndarray:
        """Return pixels (H, W, ...) at the load size."""
        height, width = pixels.shape[:2]
        return resized(pixels, self.preprocess.target((width, height)), nearest)

    def crop(
        self, images: Sequence[np.ndarray], domains: Sequence[Domain], path: str, key: Key, geometry: str
    ) -> list[np.ndarray]:
        """Cut one window out of all `images`, then apply the user's pipeline; `geometry` "A" or "B" draws them.

        Raises:
            ImageError: if the images differ in size or are smaller than the crop; names `path`.
        """
        sizes = [image.shape[1::-1] for image in images]
        if len(set(sizes)) > 1:
            shown = " and ".join(f"{width}x{height}" for width, height in dict.fromkeys(sizes))
            raise ImageError(
                f"{path}: the images of this sample are {shown}; --preprocess resize_and_crop makes them equal"
            )
        try:
            window = self.preprocess.window(sizes[0], self.random(key, RandomStream[f"WINDOW_{geometry}"]))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        cuts = [window.cut(image) for image in images]
        if self.user is None:
            return cuts
        seed = int(self.random(key, RandomStream[f"USER_{geometry}"]).integers(2**31))
        try:
            return self.user(cuts, [domain.is_labels for domain in domains], seed)
        except UserError as error:
            raise OptionError(f"{path}: {error}") from None

    def changes(self, key: Key, name: str, geometry: str) -> np.ndarray | None:
        """Draw the preset's changes of the tensor `name`, with the geometry of domain `geometry`; None for none."""
        if self.user is not None or not AUGMENT_PRESETS[self.preset]:
            return None
        colored = {"in": "a", "out": "b", "both": "ab"}.get(self.colored, "")
        return draw(
            self.preset,
            self.random(key, RandomStream[f"GEOMETRY_{geometry}"]),
            self.random(key, RandomStream[f"COLOR_{name.upper()}"]) if name in tuple(colored) else None,
        )

    def tensors(
        self,
        images: Mapping[str, Sequence[np.ndarray]],
        domains: Mapping[str, Sequence[Domain]],
        paths: Mapping[str, str],
        key: Key,
        geometry: str,
    ) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
        """Augment cropped images with one geometry and convert them to tensors.

        Returns:
            A tensor (C, H, W) by name, with the channels of all images of that name; and the changes (P,) that are left
            to the device.

        Raises:
            ImageError: if an image does not fit its domain; names its path.
        """
        tensors, left = {}, {}
        for name, group in images.items():
            drawn, converted = self.changes(key, name, geometry), []
            if drawn is not None and self.on_device:
                left[name], drawn = drawn, None
            for image, domain in zip(group, domains[name], strict=True):
                try:
                    actual = domain if image.dtype.name == domain.kind else held_by(image, domain, paths[name])
                except UserError as error:
                    raise ImageError(str(error)) from None
                converted.append(actual.to_tensor(image if drawn is None else augment(image, drawn, actual)))
            tensors[name] = converted[0] if len(converted) == 1 else merged(converted)
        return tensors, left
