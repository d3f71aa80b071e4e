"""Tar files of images in the layout of WebDataset, and datasets/make_shards.py."""

import io
import json
import multiprocessing
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from i2i.data import ImageDataset, ImageError, Key, Sample, shards
from i2i.data.files import read_bytes
from i2i.data.order import EndlessOrder
from tests.pictures import dataset, noise, numbered, save
from tests.test_data_classes import write_idx

DATASETS = Path(__file__).parents[1] / "datasets"


def png(number: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def write_tar(path: Path, *names: str, **contents: bytes) -> Path:
    """Images under `names`, each numbered by its place, and other files by name with `__` for the dot."""
    members = {name: png(number) for number, name in enumerate(names)}
    members |= {name.replace("__", "."): content for name, content in contents.items()}
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def members(paths: Sequence[str | None]) -> list[str | None]:
    return [path if path is None else path.split("::")[1] for path in paths]


@pytest.fixture
def make_shards(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DATASETS))
    import make_shards

    return make_shards


def pack(make_shards: Any, root: Path, mode: str, *arguments: str) -> str:
    """Shards of up to three samples in `root/shards`, by the command line; the --dataroot of them."""
    flags = ["--dataset_mode", mode, "--max_count", "3", "--in_order", *arguments]
    make_shards.main([str(root), str(root / "shards"), *flags])
    return str(root / "shards" / "train-*.tar")


def samples(data: ImageDataset) -> list[Sample]:
    return [data.load(Key(0, item)) for item in range(len(data))]


def assert_same_samples(first: ImageDataset, second: ImageDataset) -> None:
    assert len(first) == len(second) > 3
    assert first.classes == second.classes
    for one, other in zip(samples(first), samples(second), strict=True):
        assert one.label == other.label
        for domain in ("a", "b"):
            expected, image = getattr(one, domain), getattr(other, domain)
            assert (expected is None and image is None) or torch.equal(expected, image)


FOLDERS = {
    "aligned": ("train",),
    "two_folders": ("trainA", "trainB"),
    "conditions": ("train/edges", "train/Depth", "train/B"),
    "unaligned": ("trainA", "trainB"),
    "single": ("",),
    "classes": ("train/9", "train/10"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "conditions": {"conditions": ("edges", "Depth")},
    "unaligned": {"serial_batches": True},
}


@pytest.mark.parametrize("layout", FOLDERS)
def test_shards_give_the_samples_of_the_folder(tmp_path: Path, make_shards: Any, layout: str) -> None:
    for seed, folder in enumerate(FOLDERS[layout]):
        for number in range(7 - seed * (layout == "unaligned")):
            extension = "png" if number % 2 else "webp"
            save(tmp_path / "data" / folder / f"{number}.{extension}", noise(8, 6, 100 * seed + number))
    mode = layout if layout in ("unaligned", "single", "classes") else "aligned"
    options = OPTIONS.get(layout, {})
    flags = ["--conditions", *options["conditions"]] if "conditions" in options else []
    pattern = pack(make_shards, tmp_path / "data", mode, *flags)
    found = [dataset(Path(root), mode, **options) for root in (str(tmp_path / "data"), pattern)]
    assert_same_samples(*found)
    assert len(found[1].columns.groups) >= 3 or layout == "single"


def test_files_are_copied_as_they_are(tmp_path: Path, make_shards: Any) -> None:
    files = numbered(tmp_path / "train", 4)
    files[3].write_bytes(b"not an image, which a check will tell")
    table = shards.read_shards(pack(make_shards, tmp_path, "aligned"))
    assert [read_bytes(str(path)) for path in table.files["pair"]] == [path.read_bytes() for path in files]
    assert table.groups == [3, 1]


def test_images_of_mnist_become_png_files(tmp_path: Path, make_shards: Any) -> None:
    write_idx(tmp_path, [5, 0, 4, 1, 9])
    folder = dataset(tmp_path, "classes", out_channels=1)
    packed = dataset(Path(pack(make_shards, tmp_path, "classes")), "classes", out_channels=1)
    for one, other in zip(samples(folder), samples(packed), strict=True):
        assert one.b is not None and other.b is not None and torch.equal(one.b, other.b)
        assert folder.classes[one.label or 0] == packed.classes[other.label or 0]


def test_samples_are_mixed_by_the_seed_alone(tmp_path: Path, make_shards: Any) -> None:
    numbered(tmp_path / "train" / "cat", 30)
    numbered(tmp_path / "train" / "dog", 30, first=30)
    contents = []
    for out, seed in (("one", "0"), ("two", "0"), ("three", "1")):
        make_shards.main([str(tmp_path), str(tmp_path / out), "--dataset_mode", "classes", "--shuffle", seed])
        contents.append((tmp_path / out / "train-000000.tar").read_bytes())
    assert contents[0] == contents[1] != contents[2]
    labels = shards.read_shards(str(tmp_path / "one" / "train-000000.tar")).labels
    assert labels is not None and Counter(labels) == {"cat": 30, "dog": 30}
    assert 5 < Counter(labels[:30])["cat"] < 25


def test_a_second_phase_has_the_class_indices_of_the_first(tmp_path: Path, make_shards: Any) -> None:
    for name in ("train/cat", "train/dog", "test/dog", "val/emu"):
        numbered(tmp_path / name, 1)
    pack(make_shards, tmp_path, "classes")
    pack(make_shards, tmp_path, "classes", "--phase", "test")
    assert json.loads((tmp_path / "shards" / "classes.json").read_text()) == ["cat", "dog"]
    path = str(tmp_path / "shards" / "test-000000.tar")
    assert shards.read_member(f"{path}::000000.cls") == b"1"
    assert shards.read_shards(path).labels == ["dog"]
    with pytest.raises(ValueError, match="classes.json.*emu"):
        make_shards.class_order(dataset(tmp_path, "classes", phase="val"), tmp_path / "shards")


def test_shards_are_never_overwritten_and_appear_complete(tmp_path: Path, make_shards: Any) -> None:
    files = numbered(tmp_path / "train", 7)
    out = tmp_path / "shards"
    (out / "train.partial").mkdir(parents=True)
    (out / "train.partial" / "000009.tar").write_bytes(b"of a run that was killed")
    data = dataset(tmp_path, "aligned")
    files[5].unlink()
    with pytest.raises(FileNotFoundError):
        make_shards.make_shards(data, out, max_size=1, max_count=100, seed=None)
    assert list(out.iterdir()) == []
    files[5].write_bytes(b"there again")
    made = make_shards.make_shards(data, out, max_size=1, max_count=100, seed=None)
    assert sorted(out.iterdir()) == made and len(made) == 7
    with pytest.raises(ValueError, match=r"train-000000.tar"):
        make_shards.make_shards(data, out, max_size=1, max_count=100, seed=None)


def test_the_command_names_the_dataroot_and_complains_in_one_line(tmp_path: Path) -> None:
    numbered(tmp_path / "100% #1" / "train", 3)
    script, root, out = DATASETS / "make_shards.py", tmp_path / "100% #1", tmp_path / "100% #1" / "out"
    command = [sys.executable, str(script), str(root), str(out), "--dataset_mode", "aligned", "--max_count", "1"]
    made = subprocess.run(command, capture_output=True, text=True)
    pattern = f"{out}/train-{{000000..000002}}.tar"
    assert made.stdout == f"3 shards: --dataset_mode aligned --dataroot '{pattern}'\n", made.stderr
    assert shards.expand(pattern) == [f"{out}/train-00000{number}.tar" for number in range(3)]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "train-000000.tar" in again.stderr


def test_webdataset_reads_what_make_shards_writes(tmp_path: Path, make_shards: Any) -> None:
    numbered(tmp_path / "train" / "cat", 2)
    numbered(tmp_path / "train" / "dog", 3, first=2)
    pack(make_shards, tmp_path, "classes")
    pattern = str(tmp_path / "shards" / "train-{000000..000001}.tar")
    read = list(webdataset.WebDataset(pattern, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in read] == [f"{number:06d}" for number in range(5)]
    assert [sample["png"].getpixel((0, 0))[0] for sample in read] == [0, 1, 2, 3, 4]
    assert [sample["cls"] for sample in read] == [0, 0, 1, 1, 1]


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    image = np.full((4, 4, 3), 9, np.uint8)
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        writer.write({"__key__": "one", "a.png": image, "b.jpg": image, "cls": 7, "json": {"label": "no"}})
        writer.write({"__key__": "sub/two", "a.png": image, "cls": 12, "txt": "a caption", "npy": image})
    table = shards.read_shards(str(tmp_path / "x.tar"))
    assert {name: members(files) for name, files in table.files.items()} == {
        "a": ["one.a.png", "sub/two.a.png"],
        "b": ["one.b.jpg", None],
        "image": [None, "sub/two.npy"],
    }
    assert table.labels == ["7", "12"] and table.groups == [2]
    assert np.load(io.BytesIO(read_bytes(str(table.files["image"][1]))))[0, 0, 0] == 9


def test_names_are_split_as_webdataset_splits_them(tmp_path: Path) -> None:
    names = ("./1.A.PNG", "./1.b.png", "v.1/2.seg.map.png", "._1.png", "__meta__/3.png", "png", ".png", "4.txt")
    path = write_tar(tmp_path / "x.tar", *names)
    table = shards.read_shards(str(path))
    assert {name: members(files) for name, files in table.files.items()} == {
        "a": ["./1.A.PNG", None],
        "b": ["./1.b.png", None],
        "seg.map": [None, "v.1/2.seg.map.png"],
    }
    theirs = [sample["__key__"] for sample in webdataset.WebDataset(str(path), shardshuffle=False)]
    assert theirs[:2] == ["./1", "v.1/2"]


def test_the_files_of_a_sample_need_not_lie_together(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", "1.a.png", "2.a.png", "1.b.png", "2.b.png")
    files = shards.read_shards(str(path)).files
    assert members(files["a"]) == ["1.a.png", "2.a.png"] and members(files["b"]) == ["1.b.png", "2.b.png"]


def test_one_name_in_two_shards_is_two_samples(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_tar(tmp_path / f"{name}.tar", "1.png")
    assert shards.read_shards(str(tmp_path / "?.tar")).groups == [1, 1]


def test_two_images_of_one_field_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", "1.a.png", "1.a.jpg")
    with pytest.raises(ValueError, match=r"x.tar::1.a.png and .*x.tar::1.a.jpg.*'a'"):
        shards.read_shards(str(tmp_path / "x.tar"))


def test_labels_are_texts_or_indices_into_the_list_beside(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar", "1.png", "2.png", "3.png", **{"1__cls": b"1\n", "2__cls": b"0", "3__cls": b"1"}
    )
    assert shards.read_shards(str(path)).labels == ["1", "0", "1"]
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    assert shards.read_shards(str(path)).labels == ["dog", "cat", "dog"]
    (tmp_path / "classes.json").write_text('["cat"]')
    with pytest.raises(ValueError, match=r"x.tar::1.png .*1.*classes.json"):
        shards.read_shards(str(path))


@pytest.mark.parametrize("content", ['{"cat": 0}', "[0, 1]", "cat, dog"])
def test_a_list_of_classes_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    write_tar(tmp_path / "x.tar", "1.png", **{"1__cls": b"0"})
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=r"classes.json"):
        shards.read_shards(str(tmp_path / "x.tar"))


def test_labels_may_stand_in_json(tmp_path: Path) -> None:
    contents = {"1__json": b'{"label": "cat", "width": 4}', "2__json": b'{"label": 3}'}
    assert shards.read_shards(str(write_tar(tmp_path / "x.tar", "1.png", "2.png", **contents))).labels == ["cat", "3"]
    other = {"1__json": b'{"caption": "a cat"}', "2__json": b"[]"}
    assert shards.read_shards(str(write_tar(tmp_path / "y.tar", "1.png", "2.png", **other))).labels is None
    write_tar(tmp_path / "z.tar", "1.png", **{"1__json": b"{"})
    with pytest.raises(ValueError, match="z.tar::1.json"):
        shards.read_shards(str(tmp_path / "z.tar"))


def test_a_sample_without_label_among_others_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", "1.png", "2.png", **{"1__cls": b"0"})
    with pytest.raises(ValueError, match=r"x.tar::2.png.*label"):
        shards.read_shards(str(tmp_path / "x.tar"))


def test_patterns_stand_for_files_in_natural_order(tmp_path: Path) -> None:
    for name in ("s-9", "s-10", "s-11", "t-0"):
        write_tar(tmp_path / f"{name}.tar", "1.png")

    def expanded(pattern: str) -> list[str]:
        return [Path(path).stem for path in shards.expand(f"{tmp_path}/{pattern}")]

    assert expanded("s-{9..11}.tar") == expanded("s-*.tar") == ["s-9", "s-10", "s-11"]
    assert expanded("{t-0,s-9}.tar") == expanded(f"t-0.tar::{tmp_path}/s-9.tar") == ["t-0", "s-9"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "set [1].tar", "1.png")
    assert shards.expand(str(path)) == [str(path)]


@pytest.mark.parametrize(
    ("dataroot", "message"),
    [
        ("s-{0..4}.tar", r"--dataroot: 4 of 5 .*s-1.tar, s-2.tar, s-3.tar and 1 more$"),
        ("t-*.tar", r"--dataroot: 1 of 1 .*t-\*.tar$"),
        ("s-{0..4.tar", r"--dataroot s-\{0..4.tar"),
        ("${NONE}/s.tar", r"--dataroot \$\{NONE\}/s.tar"),
        ("https://host/s-{0..4}.tar", "--dataroot https://.*download"),
        ("s3://bucket/s.tar", "download"),
        ("pipe:aws s3 cp s3://bucket/s.tar -", "download"),
    ],
)
def test_shards_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataroot: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tar(tmp_path / "s-0.tar", "1.png")
    assert shards.is_shards(dataroot)
    with pytest.raises(ValueError, match=message) as caught:
        shards.expand(dataroot)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataroot", ["data", "/data/x.tar/", "list.csv", "C:\\data", "x.tar::1.png"])
def test_other_data_are_no_shards(dataroot: str) -> None:
    assert not shards.is_shards(dataroot)


def test_shards_without_images_are_answered_with_what_they_hold(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", **{"1__txt": b"text", "2__cls": b"1"})
    with pytest.raises(ValueError, match=r"x.tar.*1.txt, 2.cls"):
        shards.read_shards(str(path))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_truncated_shard_is_noticed_wherever_it_ends(tmp_path: Path, kind: int) -> None:
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w", format=kind) as tar:
        for number in range(3):
            tar.add(save(tmp_path / "x.png", noise(16, 16, number)), f"{'n' * 90}{number}.png")
        end = tar.offset
    content = whole.read_bytes()
    lengths = [*range(0, end + 512, 256), *(end - step for step in (1, 2, 511, 513))]
    for length in lengths:
        (tmp_path / f"{length}.tar").write_bytes(content[:length])
        with pytest.raises(ImageError, match=rf"{length}.tar") as caught:
            shards.read_shards(str(tmp_path / f"{length}.tar"))
        assert "\n" not in str(caught.value)
    (tmp_path / "end.tar").write_bytes(content[: end + 512])
    assert shards.read_shards(str(tmp_path / "end.tar")).groups == [3]


@pytest.mark.parametrize("position", [0, 200, 1024, 1500, 2100])
def test_a_shard_with_a_damaged_header_is_refused(tmp_path: Path, position: int) -> None:
    path = write_tar(tmp_path / "x.tar", "1.png", "2.png", "3.png")
    content = bytearray(path.read_bytes())  # each image takes a block of 512 bytes for its header and one for itself
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x.tar"):
        shards.read_shards(str(path))


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.add(save(tmp_path / "1.png", noise(4, 4)), "1.png")
    with pytest.raises(ImageError, match="x.tar.*compression"):
        shards.read_shards(str(tmp_path / "x.tar"))


def test_members_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", "1.png")
    with pytest.raises(ImageError, match=r"x.tar::2.png.*member"):
        read_bytes(f"{path}::2.png")
    path.unlink()
    with pytest.raises(ImageError, match=r"x.tar::1.png.*No such file"):
        read_bytes(f"{path}::1.png")


def test_a_shard_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", "1.png")
    assert read_bytes(f"{path}::1.png") == png(0)
    write_tar(path, "0.png", "1.png")
    assert read_bytes(f"{path}::1.png") == png(1)


class Contents(Dataset):
    """The bytes of members, for processes to read."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __getitem__(self, key: Key) -> tuple[int, bytes]:
        return key.item, read_bytes(self.paths[key.item])


def write_many(folder: Path, count: int = 12, per_shard: int = 4) -> tuple[list[str], Mapping[int, bytes]]:
    """Members of several shards, and what they hold."""
    contents = {number: np.random.default_rng(number).bytes(70_000) for number in range(count)}
    for first in range(0, count, per_shard):
        named = {f"{number}__png": contents[number] for number in range(first, first + per_shard)}
        write_tar(folder / f"s-{first // per_shard}.tar", **named)
    table = shards.read_shards(str(folder / "s-*.tar"))
    assert table.groups == [per_shard] * (count // per_shard)
    return [str(path) for path in table.files["image"]], contents


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_members_in_any_order(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    paths, contents = write_many(tmp_path)
    order = [Key(0, int(item)) for item in np.random.default_rng(0).permutation(np.arange(36) % 12)]
    loader = DataLoader(Contents(paths), batch_size=None, sampler=order, num_workers=2, multiprocessing_context=method)
    read = list(loader)
    assert [item for item, _ in read] == [key.item for key in order]
    assert all(content == contents[item] for item, content in read)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_their_workers_read_every_sample_once_an_epoch(tmp_path: Path, workers: int) -> None:
    paths, contents = write_many(tmp_path)
    read: Counter[bytes] = Counter()
    for rank in range(3):
        order = EndlessOrder(len(paths), 0, rank=rank, ranks=3, groups=[4, 4, 4])
        loader = iter(DataLoader(Contents(paths), batch_size=None, sampler=order, num_workers=workers))
        read.update(next(loader)[1] for _ in range(4))
    assert read == Counter(contents.values())


def test_shards_with_some_of_the_classes_keep_all_indices(make_shards: Any, tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat"):
        save(tmp_path / "data" / "train" / name / "x.png", noise(8, 8))
    save(tmp_path / "data" / "test" / "cat" / "x.png", noise(8, 8))
    pack(make_shards, tmp_path / "data", "classes")
    pack(make_shards, tmp_path / "data", "classes", "--phase", "test")
    data = dataset(tmp_path / "data" / "shards" / "test-*.tar", "classes")
    assert data.classes == ("ant", "bee", "cat")
    sample = data.load(Key(0, 0))
    assert sample.label == 2


def test_groups_are_those_of_the_rows_that_are_left(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", "0.jpg", "1.jpg", **{f"{number}__cls": b"0" for number in range(3)})
    write_tar(tmp_path / "1.tar", "3.jpg", "4.jpg", **{f"{number}__cls": b"1" for number in (3, 4)})
    data = dataset(tmp_path / "*.tar", "classes")
    assert len(data) == 4 == sum(data.columns.groups)
    derived = dataset(tmp_path / "*.tar", "aligned", derive="grey")
    assert derived.columns.groups == [2, 2]


def test_single_images_of_a_phase_are_packed_without_the_others(make_shards: Any, tmp_path: Path) -> None:
    numbered(tmp_path / "train", 4)
    numbered(tmp_path / "test", 3)
    assert len(dataset(Path(pack(make_shards, tmp_path, "single")), "single")) == 4
