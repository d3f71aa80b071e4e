"""Images with labels: class folders and the files of MNIST."""

import gzip
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i.data import BatchStream, ImageDataset, ImageError, Key
from tests.pictures import REAL, dataset, needs_data, numbered, numbers


def labelled(data: ImageDataset) -> list[tuple[int, int | None]]:
    samples = [data.load(Key(0, item)) for item in range(len(data))]
    images = torch.stack([sample.b for sample in samples if sample.b is not None])
    return list(zip(numbers(images), [sample.label for sample in samples], strict=True))


def idx(path: Path, array: np.ndarray, magic: int | None = None, compressed: bool = False) -> Path:
    content = struct.pack(f">{array.ndim + 1}I", magic or 0x800 + array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)
    return path


def write_idx(folder: Path, labels: list[int], prefix: str = "train", dash: str = "-", gz: bool = False) -> None:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None].repeat(3, 1).repeat(4, 2)
    for kind, array in ((f"images{dash}idx3", images), (f"labels{dash}idx1", np.array(labels, np.uint8))):
        idx(folder / f"{prefix}-{kind}-ubyte{'.gz' * gz}", array, compressed=gz)


@pytest.mark.parametrize("phase_folder", ["train", ""])
def test_folders_are_classes_in_natural_order(tmp_path: Path, phase_folder: str) -> None:
    for name, count, first in (("10", 2, 0), ("9", 1, 50), ("cat", 1, 60)):
        numbered(tmp_path / phase_folder / name, count, first)
    (tmp_path / phase_folder / "empty").mkdir()
    numbered(tmp_path / phase_folder / ".thumbnails", 1)
    data = dataset(tmp_path, "classes")
    assert data.classes == data.spec.classes == ("9", "10", "cat")
    assert labelled(data) == [(50, 0), (0, 1), (1, 1), (60, 2)]
    sample = data.load(Key(0, 0))
    assert sample.a is None and sample.path_b == data.files[0]


def test_the_folders_of_other_phases_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", "test/cat", "valA"):
        numbered(tmp_path / name, 1)
    assert dataset(tmp_path, "classes").classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        numbered(tmp_path / "train" / name, 1)
    assert dataset(tmp_path, "classes").classes == ("car", "train")


def test_no_class_folders_is_answered_with_what_is_there(tmp_path: Path) -> None:
    numbered(tmp_path / "test" / "cat", 1)
    with pytest.raises(ValueError) as caught:
        dataset(tmp_path, "classes")
    assert str(caught.value) == (
        f"--dataset_mode classes: no class folders with images in {tmp_path}, and no file train-images-idx3-ubyte "
        "(which holds test/)"
    )


def test_a_limit_takes_as_many_of_each_class(tmp_path: Path) -> None:
    for first, name in enumerate("abc"):
        numbered(tmp_path / name, 20 if name == "a" else 4, first=first * 50)
    data = dataset(tmp_path, "classes", max_dataset_size=7)
    assert len(data) == 7
    assert Counter(label for _, label in labelled(data)) == {0: 3, 1: 2, 2: 2}
    assert all(value // 50 == label for value, label in labelled(data))
    assert data.classes == ("a", "b", "c")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize(
    ("phase", "prefix"), [("train", "train"), ("test", "t10k"), ("val", "t10k"), ("emnist", "emnist")]
)
def test_files_in_the_format_of_mnist(tmp_path: Path, compressed: bool, dash: str, phase: str, prefix: str) -> None:
    write_idx(tmp_path, [3, 0, 1, 3], prefix, dash, compressed)
    data = dataset(tmp_path, "classes", phase=phase, out_channels=1)
    assert labelled(data) == [(0, 3), (1, 0), (2, 1), (3, 3)]
    assert data.classes == ("0", "1", "2", "3")
    image = data.load(Key(0, 0)).b
    assert image is not None and image.shape == (1, 3, 4)


def test_a_limit_on_mnist_files_takes_as_many_of_each_class(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 0, 0, 0, 1, 0, 1])
    assert labelled(dataset(tmp_path, "classes", max_dataset_size=4)) == [(0, 0), (4, 1), (1, 0), (6, 1)]


def test_labels_reach_the_batch(tmp_path: Path) -> None:
    write_idx(tmp_path, [2, 0, 1])
    batch = BatchStream(dataset(tmp_path, "classes", serial_batches=True), batch_size=3)()
    assert batch.label is not None and batch.label.dtype == torch.int64
    assert batch.label.tolist() == [2, 0, 1]
    assert numbers(batch.b) == [0, 1, 2]
    assert (batch.a, batch.paths_a) == (None, ())


def test_a_picture_of_a_file_is_named_by_its_number(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1])
    data = dataset(tmp_path, "classes", preprocess="crop", crop_size=(8,))
    with pytest.raises(ImageError, match=r"train-images-idx3-ubyte \(image 1\).*4x3"):
        data.load(Key(0, 1))


IMAGES = np.zeros((2, 4, 4), np.uint8)


def damage(path: Path, kind: str) -> None:
    if kind == "wrong magic":
        idx(path, IMAGES, magic=0x0D03)
    elif kind == "other dimensions":
        idx(path, np.zeros((2, 16), np.uint8))
    elif kind == "impossible sizes":  # their product is 2 ** 64
        path.write_bytes(struct.pack(">4I", 0x803, 2**31, 2**31, 4))
    elif kind == "without images":
        idx(path, IMAGES[:0])
    else:
        cut = {"empty": 0, "short header": 10, "truncated": -1}[kind]
        path.write_bytes(idx(path, IMAGES).read_bytes()[:cut])


NOT_IDX = "is not an idx file of 3-dimensional uint8 data"
DAMAGES = {
    "wrong magic": NOT_IDX,
    "other dimensions": NOT_IDX,
    "empty": NOT_IDX,
    "short header": NOT_IDX,
    "truncated": "is damaged: 31 bytes of data for a size of 2x4x4",
    "impossible sizes": "is damaged: 0 bytes of data for a size of 2147483648x2147483648x4",
    "without images": "is damaged: 0 bytes of data for a size of 0x4x4",
}


@pytest.mark.parametrize(("kind", "message"), DAMAGES.items())
def test_a_damaged_file_of_images_is_named(tmp_path: Path, kind: str, message: str) -> None:
    write_idx(tmp_path, [0, 1])
    damage(tmp_path / "train-images-idx3-ubyte", kind)
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte {message}"):
        dataset(tmp_path, "classes")


@pytest.mark.parametrize("position", [5, 20, 30])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_archive_is_named(tmp_path: Path, position: int, cut: bool) -> None:
    write_idx(tmp_path, list(range(200)), gz=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[position : None if cut else position + 8] = b"" if cut else b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz") as caught:
        dataset(tmp_path, "classes")
    assert "\n" not in str(caught.value)


def test_labels_must_fit_the_images(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1, 2])
    labels = idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="3 .*train-labels-idx1-ubyte 2 "):
        dataset(tmp_path, "classes")
    labels.unlink()
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte"):
        dataset(tmp_path, "classes")


@needs_data
def test_mnist() -> None:
    train, test = (dataset(REAL / "mnist", "classes", phase=phase, out_channels=1) for phase in ("train", "test"))
    assert (len(train), len(test)) == (60000, 10000)
    assert train.classes == tuple("0123456789")
    # the well-known beginnings: 5, 0, 4, 1, 9 and 7, 2, 1, 0, 4
    assert [train.load(Key(0, item)).label for item in range(5)] == [5, 0, 4, 1, 9]
    assert [test.load(Key(0, item)).label for item in range(5)] == [7, 2, 1, 0, 4]
    image = train.load(Key(0, 0)).b
    assert image is not None and image.shape == (1, 28, 28)
    assert (image.min(), image.max()) == (0, 255)


def test_channels_that_digits_cannot_have_are_an_error_of_one_line(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1])
    error = dataset(tmp_path, "classes", out_channels=2)[Key(0, 0)]
    assert isinstance(error, ImageError) and "has 1 channels, 2 are wanted" in str(error)
