"""Finding image files, naming them, and saying what there is in place of them."""

import os
from pathlib import Path

import pytest

from i2i.data import folder
from i2i.data.folder import common_stem, has_images, list_images
from tests.pictures import dataset, numbered


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def listed(root: Path, limit: int | None = None) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in list_images(root, limit)]


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "img10.png", "img2.png", "img1.png", "b/9.png", "b/100.png")
    assert listed(tmp_path) == ["b/9.png", "b/100.png", "img1.png", "img2.png", "img10.png"]
    assert listed(tmp_path, limit=2) == ["b/9.png", "b/100.png"]


@pytest.mark.parametrize("order", [["img01.png", "img1.png", "img001.png"], ["img1.png", "img001.png", "img01.png"]])
def test_the_order_does_not_depend_on_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    monkeypatch.setattr(folder.os, "walk", lambda *_, **__: iter([(str(tmp_path), [], order)]))
    assert listed(tmp_path) == ["img001.png", "img01.png", "img1.png"]


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    touch(
        tmp_path, "x.JPG", "deep/er/y.tiff", "._x.jpg", ".DS_Store", ".cache/z.png", "notes.txt", "jpg", "drawing.eps"
    )
    assert listed(tmp_path) == ["deep/er/y.tiff", "x.JPG"]


def test_a_folder_with_the_name_of_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png/b.png")
    assert listed(tmp_path) == ["a.png/b.png"]


def test_only_the_folder_itself_is_asked_without_recursion(tmp_path: Path) -> None:
    touch(tmp_path, "deep/x.png")
    assert has_images(tmp_path)
    assert not has_images(tmp_path, recursive=False)
    assert not has_images(tmp_path / "missing")


def test_links_are_followed_and_their_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.png", "data/y.png", "data/sub/z.png")
    data = tmp_path / "data"
    os.symlink(tmp_path / "elsewhere", data / "linked")
    os.symlink(tmp_path / "elsewhere" / "x.png", data / "x.png")
    os.symlink(data, data / "sub" / "back")
    os.symlink(data / "sub", tmp_path / "elsewhere" / "forth")
    found = listed(data)
    assert sorted(Path(name).name for name in found) == ["x.png", "x.png", "y.png", "z.png"]
    assert "linked/x.png" in found


NASTY = [
    ["x.png", "x.jpg", "x.png.bmp"],
    ["X.png", "x.png"],
    ["X.png", "x.png", "x.png_2.jpg"],
    ["x.png", "x.PNG", "X.png", "x.png_2.png", "x.png_3.png", "X.PNG_4.png"],
    ["a/x.png", "A/x.png", "a/x.jpg", "a/x.png.jpg"],
    ["straße.png", "STRASSE.png"],
    ["v1.2.png", "v1.3.png", "v1.png", "v1.jpg"],
    ["x.png", "x.png/x.png", "x.jpg", "x.png/x.jpg"],
]


@pytest.mark.parametrize("files", [*NASTY, *(names[::-1] for names in NASTY)])
def test_no_two_files_share_a_name_in_the_results(files: list[str]) -> None:
    names = common_stem([f"root/{name}" for name in files], "root")
    assert len({name.casefold() for name in names}) == len(files)
    assert not any(".." in Path(name).parts or os.path.isabs(name) for name in names)
    plain = [os.path.splitext(name)[0] for name in files]
    for name, stem in zip(names, plain, strict=True):
        alone = [other.casefold() for other in plain].count(stem.casefold()) == 1
        assert (name == stem) == alone


def test_names_keep_the_subfolders() -> None:
    assert common_stem(["r/a.png", "r/s/b.tar.jpg"], "r") == ["a", "s/b.tar"]
    assert common_stem(["r/x.png", "r/x.jpg"], "r") == ["x.png", "x.jpg"]


def test_a_missing_folder_is_answered_with_what_is_there(tmp_path: Path) -> None:
    numbered(tmp_path / "testA", 1)
    numbered(tmp_path / "testB", 1)
    with pytest.raises(ValueError) as caught:
        dataset(tmp_path, "aligned")
    assert str(caught.value) == (
        f"--dataset_mode aligned: no images in {tmp_path}/train (which does not exist; {tmp_path} holds testA/, testB/)"
    )


@pytest.mark.parametrize(
    ("mode", "layout", "fitting"),
    [
        ("unaligned", ["train/x.png"], "--dataset_mode aligned would fit"),
        ("unaligned", ["x.png", "notes.txt"], "--dataset_mode single would fit"),
        ("unaligned", ["train/cat/x.png"], "--dataset_mode classes would fit"),
        ("aligned", ["cat/x.png", "dog/x.png"], "--dataset_mode classes would fit"),
        ("aligned", ["train-images.idx3-ubyte"], "--dataset_mode classes would fit"),
        ("classes", ["trainA/x.png", "trainB/x.png"], "--dataset_mode unaligned would fit"),
        ("classes", ["x.png"], "--dataset_mode single would fit"),
    ],
)
def test_the_message_names_the_mode_that_fits(tmp_path: Path, mode: str, layout: list[str], fitting: str) -> None:
    touch(tmp_path, *layout)
    with pytest.raises(ValueError, match=fitting) as caught:
        dataset(tmp_path, mode)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_answered_with_its_contents(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train/{number}.txt" for number in range(20)))
    with pytest.raises(ValueError, match=r"train .*0\.txt.*, \.\.\..*train/"):
        dataset(tmp_path, "aligned")
    with pytest.raises(ValueError, match=r"train/"):
        dataset(tmp_path, "single")


def test_one_of_two_folders_is_not_enough(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 1)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(ValueError, match=r"trainB .*nothing"):
        dataset(tmp_path, "unaligned")


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single", "classes"])
def test_a_data_root_that_is_not_there_is_named(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match=f"--dataroot {tmp_path}/nowhere"):
        dataset(tmp_path / "nowhere", mode)
