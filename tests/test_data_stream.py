"""Batches: their order, their seeds, their values."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.data import Batch, BatchStream, ImageError, Sample, collate, sample_batch
from i2i.data.batch import normalise
from i2i.data.order import EndlessOrder
from tests.pictures import dataset, equal, noise, numbered, numbers, save

RANDOM: dict[str, Any] = {"preprocess": "resize_and_crop", "load_size": (12, 10), "crop_size": (8,), "flip": True}


@pytest.fixture
def unpaired(tmp_path: Path) -> Path:
    """Five images of A and three of B."""
    for domain, count in (("A", 5), ("B", 3)):
        for number in range(count):
            save(tmp_path / f"train{domain}" / f"{number}.png", noise(14, 11, seed=ord(domain) + number))
    return tmp_path


def stream(root: Path, workers: int = 0, seed: int = 3) -> BatchStream:
    return BatchStream(dataset(root, "unaligned", seed, num_threads=workers, **RANDOM), 2, seed)


def counted(root: Path, count: int, batch_size: int, **options: Any) -> BatchStream:
    numbered(root, count)
    return BatchStream(dataset(root, "single", **options), batch_size)


def test_every_epoch_has_every_image_in_a_new_order(tmp_path: Path) -> None:
    following = counted(tmp_path, 12, batch_size=4)
    epochs = [[number for _ in range(3) for number in numbers(following().a)] for _ in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert list(range(12)) not in epochs


def test_batches_run_over_the_end_of_an_epoch(tmp_path: Path) -> None:
    following = counted(tmp_path, 5, batch_size=3, serial_batches=True)
    assert [numbers(following().a) for _ in range(4)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]
    assert (following.position, len(following)) == (12, 5)


def test_a_batch_may_be_larger_than_the_data_set(tmp_path: Path) -> None:
    following = counted(tmp_path, 2, batch_size=5, serial_batches=True)
    assert numbers(following().a) == [0, 1, 0, 1, 0]


def test_paths_belong_to_the_images(tmp_path: Path) -> None:
    batch = counted(tmp_path, 9, batch_size=9)()
    assert [int(Path(path).stem) for path in batch.paths_a] == numbers(batch.a)
    assert (len(batch), batch.b, batch.paths_b) == (9, None, ())


def test_the_order_goes_on_from_anywhere() -> None:
    straight = iter(EndlessOrder(7, seed=1))
    keys = [next(straight) for _ in range(30)]
    for start in (0, 3, 7, 16):
        later = iter(EndlessOrder(7, seed=1, start=start))
        assert [next(later) for _ in range(30 - start)] == keys[start:]
    other = iter(EndlessOrder(7, seed=2))
    assert [next(other) for _ in range(7)] != keys[:7]


def test_the_seed_decides(unpaired: Path) -> None:
    assert equal(stream(unpaired)(), stream(unpaired)())
    assert not equal(stream(unpaired, seed=4)(), stream(unpaired)())


def test_an_image_changes_from_epoch_to_epoch(tmp_path: Path) -> None:
    save(tmp_path / "x.png", noise(14, 11))
    following = BatchStream(dataset(tmp_path, "single", **RANDOM), batch_size=20)
    assert len(following().a.unique(dim=0)) > 5  # type: ignore[union-attr]


@pytest.mark.parametrize("workers", [0, 1])
def test_random_states_outside_are_left_alone(unpaired: Path, workers: int) -> None:
    before = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    following = stream(unpaired, workers)
    for _ in range(4):
        following()
    following.seek(3)
    following()
    sample_batch(following.dataset)
    assert random.getstate() == before[0]
    assert str(np.random.get_state(legacy=False)) == str(before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_all_values_are_normalised_and_come_back() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = normalise(values)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1, 1)
    torch.testing.assert_close(images.double(), (values.double() / 255 - 0.5) / 0.5, atol=1e-7, rtol=0)
    assert torch.equal(((images + 1) * 127.5).round().to(torch.uint8), values)
    assert torch.equal(normalise(images), images)
    assert values.flatten().tolist() == list(range(256))


def test_a_batch_is_normalised_where_it_goes() -> None:
    batch = Batch(a=torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), label=torch.tensor([1, 2]))
    moved = batch.to("cpu", torch.float64)
    assert moved.a is not None and moved.label is not None
    assert (moved.a.dtype, moved.a.flatten().tolist(), moved.label.tolist()) == (torch.float64, [-1, 1], [1, 2])
    assert moved.b is None


def test_what_a_batch_lacks_is_said() -> None:
    batch = Batch(a=torch.zeros(1, 3, 2, 2))
    assert batch.image("a") is batch.a
    with pytest.raises(ValueError, match="domain b"):
        batch.image("b")
    with pytest.raises(ValueError, match="--dataset_mode classes"):
        batch.labels()


def test_images_of_one_batch_share_a_size() -> None:
    samples = [Sample(a=torch.zeros(3, height, 8, dtype=torch.uint8), path_a=f"{height}.png") for height in (4, 6)]
    error = collate(samples)
    assert isinstance(error, ImageError)
    assert str(error).startswith("6.png is 8x6 and 4.png is 8x4: ") and "--batch_size 1" in str(error)
    assert isinstance(collate(samples[:1] * 2), Batch)


def test_samples_to_look_at_are_spread_and_stay_the_same(tmp_path: Path) -> None:
    numbered(tmp_path, 12)
    data = dataset(tmp_path, "single")
    assert numbers(sample_batch(data).a) == [0, 3, 6, 9]
    assert numbers(sample_batch(data, count=20).a) == list(range(12))
    save(tmp_path / "x.png", noise(14, 11))
    data = dataset(tmp_path, "single", **RANDOM)
    assert equal(sample_batch(data), sample_batch(data))


def test_samples_to_look_at_may_differ_in_size(tmp_path: Path) -> None:
    numbered(tmp_path, 2, size=4)
    numbered(tmp_path, 2, first=2, size=6)
    batch = sample_batch(dataset(tmp_path, "single"))
    assert numbers(batch.a) == [0, 1]
