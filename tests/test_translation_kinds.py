"""train.py, test.py and the translator on images that are not 8 bits of grey or colour: what goes in comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from i2i.data import DataSpec
from i2i.data.domain import Domain
from i2i.data.images.writing import class_colours
from i2i.networks.reference_weights import Architecture, build, save_reference
from i2i.training import checkpoint
from i2i.translate.translator import Translator
from tests.test_translation import MODELS, NETS, files, train, translate

SIDE = 16


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig" if pixels.ndim == 3 else None)
    else:
        cv2.imwrite(str(path), pixels)


def blocks(high: float, dtype: Any, *channels: int) -> np.ndarray:
    small = np.random.default_rng(0).uniform(0, high, (4, 4, *channels))
    return np.kron(small, np.ones((4, 4, *(1 for _ in channels)))).astype(dtype)


def run(root: Path, model: str, *words: str) -> Path:
    """Train on `root`, translate its test set; gives the folder of the results."""
    train(root, model, root, *NETS.split(), *MODELS[model].split(), *words, name="run")
    translate(root, root / "results", "--name", "run", "--dataroot", str(root))
    return root / "results" / "run" / "test_latest" / "images"


def both_phases(root: Path, name: str, pixels: np.ndarray) -> None:
    for phase in ("train", "test"):
        write(root / name.replace("*", phase), pixels)


def test_16_bits_in_16_bits_out(tmp_path: Path) -> None:
    for domain in "AB":
        both_phases(tmp_path, f"*{domain}/x.png", blocks(65535, np.uint16))
    images = run(tmp_path, "cyclegan", "--input_nc", "1", "--output_nc", "1")
    fake, real = (cv2.imread(str(images / f"x_{name}.png"), cv2.IMREAD_UNCHANGED) for name in ("fake_B", "real_A"))
    assert fake.dtype == real.dtype == np.uint16 and fake.shape == (SIDE, SIDE)
    np.testing.assert_array_equal(real, blocks(65535, np.uint16))
    translator = Translator.from_run(tmp_path / "checkpoints" / "run", device="cpu")
    result = translator(blocks(65535, np.uint16))
    assert isinstance(result, np.ndarray) and result.dtype == np.uint16
    assert np.abs(result.astype(int) - fake).max() <= 2


def test_a_run_of_8_bits_translates_16_bits_in_kind(tmp_path: Path) -> None:
    for domain in "AB":
        write(tmp_path / f"train{domain}" / "x.png", blocks(255, np.uint8))
    write(tmp_path / "testA" / "deep.png", blocks(65535, np.uint16))
    write(tmp_path / "testA" / "flat.png", blocks(255, np.uint8))
    images = run(tmp_path, "cyclegan", "--input_nc", "1", "--output_nc", "1")
    kinds = {name: cv2.imread(str(images / f"{name}_fake_B.png"), -1).dtype for name in ("deep", "flat")}
    assert kinds == {"deep": np.uint16, "flat": np.uint8}


def test_floats_of_a_range_and_a_picture_of_them(tmp_path: Path) -> None:
    both_phases(tmp_path, "*A/x.png", blocks(255, np.uint8))
    both_phases(tmp_path, "*B/x.tif", blocks(40, np.float32))
    images = run(tmp_path, "pix2pix", "--input_nc", "1", "--output_nc", "1", "--out_range", "-10", "50")
    assert files(images) == [
        *(f"x_{name}" for name in ("fake_B.png", "fake_B.tif", "real_A.png", "real_B.png", "real_B.tif"))
    ]
    assert np.abs(tifffile.imread(images / "x_real_B.tif") - blocks(40, np.float32)).max() < 1e-5
    fake = tifffile.imread(images / "x_fake_B.tif")
    assert fake.dtype == np.float32 and fake.min() >= -10 and fake.max() <= 50
    shown = np.asarray(Image.open(images / "x_fake_B.png")).astype(float)
    assert np.abs(shown / 255 * 60 - 10 - fake).max() < 0.2
    saved = checkpoint.load(tmp_path / "checkpoints" / "run" / "latest.pt")["spec"]
    assert DataSpec.from_dict(saved).b == (Domain(1, "float32", -10, 50),)


def test_many_channels_and_several_conditions(tmp_path: Path) -> None:
    both_phases(tmp_path, "*_cube/x.npy", blocks(65535, np.uint16, 5))
    both_phases(tmp_path, "*_edges/x.png", blocks(255, np.uint8))
    both_phases(tmp_path, "*B/x.tif", blocks(255, np.uint8, 6))
    words = ["--conditions", "cube", "edges", "--condition_channels", "5", "1", "--output_nc", "6"]
    images = run(tmp_path, "pix2pix", *words)
    assert files(images) == [
        f"x_{name}" for name in ("fake_B.png", "fake_B.tif", "real_A.png", "real_B.png", "real_B.tif")
    ]
    assert tifffile.imread(images / "x_fake_B.tif").shape == (SIDE, SIDE, 6)
    np.testing.assert_array_equal(tifffile.imread(images / "x_real_B.tif"), blocks(255, np.uint8, 6))
    assert Image.open(images / "x_real_A.png").size == (2 * SIDE, SIDE)  # side by side


def test_label_maps_out_and_in(tmp_path: Path) -> None:
    classes = blocks(3, np.uint8)
    both_phases(tmp_path, "*A/x.png", blocks(255, np.uint8, 3))
    both_phases(tmp_path, "*B/x.png", classes)
    images = run(tmp_path, "pix2pix", "--out_classes", "3")
    with Image.open(images / "x_fake_B.png") as fake, Image.open(images / "x_real_B.png") as real:
        assert fake.mode == real.mode == "P" and np.asarray(fake).max() < 3
        np.testing.assert_array_equal(np.asarray(real), classes)
        np.testing.assert_array_equal(np.asarray(real.convert("RGB")), class_colours(3)[classes])
        found = Translator.from_run(tmp_path / "checkpoints" / "run", device="cpu")(
            blocks(255, np.uint8, 3)[:, :, ::-1]
        )
        assert isinstance(found, np.ndarray) and found.shape == (SIDE, SIDE) and found.max() < 3
    backwards = run(tmp_path, "pix2pix", "--direction", "BtoA", "--in_classes", "3", "--overwrite")
    assert files(backwards) == [f"x_{name}.png" for name in ("fake_B", "real_A", "real_B")]


@pytest.mark.parametrize("words", [[], ["--pictures", "fake"], ["--pictures", "all"]])
def test_a_colorization_shows_colours(tmp_path: Path, words: list[str]) -> None:
    for phase in ("train", "test"):
        write(tmp_path / phase / "x.png", blocks(255, np.uint8, 3))
    images = run(tmp_path, "pix2pix", "--derive", "colorization")
    if words:
        translate(tmp_path, tmp_path / "other", "--name", "run", "--dataroot", str(tmp_path), *words)
        images = tmp_path / "other" / "run" / "test_latest" / "images"
    fake = np.asarray(Image.open(images / "x_fake_B.png").convert("RGB")).astype(float)
    grey = fake @ [0.299, 0.587, 0.114]
    expected = np.asarray(Image.open(tmp_path / "test" / "x.png").convert("L")).astype(float)
    # The lightness is the input's whatever the colours are, but for those that no screen can show.
    assert np.corrcoef(grey.ravel(), expected.ravel())[0, 1] > 0.95
    write(tmp_path / "old" / "y.png", blocks(255, np.uint8))
    translate(tmp_path, tmp_path / "third", "--name", "run", "--input", str(tmp_path / "old"))
    (written,) = (tmp_path / "third").rglob("y_fake_B.png")
    assert Image.open(written).mode == "RGB"
    picture = Translator.from_run(tmp_path / "checkpoints" / "run", device="cpu")(
        Image.open(tmp_path / "old" / "y.png")
    )
    assert isinstance(picture, Image.Image) and picture.mode == "RGB"


def test_shards_and_a_manifest_train_and_translate(tmp_path: Path) -> None:
    import webdataset

    both_phases(tmp_path, "*/x.png", np.concatenate([blocks(255, np.uint8, 3)] * 2, axis=1))
    content = (tmp_path / "train" / "x.png").read_bytes()
    with webdataset.TarWriter(str(tmp_path / "s-0.tar")) as tar:
        for number in range(2):
            tar.write({"__key__": f"{number}", "pair.png": content})
    (tmp_path / "list.csv").write_text("pair,split\ntrain/x.png,train\ntest/x.png,test\n")
    for name, source in (("tar", tmp_path / "s-0.tar"), ("csv", tmp_path / "list.csv")):
        train(tmp_path, "pix2pix", source, *NETS.split(), *MODELS["pix2pix"].split(), name=name)
        translate(tmp_path, tmp_path / name, "--name", name, "--dataroot", str(source))
        assert len(list((tmp_path / name).rglob("*_fake_B.png"))) == (2 if name == "tar" else 1)


def test_what_does_not_go_together_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    both_phases(tmp_path, "*A/x.tif", blocks(9, np.float32))
    both_phases(tmp_path, "*B/x.png", blocks(255, np.uint8))
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, "cyclegan", tmp_path, *NETS.split(), *MODELS["cyclegan"].split(), "--input_nc", "1")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and "x.tif holds float32: give --in_range LOW HIGH" in error
    translator_error = pytest.raises(ValueError, match="this array holds float32 where uint8 is expected")
    both_phases(tmp_path / "plain", "*A/x.png", blocks(255, np.uint8))
    both_phases(tmp_path / "plain", "*B/x.png", blocks(255, np.uint8))
    run(tmp_path / "plain", "cyclegan", "--input_nc", "1", "--output_nc", "1")
    translator = Translator.from_run(tmp_path / "plain" / "checkpoints" / "run", device="cpu")
    with translator_error:
        translator(blocks(1, np.float32))
    assert isinstance(translator(torch.zeros(1, SIDE, SIDE)), torch.Tensor)


def test_a_colorization_of_the_reference_translates(tmp_path: Path) -> None:
    keywords = {"in_channels": 1, "out_channels": 2, "filters": 4, "norm": "batch", "dropout": False}
    torch.manual_seed(0)
    architecture = Architecture("generator", "resnet_6blocks", keywords)
    (tmp_path / "checkpoints" / "old").mkdir(parents=True)
    save_reference(tmp_path / "checkpoints" / "old", "latest", "G", build(architecture).state_dict(), architecture)
    write(tmp_path / "test" / "x.png", blocks(255, np.uint8, 3))
    translate(tmp_path, tmp_path, "--model", "colorization", "--name", "old", "--dataroot", str(tmp_path))
    images = tmp_path / "old" / "test_latest" / "images"
    assert files(images) == [f"x_{name}.png" for name in ("fake_B", "real_A", "real_B")]
    real, fake = (Image.open(images / f"x_{name}_B.png") for name in ("real", "fake"))
    assert fake.mode == "RGB"
    assert np.abs(np.asarray(real).astype(int) - np.asarray(Image.open(tmp_path / "test" / "x.png"))).max() <= 1
