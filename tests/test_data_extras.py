"""A layout from outside the package: a mask, a second input and a text vector beside the pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.config import OptionParser
from i2i.data import LAYOUTS, Batch, BatchStream, DataConfig, ImageDataset, Key, Sample, sample_batch, samples_in_order
from i2i.data.domain import Domain
from i2i.data.listing import FileTable, paired
from i2i.data.split import split
from tests.pictures import dataset, save

SIZE = 48


class MaskedPairs(ImageDataset):
    """Folders A, B, mask and depth of `<dataroot>`, and text/NAME.npy for every pair."""

    input_names, output_name, colored = ("A",), "B", "in"
    extra_domains = {"mask": Domain(2, "labels", 0, 1), "depth": Domain(1)}

    def scan(self) -> FileTable:
        return paired({name: self.root / name for name in ("A", "B", "mask", "depth")})

    def load(self, key: Key) -> Sample:
        sample, path = self.load_together(key), Path(self.files[key.item])
        sample.extras["text"] = torch.from_numpy(np.load(self.root / "text" / f"{path.stem}.npy"))
        return sample


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six samples whose images and mask show the same checkerboard, with random offsets."""
    monkeypatch.setitem(LAYOUTS, "masked", MaskedPairs)
    (tmp_path / "text").mkdir()
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for number in range(6):
        mask = ((((rows + number) // 12) + columns // 12) % 2).astype(np.uint8)
        for name in ("A", "B", "depth"):
            save(tmp_path / name / f"{number}.png", np.stack([mask * 255] * 3, axis=2))
        save(tmp_path / "mask" / f"{number}.png", mask)
        np.save(tmp_path / "text" / f"{number}.npy", np.full(5, number / 3, np.float32))
    return tmp_path


def stream(root: Path, batch_size: int = 4, **options: Any) -> BatchStream:
    common: dict[str, Any] = {"preprocess": "resize_and_crop", "load_size": (SIZE,), "crop_size": (32,), "flip": True}
    return BatchStream(dataset(root, "masked", **common | options), batch_size)


def test_its_name_is_a_choice_of_the_flag(root: Path) -> None:
    parser = OptionParser(prog="train.py")
    parser.add_options("data", DataConfig)
    assert parser.given(["--dataset_mode", "masked"])["dataset_mode"] == "masked"
    assert "masked" in parser.format_help()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("preset", ["reference", "strong"])
def test_geometry_moves_all_tensors_together(root: Path, preset: str, backend: str, workers: int) -> None:
    following = stream(root, augment_preset=preset, augment_color="none", augment=backend, num_threads=workers)
    for _ in range(3):
        batch = following()
        assert {name: tuple(tensor.shape[1:]) for name, tensor in batch.extras.items()} == {
            "mask": (2, 32, 32),
            "depth": (1, 32, 32),
            "text": (5,),
        }
        a, mask, depth = batch.image("a"), batch.extra("mask"), batch.extra("depth")
        assert torch.equal(a, batch.image("b"))
        torch.testing.assert_close(depth, a[:, :1], atol=0.01, rtol=0)
        assert mask.unique().tolist() == [-1, 1] and (mask.sum(1) == 0).all()
        sure = a[:, 0].abs() > 0.9  # between two squares, pixels of the images are mixtures
        assert ((mask.argmax(1) == 1)[sure] == (a[:, 0] > 0)[sure]).float().mean() > 0.999
        assert batch.extra("text")[:, 0].tolist() == pytest.approx([int(Path(p).stem) / 3 for p in batch.paths_a])


def test_colours_of_extras_stay(root: Path) -> None:
    batch = stream(root, augment_preset="strong", augment_color="both", augment="cpu")()
    mask, depth = batch.extra("mask"), batch.extra("depth")
    sure = depth[:, 0].abs() > 0.999
    assert sure.float().mean() > 0.3
    assert ((mask.argmax(1) == 1)[sure] == (depth[:, 0] > 0)[sure]).float().mean() > 0.999


def test_workers_and_cache_change_nothing(root: Path) -> None:
    options: dict[str, Any] = {"augment_preset": "strong", "augment": "gpu"}
    plain, others = (
        stream(root, **options),
        [stream(root, num_threads=2, cache=kind, **options) for kind in ("none", "ram")],
    )
    for _ in range(4):
        expected = plain().tensors()
        for other in others:
            found = other().tensors()
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_batch_moves_extras_by_their_type() -> None:
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    extras = {"image": image, "instances": image.long(), "text": torch.ones(1, 2)}
    moved = Batch(extras=extras).to("cpu", torch.float64).extras
    assert {name: tensor.dtype for name, tensor in moved.items()} == {
        "image": torch.float64,
        "instances": torch.int64,
        "text": torch.float64,
    }
    assert moved["image"].flatten().tolist() == [-1, 1] and moved["instances"].flatten().tolist() == [0, 255]


def test_other_readers_give_them_too(root: Path) -> None:
    data = dataset(root, "masked", num_threads=2)
    assert sample_batch(data).extras.keys() == {"mask", "depth", "text"}
    for item, sample in samples_in_order(data, range(6)):
        assert isinstance(sample, Sample) and sample.extras["text"][0] == pytest.approx(item / 3)
    for part in split(data, 0.5, 0):
        assert [part.load(Key(0, item)).extras["text"][0].item() for item in range(3)] == pytest.approx(
            [int(Path(path).stem) / 3 for path in part.files]
        )


def test_images_of_different_sizes_are_named(root: Path) -> None:
    save(root / "depth" / "0.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"0\.png.*48x48 and 8x8"):
        dataset(root, "masked").load(Key(0, 0))
