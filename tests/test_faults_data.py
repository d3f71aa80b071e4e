"""Data that used to be lost or mangled in silence: masks, bands, files of other kinds, nodata, and odd folders."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import BatchStream, DataConfig, DataSpec, ImageError, Key, Sample, build_dataset
from i2i.data.domain import Domain, held_by
from i2i.data.folder import list_images
from i2i.data.images import Reader
from i2i.data.images.writing import write_image
from i2i.data.layouts.classes import ClassDataset
from i2i.models import build_model
from i2i.models.pix2pix import Pix2Pix
from i2i.tools.check import check
from i2i.translate import TestConfig, translate_dataset
from i2i.translate.translator import Translator
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
SIZE = 16
PLAIN: dict[str, Any] = {"load_size": (SIZE,), "crop_size": (SIZE,), "num_threads": 0, "augment_preset": "none"}
tifffile = pytest.importorskip("tifffile")


def noise(*shape: int, kind: Any = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(kind)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def config(root: Path, **options: Any) -> DataConfig:
    return DataConfig(**{"dataroot": str(root), "dataset_mode": "aligned"} | PLAIN | options)


def found(report: Any) -> dict[str, Any]:
    return {finding.name: finding for finding in report.findings}


# Masks of 0 and 255


def masks(root: Path, *values: int, phase: str = "train", count: int = 4) -> Path:
    """Photos in A, and maps of `values` in B, of which the first is black all over."""
    for number in range(count):
        save(root / f"{phase}A" / f"{number}.png", noise(SIZE, SIZE, 3, seed=number))
        pixels = np.resize(np.array(values, np.uint8), (SIZE, SIZE)) if number else np.zeros((SIZE, SIZE), np.uint8)
        save(root / f"{phase}B" / f"{number}.png", pixels)
    return root


def test_255_of_binary_masks_is_class_1(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        dataset = build_dataset(config(masks(tmp_path, 0, 255, 255), out_classes=2))
        sample = dataset[Key(0, 1)]
    assert isinstance(sample, Sample) and sample.b is not None
    expected = np.asarray(Image.open(tmp_path / "trainB" / "1.png")) == 255
    np.testing.assert_array_equal(sample.b[1].numpy() == 255, expected)
    np.testing.assert_array_equal(sample.b[0].numpy() == 255, ~expected)
    assert "255" in caplog.text and "--out_classes" in caplog.text


def test_maps_with_255_among_other_classes_keep_it_as_none(tmp_path: Path) -> None:
    dataset = build_dataset(config(masks(tmp_path, 0, 1, 255), out_classes=2))
    sample = dataset[Key(0, 1)]
    assert isinstance(sample, Sample) and sample.b is not None
    void = np.asarray(Image.open(tmp_path / "trainB" / "1.png")) == 255
    assert (sample.b.numpy()[:, void] == 0).all()


def test_a_mask_goes_to_a_file_and_back(tmp_path: Path) -> None:
    domain = build_dataset(config(masks(tmp_path, 0, 255), out_classes=2)).domains[1][0]
    assert Domain.stored(list(domain)) == domain
    classes = torch.tensor([[0, 1], [1, 1]])
    image = torch.stack([classes == 0, classes == 1]).float() * 2 - 1
    path = write_image(image, tmp_path / "out", domain)
    assert np.asarray(Image.open(path)).tolist() == [[0, 255], [255, 255]]


def test_check_names_masks_and_classes_that_never_occur(tmp_path: Path) -> None:
    root = masks(tmp_path / "masks", 0, 255)
    unasked = found(check(config(root), 0))
    assert "--out_classes 2" in unasked["masks"].title
    assert "binary_masks" in found(check(config(root, out_classes=2), 0))
    root = masks(tmp_path / "classes", 0, 2)
    assert "has class 1 " in found(check(config(root, out_classes=3), 0))["missing_classes"].title


# Bands and alpha


def bands(path: Path, channels: int, kind: str = "uint8", **tags: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = noise(SIZE, SIZE, channels, kind=kind)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        photometric = "rgb" if channels > 2 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, planarconfig="contig", **tags)
    return path


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", ["x.tif", "x.npy"])
@pytest.mark.parametrize(("channels", "wanted"), [(2, 1), (2, 3), (4, 3), (4, 1), (3, 4)])
def test_bands_are_not_taken_for_alpha(tmp_path: Path, name: str, kind: str, channels: int, wanted: int) -> None:
    path = bands(tmp_path / name, channels, kind, **({"extrasamples": [0]} if channels in (2, 4) else {}))
    with pytest.raises(ImageError, match=f"--in_channels/--out_channels {channels}"):
        Reader().pixels(str(path), wanted)
    assert Reader().pixels(str(path), channels).shape == (SIZE, SIZE, channels)
    assert not Reader().info(str(path)).alpha


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("extra", [1, 2])
def test_what_a_tiff_calls_alpha_is_alpha(tmp_path: Path, kind: str, extra: int) -> None:
    path = bands(tmp_path / "x.tif", 4, kind, extrasamples=[extra])
    assert Reader().info(str(path)).alpha and Reader().pixels(str(path), 3).shape == (SIZE, SIZE, 3)
    if extra == 2:  # alpha that colours are not multiplied with
        np.testing.assert_array_equal(Reader().pixels(str(path), 3), tifffile.imread(path)[..., :3])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_png_has_alpha(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "x.png", noise(SIZE, SIZE, len(mode)))
    assert Reader().info(str(path)).alpha and Reader().pixels(str(path), 3).shape[2] == 3


def test_check_does_not_call_a_band_transparency(tmp_path: Path) -> None:
    for number in range(2):
        bands(tmp_path / "trainA" / f"{number}.tif", 4, extrasamples=[0])
        bands(tmp_path / "trainB" / f"{number}.tif", 4, extrasamples=[2])
    findings = found(check(config(tmp_path, dataset_mode="unaligned"), 0))
    assert {Path(item.paths[0]).parent.name for item in findings["unfit"].items} == {"trainA"}
    assert {Path(item.paths[0]).parent.name for item in findings["alpha"].items} == {"trainB"}


def test_a_fourth_band_is_coloured_stored_and_written_as_one(tmp_path: Path) -> None:
    for number in range(2):
        bands(tmp_path / "trainA" / f"{number}.tif", 4, extrasamples=[0])
        bands(tmp_path / "trainB" / f"{number}.tif", 4, extrasamples=[2])
    options: dict[str, Any] = {"dataset_mode": "unaligned", "in_channels": 4, "out_channels": 4}
    (a,), (b,) = build_dataset(config(tmp_path, **options)).domains
    assert (a.alpha, b.alpha) == (False, True)
    images = torch.rand(4, 3, 5)
    assert write_image(images, tmp_path / "a", a).suffix == ".tif"
    assert write_image(images, tmp_path / "b", b).suffix == ".png"
    assert Domain.stored([4, "uint8", 0.0, 255.0]).alpha  # what an older checkpoint means


# Files of other kinds


def test_files_that_are_not_read_are_counted_by_extension(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        save(tmp_path / "trainA" / f"{number}.png", noise(SIZE, SIZE, 3))
        save(tmp_path / "trainB" / f"{number}.png", noise(SIZE, SIZE, 3, seed=1))
    for name in ("1.dcm", "2.dcm", "3.nii.gz", "raw.cr2", "none"):
        (tmp_path / "trainA" / name).write_bytes(b"x")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "recipe.json", "README"):
        (tmp_path / "trainA" / name).write_bytes(b"x")
    save(tmp_path / "trainA" / "@eaDir" / "small.png", noise(4, 4, 3))
    with caplog.at_level(logging.WARNING):
        dataset = build_dataset(config(tmp_path, dataset_mode="unaligned"))
    assert len(dataset.files) == 2
    assert sorted(Path(path).name for path in dataset.passed_over) == ["1.dcm", "2.dcm", "3.nii.gz", "none", "raw.cr2"]
    for word in ("2 of .dcm", "1 of .gz", "1 of .cr2", "no extension"):
        assert word in caplog.text
    finding = found(check(config(tmp_path, dataset_mode="unaligned"), 0))["passed_over"]
    assert len(finding.items) == 5 and "2 of .dcm" in finding.title


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "classes", "single"])
def test_every_layout_names_them(tmp_path: Path, mode: str) -> None:
    places = {"aligned": "train", "unaligned": "trainA", "classes": "train/x", "single": ""}
    for folder in {places[mode], "trainB" if mode == "unaligned" else places[mode]}:
        save(tmp_path / folder / "1.png", noise(SIZE, 2 * SIZE, 3))
        (tmp_path / folder / "2.dcm").write_bytes(b"x")
    assert {Path(path).name for path in build_dataset(config(tmp_path, dataset_mode=mode)).passed_over} == {"2.dcm"}


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "1.png", noise(SIZE, SIZE, 3))
    closed = tmp_path / "closed"
    save(closed / "2.png", noise(SIZE, SIZE, 3))
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == closed:  # root, who may run the tests, can open every folder
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    passed_over: list[str] = []
    assert len(list_images(tmp_path, passed_over=passed_over)) == 1
    assert passed_over == [str(closed)]


def test_heic_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    pixels = np.kron(noise(4, 4, 3), np.ones((16, 16, 1))).astype(np.uint8)
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "x.heic", quality=95)
    assert list_images(tmp_path) == [str(tmp_path / "x.heic")]
    assert np.abs(Reader().pixels(str(tmp_path / "x.heic"), 3).astype(int) - pixels).mean() < 8


def test_avif_is_read(tmp_path: Path) -> None:
    pixels = np.kron(noise(4, 4, 3), np.ones((16, 16, 1))).astype(np.uint8)
    try:
        Image.fromarray(pixels).save(tmp_path / "x.avif", quality=95)
    except (KeyError, ValueError, OSError):
        pytest.skip("this Pillow has no AVIF")
    assert list_images(tmp_path) == [str(tmp_path / "x.avif")]
    assert np.abs(Reader().pixels(str(tmp_path / "x.avif"), 3).astype(int) - pixels).mean() < 8


@pytest.mark.parametrize(("name", "channels"), [("RGB", 3), ("RGBA", 4), ("Z", 1)])
def test_exr_is_read(tmp_path: Path, name: str, channels: int) -> None:
    exr = pytest.importorskip("OpenEXR", reason="the extra exr is not installed")
    pixels = np.random.default_rng(0).random((5, 7, channels), np.float32) * 3
    plane = pixels if channels > 1 else pixels[:, :, 0]
    exr.File({"type": exr.scanlineimage}, {name: np.ascontiguousarray(plane)}).write(str(tmp_path / "x.exr"))
    assert list_images(tmp_path) == [str(tmp_path / "x.exr")]
    info = Reader().info(str(tmp_path / "x.exr"))
    assert (info.width, info.height, info.channels, info.kind) == (7, 5, channels, "float32")
    np.testing.assert_array_equal(Reader().pixels(str(tmp_path / "x.exr"), channels), pixels)


# nodata and geography

TAGS = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0), True),
    (34735, "H", 4, (1, 1, 0, 0), True),
]


def elevation(path: Path, nodata: str = "-9999", kind: str = "float32", size: int = SIZE) -> np.ndarray:
    """A hill with a hole in it; gives its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.linspace(100, 200, size * size).reshape(size, size).astype(kind)
    pixels[3:9, 4:8] = float(nodata)
    text = (42113, "s", 0, nodata, True)
    tifffile.imwrite(path, pixels, photometric="minisblack", extratags=[*TAGS, text])
    return pixels


@pytest.mark.parametrize(("nodata", "kind"), [("-9999", "float32"), ("nan", "float32"), ("0", "uint16")])
def test_nodata_is_the_low_end_of_the_range(tmp_path: Path, nodata: str, kind: str) -> None:
    for folder in "AB":
        for number in range(2):
            elevation(tmp_path / f"train{folder}" / f"{number}.tif", nodata, kind)
    options: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "in_range": (50, 250), "out_range": (50, 250)}
    dataset = build_dataset(config(tmp_path, preprocess="none", **options))
    sample = dataset[Key(0, 0)]
    assert isinstance(sample, Sample) and sample.a is not None
    hole = np.zeros((SIZE, SIZE), bool)
    hole[3:9, 4:8] = True
    values = sample.a[0].numpy()
    assert (values[hole] == -1).all() and np.isfinite(values).all()
    assert values[~hole].min() == pytest.approx((100 - 50) / 100 - 1, abs=1e-5)


@pytest.mark.parametrize("nodata", ["-9999", "nan"])
def test_check_leaves_nodata_out_of_its_advice(tmp_path: Path, nodata: str) -> None:
    for folder in "AB":
        for number in range(2):
            elevation(tmp_path / f"train{folder}" / f"{number}.tif", nodata)
    report = check(config(tmp_path, in_channels=1, out_channels=1), 0)
    advised = {advice.name: advice.value for advice in report.advice}
    assert 0 <= advised["in_range"][0] <= 100 and 200 <= advised["in_range"][1] <= 300
    assert "nodata" in found(report)
    assert report.columns[0].low == 100


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_result_lies_where_its_input_lies(tmp_path: Path, kind: str) -> None:
    if kind == "float32":
        elevation(tmp_path / "in" / "hill.tif")
    else:
        tifffile.imwrite(_made(tmp_path / "in" / "hill.tif"), noise(SIZE, SIZE, 3), photometric="rgb", extratags=TAGS)
    channels = 1 if kind == "float32" else 3
    options: dict[str, Any] = {"in_channels": channels, "out_channels": channels, "preprocess": "none"}
    ranges = {"in_range": (0, 300), "out_range": (0, 300)} if kind == "float32" else {}
    dataset = build_dataset(config(tmp_path / "in", dataset_mode="single", **options | ranges))
    domain = Domain(1, "float32", 0, 300) if kind == "float32" else Domain()
    made = Pix2Pix.Config(**tiny.TRANSLATION | {"generator": "unet", "num_downs": 3})
    model = build_model("pix2pix", made, DataSpec(channels, channels, a=(domain,), b=(domain,)))
    translate_dataset(Translator(model, "cpu"), dataset, tmp_path / "out", TestConfig())
    with tifffile.TiffFile(tmp_path / "out" / "images" / "hill_fake_B.tif") as file:
        page = file.pages[0]
        assert page.shape[:2] == (SIZE, SIZE)
        for code, _, _, value, _ in TAGS:
            assert tuple(page.tags[code].value) == pytest.approx(value)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# Folders


def test_a_batch_larger_than_the_data_set_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        save(tmp_path / "train" / f"{number}.png", noise(SIZE, 2 * SIZE, 3))
    with caplog.at_level(logging.WARNING):
        BatchStream(build_dataset(config(tmp_path)), 3)
        assert not caplog.text
        BatchStream(build_dataset(config(tmp_path)), 8)
    assert "--batch_size 8" in caplog.text and "3 images" in caplog.text


def test_an_empty_class_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / "train" / name / "1.png", noise(8, 8))
    (tmp_path / "train" / "empty").mkdir()
    with caplog.at_level(logging.WARNING):
        dataset = build_dataset(config(tmp_path, dataset_mode="classes", out_channels=1))
    assert dataset.classes == ("cat", "dog") and "empty" in caplog.text
    findings = found(check(config(tmp_path, dataset_mode="classes", out_channels=1), 0))
    assert [item.paths for item in findings["empty_classes"].items] == [("empty",)]


@pytest.mark.parametrize(
    "names", ["TrainA TrainB", "TRAINA TRAINB", "Train/A Train/B", "Train_a Train_b", "a/Train b/Train"]
)
@pytest.mark.parametrize("mode", ["aligned", "unaligned"])
def test_folders_are_found_in_any_case(tmp_path: Path, names: str, mode: str) -> None:
    for folder in names.split():
        save(tmp_path / folder / "1.png", noise(SIZE, SIZE, 3))
    dataset = build_dataset(config(tmp_path, dataset_mode=mode))
    assert [Path(path).parent for path in (dataset.files[0], dataset.outputs[0])] == [
        tmp_path / folder for folder in names.split()
    ]


def test_a_phase_of_pairs_and_of_classes_is_found_in_any_case(tmp_path: Path) -> None:
    save(tmp_path / "pairs" / "Train" / "1.png", noise(SIZE, 2 * SIZE, 3))
    assert len(build_dataset(config(tmp_path / "pairs"))) == 1
    save(tmp_path / "classes" / "TRAIN" / "x" / "1.png", noise(8, 8))
    assert build_dataset(config(tmp_path / "classes", dataset_mode="classes", out_channels=1)).classes == ("x",)


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz", "data.tgz", "data.tar"])
def test_an_archive_as_data_says_what_to_do(tmp_path: Path, name: str) -> None:
    save(tmp_path / "data" / "trainA" / "1.png", noise(SIZE, SIZE, 3))
    kind = {"zip": "zip", "tar": "tar"}.get(name.rpartition(".")[2], "gztar")
    made = Path(shutil.make_archive(str(tmp_path / "made"), kind, tmp_path / "data"))
    made.rename(tmp_path / name)
    with pytest.raises(ValueError, match="unpack"):
        build_dataset(config(tmp_path / name, dataset_mode="unaligned"))


def test_a_list_in_a_json_file_is_a_manifest(tmp_path: Path) -> None:
    for name in ("1", "2"):
        save(tmp_path / f"{name}.png", noise(SIZE, SIZE, 3))
    (tmp_path / "data.json").write_text('[{"a": "1.png", "b": "2.png"}]', encoding="utf-8")
    assert len(build_dataset(config(tmp_path / "data.json"))) == 1
    (tmp_path / "other.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"\.jsonl"):
        build_dataset(config(tmp_path / "other.json"))


def test_check_looks_at_a_single_file(tmp_path: Path) -> None:
    path = save(tmp_path / "one.png", noise(40, 60, 3))
    save(tmp_path / "other.png", noise(40, 60, 3, seed=1))
    command = [sys.executable, "-m", "i2i.check", str(path), "--workers", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dataset_mode single" in done.stdout and "60x40" in done.stdout
    row = next(line.split() for line in done.stdout.splitlines() if line.split()[2:3] == ["1"])
    assert row[1] == "A"


# What a review found


def test_nodata_where_colours_are_no_plain_numbers(tmp_path: Path) -> None:
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 1] = (65535, 0, 0)
    pixels = np.array([[0, 1], [1, 0]], np.uint8)
    tags = [(42113, "s", 0, "0", True)]
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="palette", colormap=palette, extratags=tags)
    assert Reader().pixels(str(tmp_path / "x.tif"), 3)[0, 1].tolist() == [255, 0, 0]
    tifffile.imwrite(tmp_path / "w.tif", np.array([[0, 1, 255]], np.uint8), photometric="miniswhite", extratags=tags)
    assert Reader().pixels(str(tmp_path / "w.tif"), 1, fill=7)[0, :, 0].tolist() == [7, 254, 0]


def test_the_halves_of_a_pair_have_fills_of_their_own(tmp_path: Path) -> None:
    pixels = np.array([[-9999, 1, -9999, 2]] * 2, np.float32)
    tifffile.imwrite(tmp_path / "x.tif", pixels, extratags=[(42113, "s", 0, "-9999", True)])
    left, right = Reader().halves(str(tmp_path / "x.tif"), (1, 1), fills=(-5.0, -8.0))
    assert (left[0, :, 0].tolist(), right[0, :, 0].tolist()) == ([-5, 1], [-8, 2])


def test_class_numbers_below_0_are_refused_and_nodata_of_label_maps_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="-1"):
        held_by(np.array([[0, -1]], np.int32), Domain(2, "labels", 0, 1), "x")
    labels = np.array([[0, 1, -9999]], np.int16)
    tifffile.imwrite(tmp_path / "x.tif", labels, extratags=[(42113, "s", 0, "-9999", True)])
    assert Reader().labels(str(tmp_path / "x.tif")).tolist() == [[0, 1, 255]]


def test_an_opaque_channel_that_is_added_is_alpha(tmp_path: Path) -> None:
    for folder in ("trainA", "trainB"):
        save(tmp_path / folder / "0.png", noise(SIZE, SIZE, 3))
        save(tmp_path / folder / "1.png", noise(SIZE, SIZE, 4))
    dataset = build_dataset(config(tmp_path, dataset_mode="unaligned", in_channels=4, out_channels=4))
    assert all(domain.alpha for side in dataset.domains for domain in side)


def test_floats_with_alpha_lose_it_or_are_refused_in_a_line(tmp_path: Path) -> None:
    path = bands(tmp_path / "x.tif", 4, "float32", extrasamples=[2])
    assert Reader().pixels(str(path), 3).shape == (SIZE, SIZE, 3)
    with pytest.raises(ImageError, match="--alpha drop"):
        Reader(alpha="white").pixels(str(path), 3)


def test_an_empty_class_right_in_the_root_is_named(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "1.png", noise(8, 8))
    (tmp_path / "bird").mkdir()
    dataset = build_dataset(config(tmp_path, dataset_mode="classes", out_channels=1))
    assert isinstance(dataset, ClassDataset) and dataset.empty_classes == ["bird"]


def test_the_translator_gives_masks_back_as_masks() -> None:
    made = Pix2Pix.Config(**tiny.TRANSLATION | {"generator": "unet", "num_downs": 3})
    mask = Domain(2, "labels", 0, 255)
    model = build_model("pix2pix", made, DataSpec(2, 2, a=(mask,), b=(mask,)))
    result = Translator(model, "cpu")(np.where(noise(SIZE, SIZE) > 100, 255, 0).astype(np.uint8))
    assert set(np.unique(np.asarray(result))) <= {0, 255} and np.asarray(result).dtype == np.uint8
