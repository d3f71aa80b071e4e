"""The layout of the images to translate is compared with that of training: pairs side by side, or single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.training import checkpoint
from tests import tiny
from tests.test_translation import NETS, files, noise, train, translate

UNET = "--netG unet --num_downs 3"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on pairs side by side (either way), on pairs in two folders, and on unpaired images, all of squares."""
    root = tmp_path_factory.mktemp("layout")
    tiny.write_pairs(root / "pairs", 4)
    tiny.write_pairs(root / "pairs", 3, phase="test", seed=1)
    tiny.write_domains(root / "domains", 4)
    nets = [*NETS.split(), *UNET.split()]
    train(root, "pix2pix", root / "pairs", *nets, name="pairs")
    train(root, "pix2pix", root / "pairs", *nets, "--direction", "BtoA", name="backwards")
    train(root, "pix2pix", root / "domains", *nets, name="folders")
    train(root, "cyclegan", root / "domains", *NETS.split(), "--netG", "resnet", "--num_blocks", "1", name="unpaired")
    for item in range(3):
        noise(root / "singles" / "test" / f"{item}.png", 32, 32)
    return root


def refused(runs: Path, results: Path, capsys: pytest.CaptureFixture, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        translate(runs, results, *words)
    assert stop.value.code == 2 and not list(results.rglob("*.png"))
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["pairs", "backwards", "folders"])
def test_single_images_are_not_cut_in_half(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    words = ["--name", name, "--dataroot", str(runs / "singles")]
    line = refused(runs, tmp_path, capsys, *words)
    assert "cut in half" in line and f"--input {runs / 'singles' / 'test'}" in line and "--dataset_mode aligned" in line
    translate(runs, tmp_path / "way out", "--name", name, "--input", str(runs / "singles" / "test"))
    assert "3 images translated" in capsys.readouterr().out
    translate(runs, tmp_path / "insist", *words, "--dataset_mode", "aligned")
    assert len([name for name in files(tmp_path / "insist") if name.endswith("real_A.png")]) == 3


@pytest.mark.parametrize("name", ["pairs", "backwards"])
def test_whole_pairs_are_not_taken_for_one_input(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    words = ["--name", name, "--input", str(runs / "pairs" / "test")]
    line = refused(runs, tmp_path, capsys, *words)
    assert "side by side" in line and "--dataroot" in line and "--dataset_mode single" in line
    assert "side by side" in refused(runs, tmp_path, capsys, *words[:3], str(runs / "pairs" / "test" / "0.png"))
    translate(runs, tmp_path / "way out", "--name", name, "--dataroot", str(runs / "pairs"))
    translate(runs, tmp_path / "insist", *words, "--dataset_mode", "single")
    assert capsys.readouterr().out.count("3 images translated") == 2


def test_pairs_for_a_run_without_pairs_side_by_side_are_warned_of(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("unpaired", "folders"):
        translate(runs, tmp_path, "--name", name, "--input", str(runs / "pairs" / "test"))
        printed = capsys.readouterr()
        assert "3 images translated" in printed.out and "twice as wide" in printed.err


def test_images_of_any_other_size_and_shape_are_welcome(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number, (width, height) in enumerate([(64, 64), (64, 48), (48, 64), (40, 32), (96, 32), (17, 33)]):
        noise(tmp_path / "in" / f"{number}.png", width, height)
    for name in ("pairs", "folders", "unpaired"):
        translate(runs, tmp_path / "out", "--name", name, "--input", str(tmp_path / "in"))
        assert "6 images translated" in capsys.readouterr().out
    # Larger pairs, and pairs among which a few are odd.
    tiny.write_pairs(tmp_path / "large", 5, size=32, phase="test")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "large" / "test" / "odd.png")
    for name in ("pairs", "backwards", "folders"):
        translate(runs, tmp_path / "out", "--name", name, "--dataroot", str(tmp_path / "large"))
        printed = capsys.readouterr()
        assert "6 images translated" in printed.out and "note: " not in printed.err


def test_pairs_of_another_shape_are_translated_with_a_note(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number in range(3):
        noise(tmp_path / "in" / "test" / f"{number}.png", 40, 32)  # halves of 20x32 where training saw squares
    translate(runs, tmp_path / "out", "--name", "pairs", "--dataroot", str(tmp_path / "in"))
    printed = capsys.readouterr()
    assert "3 images translated" in printed.out and "note: " in printed.err and "20x32 each" in printed.err


def test_a_run_on_images_of_many_shapes_refuses_nothing_that_is_ambiguous(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number, (width, height) in enumerate([(64, 16), (32, 16), (16, 16), (24, 16)]):  # halves from 0.5 to 2
        noise(tmp_path / "pairs" / "train" / f"{number}.png", width, height)
    train(tmp_path, "pix2pix", tmp_path / "pairs", *NETS.split(), *UNET.split(), name="run")
    noise(tmp_path / "pairs" / "test" / "0.png", 32, 16)
    translate(tmp_path, tmp_path / "out", "--name", "run", "--dataroot", str(tmp_path / "pairs"))
    translate(tmp_path, tmp_path / "out", "--name", "run", "--input", str(tmp_path / "pairs" / "test"))
    assert capsys.readouterr().out.count("1 images translated") == 2


def test_a_checkpoint_that_does_not_tell_checks_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state = checkpoint.load(runs / "checkpoints" / "pairs" / "latest.pt")
    assert state["data"]["side_by_side"] and state["data"]["a"]["width"] == [16, 16]
    (tmp_path / "checkpoints" / "old").mkdir(parents=True)
    del state["data"]
    checkpoint.save(state, tmp_path / "checkpoints" / "old" / "latest.pt")
    translate(tmp_path, tmp_path / "out", "--name", "old", "--input", str(runs / "pairs" / "test"))
    assert "3 images translated" in capsys.readouterr().out
