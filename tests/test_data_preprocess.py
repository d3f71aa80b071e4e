"""Resizing, cropping and flipping."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from i2i.data import DataConfig, ImageDataset, ImageError, Key, Sample
from i2i.data.transforms import PREPROCESSING, Preprocess, resized
from tests.pictures import coordinates, dataset, noise, save


def preprocess(array: np.ndarray, choice: str, load: Any = (1, 1), crop: Any = (1, 1), seed: int = 0) -> np.ndarray:
    chosen = Preprocess(choice, load, crop, flip=False)
    size = chosen.target(array.shape[1::-1])  # type: ignore[arg-type]
    return chosen.window(size, np.random.default_rng(seed)).cut(resized(array, size))


def assert_pillows(found: np.ndarray, array: np.ndarray, size: tuple[int, int]) -> None:
    """Both round after each of two passes, Pillow with a little less precision."""
    expected = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC))
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 0.05


def load(data: ImageDataset, item: int = 0, epoch: int = 0) -> Sample:
    return data.load(Key(epoch, item))


def channels_last(image: torch.Tensor | None) -> np.ndarray:
    assert image is not None
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(20, 20), (31, 17), (96, 64), (40, 30)])
def test_resizing_gives_the_pixels_of_pillow(size: tuple[int, int]) -> None:
    array = noise(40, 30)
    assert_pillows(preprocess(array, "resize_and_crop", size, size), array, size)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_every_kind_and_count_of_channels_is_resized_as_pillow_does(channels: int, kind: Any) -> None:
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    array = (np.random.default_rng(0).random((31, 45, channels)) * top).astype(kind)
    found = resized(array, (20, 24))
    assert found.dtype == kind and found.shape == (24, 20, channels)
    for channel in range(channels):
        plane = Image.fromarray(array[:, :, channel].astype(np.float32))
        expected = np.asarray(plane.resize((20, 24), Image.Resampling.BICUBIC)).clip(
            0, None if kind is np.float32 else top
        )
        assert np.abs(found[:, :, channel] - expected).max() <= (1e-4 if kind is np.float32 else 2)


@pytest.mark.parametrize("size", [(20, 12), (101, 91), (1, 1), (40, 30)])
def test_labels_are_resized_without_mixing_as_pillow_does(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 35, (30, 40)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    np.testing.assert_array_equal(resized(labels, size, nearest=True), expected)


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = preprocess(stripes, "resize_and_crop", (8, 8), (8, 8))
    assert np.abs(shrunk.astype(int) - 127.5).max() < 20


@pytest.mark.parametrize(
    ("size", "load_size", "crop_size", "expected"),
    [
        ((200, 100), (100, 100), (32, 32), (100, 50)),
        ((200, 100), (100, 100), (64, 64), (100, 64)),  # never lower than the crop
        ((100, 80), (100, 100), (64, 64), (100, 80)),  # as wide already
        ((100, 40), (100, 100), (64, 64), (100, 64)),
        ((30, 20), (100, 100), (10, 10), (100, 66)),  # 66.67 is cut
        ((200, 100), (100, 7), (10, 70), (100, 70)),  # width of the one, height of the other
    ],
)
def test_scale_width_follows_the_rule_of_the_reference(
    size: Any, load_size: Any, crop_size: Any, expected: Any
) -> None:
    array = noise(*size)
    assert_pillows(preprocess(array, "scale_width", load_size, crop_size), array, expected)
    cropped = preprocess(array, "scale_width_and_crop", load_size, crop_size)
    assert cropped.shape == (crop_size[1], crop_size[0], 3)


def test_none_leaves_the_image_alone() -> None:
    array = noise(13, 7)
    np.testing.assert_array_equal(preprocess(array, "none"), array)


@pytest.mark.parametrize(
    ("choice", "load_size", "expected"),
    [
        ("resize_and_crop", (20,), (16, 12)),
        ("resize_and_crop", (40, 30), (16, 12)),
        ("crop", (1,), (16, 12)),
        ("scale_width", (20,), (20, 15)),
        ("scale_width_and_crop", (20,), (16, 12)),
        ("none", (1,), (48, 36)),
    ],
)
def test_sizes_are_width_and_height(tmp_path: Path, choice: str, load_size: Any, expected: tuple[int, int]) -> None:
    save(tmp_path / "x.png", noise(48, 36))
    data = dataset(tmp_path, "single", preprocess=choice, load_size=load_size, crop_size=(16, 12))
    assert channels_last(load(data).a).shape == (expected[1], expected[0], 3)


def test_a_crop_is_a_part_of_the_image_and_lies_anywhere(tmp_path: Path) -> None:
    save(tmp_path / "x.png", coordinates(10, 12))
    data = dataset(tmp_path, "single", preprocess="crop", crop_size=(6, 8))
    corners = np.zeros((5, 5), int)
    for epoch in range(1000):
        crop = channels_last(load(data, epoch=epoch).a)
        column, row = crop[0, 0, :2]
        np.testing.assert_array_equal(crop, coordinates(10, 12)[row : row + 8, column : column + 6])
        corners[row, column] += 1
    # 40 of each are expected, with a standard deviation of 6.2
    assert corners.min() > 12 and corners.max() < 68


def test_half_of_the_images_are_mirrored_wherever_they_are_cropped(tmp_path: Path) -> None:
    save(tmp_path / "x.png", coordinates(8, 12))
    data = dataset(tmp_path, "single", preprocess="crop", crop_size=(8, 8), flip=True)
    mirrored: dict[int, list[bool]] = {row: [] for row in range(5)}
    for epoch in range(1000):
        crop = channels_last(load(data, epoch=epoch).a)
        row, flipped = int(crop[0, 0, 1]), bool(crop[0, 0, 0])
        original = coordinates(8, 12)[row : row + 8]
        np.testing.assert_array_equal(crop, original[:, ::-1] if flipped else original)
        mirrored[row].append(flipped)
    for flips in mirrored.values():  # about 200 each, so a standard deviation of 0.035
        assert 0.3 < np.mean(flips) < 0.7


def test_no_flip_never_mirrors(tmp_path: Path) -> None:
    save(tmp_path / "x.png", coordinates(4, 4))
    data = dataset(tmp_path, "single")
    assert all(torch.equal(load(data).a, load(data, epoch=epoch).a) for epoch in range(50))  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", ["crop", "resize_and_crop", "scale_width", "scale_width_and_crop", "none"])
@pytest.mark.parametrize(("in_channels", "out_channels"), [(3, 3), (1, 3), (3, 1), (4, 1), (4, 3), (1, 1)])
def test_a_pair_gets_one_geometry(tmp_path: Path, choice: str, in_channels: int, out_channels: int) -> None:
    grey = noise(24, 20)[:, :, :1].repeat(3, 2)
    save(tmp_path / "train" / "x.png", np.concatenate([grey, 255 - grey], axis=1))
    sizes: dict[str, Any] = {"load_size": (20, 18), "crop_size": (16, 12)}
    channels: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels}
    data = dataset(tmp_path, "aligned", preprocess=choice, flip=True, **sizes, **channels)
    seen = set()
    for epoch in range(12):
        sample = load(data, epoch=epoch)
        a, b = channels_last(sample.a), channels_last(sample.b)
        assert (a.shape[2], b.shape[2]) == (in_channels, out_channels)
        assert np.abs(a[:, :, 0].astype(int) + b[:, :, 0] - 255).max() <= 1  # one is the other's negative
        seen.add(a[:, :, 0].tobytes())
    assert len(seen) >= 2


def test_unpaired_images_get_geometries_of_their_own(tmp_path: Path) -> None:
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "x.png", coordinates(12, 12))
    data = dataset(tmp_path, "unaligned", preprocess="crop", crop_size=(4,), flip=True)
    differ = sum(not torch.equal(sample.a, sample.b) for sample in (load(data, epoch=epoch) for epoch in range(20)))  # type: ignore[arg-type]
    assert differ > 15


def test_an_image_smaller_than_the_crop_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", noise(8, 20))
    data = dataset(tmp_path, "single", preprocess="crop", crop_size=(10, 9))
    with pytest.raises(ImageError, match=f"^{path}.*8x20.*10x9.*--crop_size"):
        load(data)


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        ({"preprocess": "resize"}, ["--preprocess 'resize'", "resize_and_crop, crop, scale_width"]),
        ({"direction": "ab"}, ["--direction 'ab'", "AtoB, BtoA"]),
        ({"dataset_mode": "pairs"}, ["--dataset_mode 'pairs'", "aligned, unaligned, single, classes"]),
        ({"on_bad_image": "warn"}, ["--on_bad_image 'warn'", "error, skip"]),
        ({"in_channels": 0}, ["--in_channels 0", "at least 1"]),
        ({"condition_channels": (3, 1)}, ["--condition_channels 3 1", "one number for each of the --conditions"]),
        ({"conditions": ("x",)}, ["--conditions", "--dataset_mode aligned"]),
        ({"in_range": (1.0, 0.0)}, ["--in_range 1 0", "a larger one"]),
        ({"out_range": (1.0,)}, ["--out_range 1"]),
        ({"derive": "magic"}, ["--derive 'magic'", "colorization, grey, edges"]),
        ({"dataset_mode": "aligned", "derive": "grey", "in_classes": 3}, ["--derive grey", "label maps"]),
        ({"augment": "gpu", "augment_file": "x.yaml"}, ["--augment_file", "--augment cpu"]),
        ({"cache": "all"}, ["--cache 'all'", "ram, disk"]),
        ({"out_channels": 0}, ["--out_channels 0"]),
        ({"load_size": (1, 2, 3)}, ["--load_size 1 2 3", "one positive number, or width and height"]),
        ({"crop_size": (0,)}, ["--crop_size 0"]),
        ({"load_size": (100,)}, ["--load_size 100 100 is smaller than --crop_size 256 256"]),
        ({"load_size": (300, 200)}, ["--load_size 300 200"]),
        ({"load_size": (200,), "preprocess": "scale_width_and_crop"}, ["--load_size 200 200"]),
        ({"batch_size": 0}, ["--batch_size 0", "at least 1"]),
        ({"num_threads": -1}, ["--num_threads -1", "at least 0"]),
        ({"max_dataset_size": 0}, ["--max_dataset_size 0"]),
    ],
)
def test_bad_options_are_named_with_the_choices(options: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        DataConfig(**options)
    assert all(fragment in str(caught.value) for fragment in fragments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", ["crop", "scale_width", "none"])
def test_a_load_size_that_is_not_cropped_may_be_small(choice: str) -> None:
    assert DataConfig(preprocess=choice, load_size=(100,)).load_size == (100, 100)


SIDES = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.sampled_from([1, 3]))
def test_any_size_is_resized_to_any_other_as_pillow_does(size: Any, target: Any, channels: int) -> None:
    array = 64 + noise(*size)[:, :, :channels] // 2  # with no overshoot to clip between the passes
    picture = Image.fromarray(array if channels == 3 else array[:, :, 0])
    expected = np.asarray(picture.resize(target, Image.Resampling.BICUBIC)).reshape(*target[::-1], channels)
    assert np.abs(resized(array, target).astype(int) - expected).max() <= 2


@settings(max_examples=60, deadline=None)
@given(SIDES, st.sampled_from(PREPROCESSING), st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_any_size_comes_to_the_size_that_is_asked_for(size: Any, choice: str, load: int, crop: int, seed: int) -> None:
    chosen = Preprocess(choice, (load, load), (crop, crop))
    target = chosen.target(size)
    assert min(target) >= 1
    if choice == "scale_width":
        assert target[0] == load and target[1] >= crop
    try:
        window = chosen.window(target, np.random.default_rng(seed))
    except ImageError:
        assert "crop" in choice and min(target) < crop
        return
    assert (window.width, window.height) == ((crop, crop) if "crop" in choice else target)
    assert window.left >= 0 and window.left + window.width <= target[0]
    assert window.top >= 0 and window.top + window.height <= target[1]
