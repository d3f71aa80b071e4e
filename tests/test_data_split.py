"""Held-out parts of a data set in every layout, and the few images that stand for all."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.data import BatchStream, DataConfig, ImageDataset, Key
from i2i.data.domain import Domain
from i2i.data.order import EndlessOrder
from i2i.data.split import split, spread
from tests.pictures import coordinates, dataset, noise, numbered, numbers, save
from tests.test_data_classes import write_idx
from tests.test_data_shards import write_tar

COUNT = 20


def side_by_side(root: Path) -> ImageDataset:
    for number in range(COUNT):
        save(root / "train" / f"{number}.png", np.full((4, 8, 3), number, np.uint8))
    return dataset(root, "aligned")


def two_folders(root: Path) -> ImageDataset:
    for number, path in enumerate(numbered(root / "trainA", COUNT)):
        save(root / "trainB" / path.name, np.full((4, 4, 3), 100 + number, np.uint8))
    return dataset(root, "aligned")


def conditions(root: Path) -> ImageDataset:
    for name, first in (("edges", 0), ("depth", 50), ("B", 100)):
        for number in range(COUNT):
            save(root / "train" / name / f"{number}.png", np.full((4, 4, 3), first + number, np.uint8))
    return dataset(root, "aligned", conditions=("edges", "depth"))


def derived(root: Path) -> ImageDataset:
    numbered(root / "train", COUNT)
    return dataset(root, "aligned", derive="grey")


def unaligned(root: Path) -> ImageDataset:
    numbered(root / "trainA", COUNT)
    numbered(root / "trainB", 2 * COUNT, first=100)
    return dataset(root, "unaligned", serial_batches=True)


def class_folders(root: Path) -> ImageDataset:
    numbered(root / "train" / "few", 6)
    numbered(root / "train" / "many", 14, first=100)
    return dataset(root, "classes")


def idx_file(root: Path) -> ImageDataset:
    write_idx(root, [number % 2 for number in range(COUNT)])
    return dataset(root, "classes", out_channels=1)


def manifest(root: Path) -> ImageDataset:
    numbered(root / "images", COUNT)
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], *([f"images/{n}.png", f"images/{n}.png"] for n in range(COUNT))])
    return dataset(root / "list.csv", "aligned")


def labelled_manifest(root: Path) -> ImageDataset:
    numbered(root / "images", COUNT)
    lines = [json.dumps({"image": f"images/{n}.png", "label": "xy"[n % 2]}) for n in range(COUNT)]
    (root / "list.jsonl").write_text("\n".join(lines))
    return dataset(root / "list.jsonl", "classes")


def shards(root: Path) -> ImageDataset:
    for shard in range(4):
        names = [f"{shard}_{number}.{end}.png" for number in range(5) for end in "ab"]
        write_tar(root / f"train-{shard}.tar", *names)
    return dataset(root / "train-*.tar", "aligned")


LAYOUTS = [
    side_by_side,
    two_folders,
    conditions,
    derived,
    unaligned,
    class_folders,
    idx_file,
    manifest,
    labelled_manifest,
    shards,
]


def columns(data: ImageDataset) -> dict[str, list[str | None]]:
    return data.columns.files


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_image_is_on_one_side_and_always_the_same(tmp_path: Path, layout: Callable[[Path], ImageDataset]) -> None:
    data = layout(tmp_path)
    before = {name: list(files) for name, files in columns(data).items()}
    (training, held), (_, again), (_, other) = split(data, 0.3, 0), split(data, 0.3, 0), split(data, 0.3, 1)
    for name, files in before.items():
        kept, left = columns(training)[name], columns(held)[name]
        assert len(left) == round(0.3 * len(files))
        assert sorted(map(str, [*kept, *left])) == sorted(map(str, files))
        assert left == [path for path in files if path in left], "in the order of the files"
    assert columns(held) == columns(again) != columns(other)
    assert columns(data) == before
    assert (len(training), len(held)) == (len(data) - round(0.3 * len(data)), round(0.3 * len(data)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_part_gives_the_samples_of_its_files(tmp_path: Path, layout: Callable[[Path], ImageDataset]) -> None:
    data = layout(tmp_path)
    whole = {sample.path_b: sample for sample in (data.load(Key(0, item)) for item in range(len(data)))}
    for part in split(data, 0.3, 0):
        for item in range(len(part)):
            sample = part.load(Key(0, item))
            expected = whole[sample.path_b]
            assert sample.b is not None and expected.b is not None and torch.equal(sample.b, expected.b)
            assert sample.label == expected.label
            if data.is_paired and sample.a is not None:
                assert expected.a is not None and torch.equal(sample.a, expected.a)


@pytest.mark.parametrize("layout", [class_folders, idx_file, labelled_manifest], ids=lambda layout: layout.__name__)
def test_as_large_a_share_of_every_class_is_held_out(tmp_path: Path, layout: Callable[[Path], ImageDataset]) -> None:
    data = layout(tmp_path)
    training, held = split(data, 0.5, 0)
    assert data.labels is not None and training.labels is not None and held.labels is not None
    counts = Counter(data.labels.tolist())
    assert Counter(held.labels.tolist()) == {label: count // 2 for label, count in counts.items()}
    assert Counter(training.labels.tolist()) == Counter(held.labels.tolist())
    assert training.classes == held.classes == data.classes


def test_sets_without_pairs_are_split_each_by_itself(tmp_path: Path) -> None:
    training, held = split(unaligned(tmp_path), 0.25, 0)
    assert (len(held.files), len(held.outputs)) == (5, 10)
    assert (len(training.files), len(training.outputs)) == (15, 30)


def test_more_images_hardly_change_which_are_held_out(tmp_path: Path) -> None:
    numbered(tmp_path / "train", 40, size=2)
    _, before = split(dataset(tmp_path, "aligned"), 0.5, 0)
    numbered(tmp_path / "train", 4, first=40, size=2)
    _, after = split(dataset(tmp_path, "aligned"), 0.5, 0)
    assert len(after) == 22
    # Of 40 held-out images the newcomers can push out no more than they are.
    assert len(set(before.files) - set(after.files)) <= 4


def test_the_place_of_the_data_does_not_matter(tmp_path: Path) -> None:
    here, there = (split(two_folders(tmp_path / name), 0.3, 0)[1].files for name in ("here", "there"))
    assert [Path(path).name for path in here] == [Path(path).name for path in there]


@pytest.mark.parametrize("fraction", [0.01, 0.99])
@pytest.mark.parametrize("layout", [side_by_side, unaligned, class_folders], ids=lambda layout: layout.__name__)
def test_no_side_is_left_without_an_image(
    tmp_path: Path, layout: Callable[[Path], ImageDataset], fraction: float
) -> None:
    with pytest.raises(ValueError, match=f"--val_fraction {fraction}.* 20 "):
        split(layout(tmp_path), fraction, 0)


def test_a_limit_goes_before(tmp_path: Path) -> None:
    numbered(tmp_path / "train", COUNT)
    training, held = split(dataset(tmp_path, "aligned", max_dataset_size=10), 0.2, 0)
    assert (len(training), len(held)) == (8, 2)
    assert {int(Path(path).stem) for path in [*training.files, *held.files]} == set(range(10))


def test_shards_are_still_read_a_few_at_a_time(tmp_path: Path) -> None:
    training, held = split(shards(tmp_path), 0.3, 0)
    for part in (training, held):
        tars = [path.split("::")[0] for path in part.files]
        assert part.columns.groups == [tars.count(str(tmp_path / f"train-{shard}.tar")) for shard in range(4)]
    order = EndlessOrder(len(training), seed=0, groups=training.columns.groups).order(0)
    assert sorted(order) == list(range(len(training)))


def test_groups_of_sets_without_pairs_are_those_of_the_larger_one(tmp_path: Path) -> None:
    for shard in range(3):
        names = [f"{shard}_{number}.b.png" for number in range(6)] + [f"{shard}_0.a.png"]
        write_tar(tmp_path / f"{shard}.tar", *names)
    training, _ = split(dataset(tmp_path / "*.tar", "unaligned"), 0.34, 0)
    assert len(training) == len(training.outputs) == sum(training.columns.groups) == 12


def test_a_part_holds_what_the_whole_does(tmp_path: Path) -> None:
    # The kind of a domain is that of the first file, wherever this goes to.
    for number in range(6):
        pixels = noise(8, 4, number)[:, :, 0]
        save(tmp_path / "train" / f"{number}.png", pixels if number else pixels.astype(np.uint16) * 257)
    data = dataset(tmp_path, "aligned", in_channels=1, out_channels=1)
    for part in split(data, 0.5, 0):
        assert part.spec == data.spec
        assert part.domains[0] == (Domain(1, "uint16", 0, 65535),)


def test_a_part_can_be_trained_on(tmp_path: Path) -> None:
    training, held = split(side_by_side(tmp_path), 0.4, 0)
    stream = BatchStream(training, 4)
    seen = [number for _ in range(3) for number in numbers(stream().a)]
    assert sorted(seen) == sorted(int(Path(path).stem) for path in training.files)
    assert not set(seen) & {int(Path(path).stem) for path in held.files}


def test_images_are_spread_over_all(tmp_path: Path) -> None:
    data = side_by_side(tmp_path)
    assert [int(Path(path).stem) for path in spread(data, 4).files] == [0, 5, 10, 15]
    assert spread(data, 100).files == data.files


def test_images_of_classes_are_spread_in_proportion(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for data, counts in ((class_folders(tmp_path), {0: 3, 1: 7}), (idx_file(tmp_path / "mnist"), {0: 5, 1: 5})):
        few = spread(data, 10)
        assert few.labels is not None
        assert Counter(few.labels.tolist()) == counts
        assert few.files == [path for path in data.files if path in few.files], "in the order of the files"


def test_sets_without_pairs_are_spread_each_by_itself(tmp_path: Path) -> None:
    few = spread(unaligned(tmp_path), 4)
    assert [Path(path).stem for path in few.files] == ["0", "5", "10", "15"]
    assert [Path(path).stem for path in few.outputs] == ["100", "110", "120", "130"]


def augmented(root: Path, **options: Any) -> DataConfig:
    common: dict[str, Any] = {"augment_preset": "strong", "flip": True, "max_dataset_size": 3, "cache": "ram"}
    return DataConfig(str(root), dataset_mode="aligned", load_size=(40,), crop_size=(20,), **common | options)


def test_validation_sees_images_as_they_are(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "val" / f"{number}.png", np.concatenate([coordinates(20, 20)] * 2, axis=1))
    config = augmented(tmp_path).for_validation("val")
    data = dataset(tmp_path, "aligned", **{name: getattr(config, name) for name in ("phase", "load_size", "crop_size")})
    read = [data.read_by(config).load(Key(epoch, 3)).a for epoch in range(2)]
    assert len(data) == 5 and data.read_by(config).pipeline.cache is None
    for image in read:
        assert image is not None
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), coordinates(20, 20))


@pytest.mark.parametrize(
    ("preprocess", "load_size"),
    [("resize_and_crop", 20), ("scale_width_and_crop", 20), ("scale_width", 40), ("crop", 20)],
)
def test_validation_is_at_the_size_of_training(tmp_path: Path, preprocess: str, load_size: int) -> None:
    assert augmented(tmp_path, preprocess=preprocess).for_validation("val").load_size == (load_size, load_size)


def test_validation_pairs_images_in_order(tmp_path: Path) -> None:
    data = unaligned(tmp_path).read_by(DataConfig(dataset_mode="unaligned", preprocess="none").for_validation("train"))
    samples = [data.load(Key(7, item)) for item in (0, 5, 25)]
    assert [Path(str(sample.path_a)).stem for sample in samples] == ["0", "5", "5"]
    assert [Path(str(sample.path_b)).stem for sample in samples] == ["100", "105", "125"]
