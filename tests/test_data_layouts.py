"""The layouts of a data folder: pairs, two folders, one folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from i2i.data import DataConfig, ImageDataset, Key, Sample, build_dataset
from i2i.data.images import Reader
from tests.pictures import REAL, coordinates, dataset, needs_data, noise, numbered, numbers, save


def epoch_of(data: ImageDataset, epoch: int = 0) -> list[Sample]:
    return [data.load(Key(epoch, item)) for item in range(len(data))]


def values(samples: list[Sample], domain: str) -> list[int]:
    return numbers(torch.stack([getattr(sample, domain) for sample in samples]))


def test_a_data_root_is_asked_for() -> None:
    with pytest.raises(ValueError, match="--dataroot"):
        build_dataset(DataConfig())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_data_set_gives_the_pixels_of_the_file(tmp_path: Path, channels: int) -> None:
    path = save(tmp_path / "x.png", noise(5, 3))
    sample = dataset(tmp_path, "single", in_channels=channels).load(Key(0, 0))
    assert sample.a is not None
    np.testing.assert_array_equal(sample.a.permute(1, 2, 0).numpy(), Reader().pixels(str(path), channels))


@pytest.mark.parametrize(("direction", "left"), [("AtoB", "a"), ("BtoA", "b")])
def test_a_pair_lies_side_by_side(tmp_path: Path, direction: str, left: str) -> None:
    halves = {"left": noise(6, 4, seed=1), "right": noise(6, 4, seed=2)}
    path = save(tmp_path / "train" / "deep" / "x.png", np.concatenate([*halves.values()], axis=1))
    sample = dataset(tmp_path, "aligned", direction=direction).load(Key(0, 0))
    first, second = (sample.a, sample.b) if left == "a" else (sample.b, sample.a)
    for image, half in ((first, halves["left"]), (second, halves["right"])):
        assert image is not None
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), half)
    assert sample.path_a == sample.path_b == str(path)


def test_channels_belong_to_input_and_output_not_to_the_halves(tmp_path: Path) -> None:
    save(tmp_path / "train" / "x.png", noise(8, 4))
    for direction in ("AtoB", "BtoA"):
        sample = dataset(tmp_path, "aligned", direction=direction, in_channels=1, out_channels=4).load(Key(0, 0))
        assert sample.a is not None and sample.b is not None
        assert (sample.a.shape, sample.b.shape) == ((1, 4, 4), (4, 4, 4))


def test_an_odd_width_is_no_pair(tmp_path: Path) -> None:
    path = save(tmp_path / "train" / "x.png", noise(7, 4))
    with pytest.raises(ValueError, match=f"{path}.* 7 .*--dataset_mode unaligned"):
        dataset(tmp_path, "aligned").load(Key(0, 0))


def test_the_phase_chooses_the_folder(tmp_path: Path) -> None:
    numbered(tmp_path / "train", 2)
    numbered(tmp_path / "val", 3, first=10)
    assert values(epoch_of(dataset(tmp_path, "aligned", phase="val")), "a") == [10, 11, 12]


@pytest.mark.parametrize(("count_a", "count_b"), [(3, 10), (10, 3), (6, 6), (1, 5)])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_every_image_of_the_larger_folder_comes_once_an_epoch(
    tmp_path: Path, count_a: int, count_b: int, direction: str
) -> None:
    numbered(tmp_path / "trainA", count_a)
    numbered(tmp_path / "trainB", count_b, first=100)
    data = dataset(tmp_path, "unaligned", direction=direction)
    assert len(data) == max(count_a, count_b)
    for epoch in range(3):
        samples = epoch_of(data, epoch)
        drawn = {"A": values(samples, "a"), "B": values(samples, "b")}
        if direction == "BtoA":
            drawn = {"A": drawn["B"], "B": drawn["A"]}
        for found, count, first in ((drawn["A"], count_a, 0), (drawn["B"], count_b, 100)):
            times = [found.count(number) for number in range(first, first + count)]
            assert sum(times) == len(data)
            assert max(times) - min(times) <= 1


def test_partners_are_drawn_anew_every_epoch_and_by_the_seed(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 12)
    numbered(tmp_path / "trainB", 12, first=100)
    one, again, other = (dataset(tmp_path, "unaligned", seed) for seed in (5, 5, 6))
    first = values(epoch_of(one), "b")
    assert first == values(epoch_of(again), "b")
    assert first != values(epoch_of(one, epoch=1), "b")
    assert first != values(epoch_of(other), "b")
    met = {tuple(values(epoch_of(one, epoch)[:1], "b")) for epoch in range(100)}
    assert len(met) == 12  # in time, everybody meets everybody


def test_serial_batches_pair_in_order(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 5)
    numbered(tmp_path / "trainB", 2, first=100)
    samples = epoch_of(dataset(tmp_path, "unaligned", serial_batches=True), epoch=3)
    assert (values(samples, "a"), values(samples, "b")) == ([0, 1, 2, 3, 4], [100, 101, 100, 101, 100])


def test_a_limit_takes_the_first_of_each_folder(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 12)
    numbered(tmp_path / "trainB", 2, first=100)
    data = dataset(tmp_path, "unaligned", max_dataset_size=3)
    assert values(epoch_of(data), "a") == [0, 1, 2]
    assert len(dataset(tmp_path, "single", max_dataset_size=10**15)) == 14


def test_a_single_folder_is_taken_with_all_below_it(tmp_path: Path) -> None:
    numbered(tmp_path / "deep", 1, first=7)
    numbered(tmp_path, 2)
    data = dataset(tmp_path, "single")
    samples = epoch_of(data)
    assert values(samples, "a") == [0, 1, 7]
    assert all(sample.b is None and sample.label is None for sample in samples)
    assert data.root == tmp_path


def test_a_single_file_is_a_data_set(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", coordinates(6, 4))
    save(tmp_path / "y.png", noise(6, 4))
    data = dataset(path, "single")
    sample = data.load(Key(0, 0))
    assert (len(data), sample.path_a, data.root) == (1, str(path), tmp_path)
    assert sample.a is not None
    np.testing.assert_array_equal(sample.a.permute(1, 2, 0).numpy(), coordinates(6, 4))


def test_the_model_is_told_about_its_data(tmp_path: Path) -> None:
    numbered(tmp_path, 1)
    spec = dataset(tmp_path, "single", in_channels=1, out_channels=4, crop_size=(64, 32)).spec
    assert (spec.in_channels, spec.out_channels, spec.image_size, spec.classes) == (1, 4, (64, 32), ())


@needs_data
def test_facades() -> None:
    train, val = (dataset(REAL / "facades", "aligned", phase=phase) for phase in ("train", "val"))
    assert (len(train), len(val)) == (400, 100)
    sample, swapped = (
        val.load(Key(0, 3)),
        dataset(REAL / "facades", "aligned", phase="val", direction="BtoA")[Key(0, 3)],
    )
    assert isinstance(swapped, Sample) and sample.a is not None and sample.b is not None
    assert sample.a.shape == sample.b.shape == (3, 256, 256)
    assert torch.equal(sample.a, swapped.b) and torch.equal(sample.b, swapped.a)  # type: ignore[arg-type]
    # the right half is a drawing in few colours, the left one a photograph
    assert len(sample.b.flatten(1).unique(dim=1).T) < len(sample.a.flatten(1).unique(dim=1).T)


@needs_data
def test_horse2zebra() -> None:
    data = dataset(REAL / "horse2zebra", "unaligned", preprocess="resize_and_crop", load_size=(64,), crop_size=(48,))
    assert len(data) == 162 and len(data.files) == 160
    sample = data.load(Key(0, 161))
    assert sample.a is not None and sample.b is not None and sample.path_a is not None
    assert sample.a.shape == sample.b.shape == (3, 48, 48)
    assert sample.path_a == data.files[1]
