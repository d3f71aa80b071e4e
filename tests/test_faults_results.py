"""Results folders: their origin is recorded, and no other source, checkpoint or option set mixes in; long names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.metrics.image_sets import find_images
from i2i.networks.reference_weights import Architecture, build, save_reference
from i2i.tools import evaluate
from tests import tiny
from tests.test_translation import NETS, files, noise, pixels, train, translate


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of one name with images of the same names, pairs, and two generators of one shape."""
    folder = tmp_path_factory.mktemp("results")
    for day, size in (("day1", 16), ("day2", 24)):
        for item in range(3):
            noise(folder / day / "photos" / f"{item}.png", size, 16 + 8 * item)
    keywords = {"in_channels": 3, "out_channels": 3, "filters": 4, "norm": "instance", "num_blocks": 1}
    architecture = Architecture("generator", "resnet", keywords | {"dropout": False})
    for seed in (1, 2):
        torch.manual_seed(seed)
        place = folder / f"weights{seed}"
        place.mkdir()
        save_reference(place, "latest", "G", build(architecture).state_dict(), architecture)
    return folder


def run(root: Path, results: Path, *words: str, day: str = "day1", weights: int = 1) -> None:
    """Translate a day's photos into results/photos/..."""
    which = ["--reference_weights", str(root / f"weights{weights}" / "latest_net_G.pth"), "--name", "photos"]
    translate(root, results, "--model", "test", *which, "--input", str(root / day / "photos"), *words)


def folders(results: Path) -> list[str]:
    return sorted(path.name for path in (results / "photos").iterdir())


def generated(folder: Path) -> dict[str, str]:
    return {name: Path(path).name for name, path in find_images(folder, "generated").items()}


def card_of(monkeypatch: pytest.MonkeyPatch, folder: Path, card: Path, *words: str) -> dict[str, Any]:
    """Judge a results folder by copies of what it lists."""
    real = card.with_name("real")
    shutil.rmtree(real, ignore_errors=True)
    real.mkdir()
    for name, path in find_images(folder, "generated").items():
        shutil.copy(path, real / f"{name}.png")
    arguments = [str(real), str(folder), "--metrics", "l1", "--paired", "yes", "--json", str(card), *words]
    monkeypatch.setattr(sys, "argv", ["i2i.tools.evaluate", *arguments])
    assert evaluate.main() == 0
    return json.loads(card.read_text())


# --- sources


def test_two_folders_of_one_name_do_not_overwrite_each_other(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(root, tmp_path)
    folder = tmp_path / "photos" / "photos_latest"
    first = {name: (folder / name).read_bytes() for name in files(folder)}
    run(root, tmp_path, day="day2")
    usual, other = folders(tmp_path)
    assert usual == "photos_latest" and other.startswith("photos_latest_")
    assert {name: (folder / name).read_bytes() for name in first} == first
    assert pixels(tmp_path / "photos" / other / "images/0_real.png").shape == (16, 24, 3)
    printed = capsys.readouterr()
    assert str(root / "day1") in printed.err and other in printed.err and other in printed.out
    # The place of each is found again.
    run(root, tmp_path, day="day2")
    run(root, tmp_path)
    assert folders(tmp_path) == [usual, other]


def test_skip_existing_counts_results_of_the_same_source_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(root, tmp_path, "--num_test", "2")
    run(root, tmp_path, "--skip_existing", day="day2")
    assert "3 images translated" in capsys.readouterr().out
    for day, left in (("day1", 1), ("day2", 0)):
        run(root, tmp_path, "--skip_existing", day=day)
        assert f"{left} images translated" in capsys.readouterr().out


# --- checkpoints and options


def test_results_of_another_checkpoint_are_put_aside_and_not_mixed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(root, tmp_path)
    old = pixels(tmp_path / "photos/photos_latest/images/2_fake.png")
    run(root, tmp_path, "--num_test", "1", "--skip_existing", weights=2)
    assert folders(tmp_path) == ["photos_latest", "photos_latest_before1"]
    assert files(tmp_path / "photos/photos_latest/images") == ["0_fake.png", "0_real.png"]
    assert (pixels(tmp_path / "photos/photos_latest_before1/images/2_fake.png") == old).all()
    printed = capsys.readouterr()
    assert "another checkpoint" in printed.err and "photos_latest_before1" in printed.err
    assert "1 images translated" in printed.out  # what lay there was not taken for a result


def test_a_run_that_is_trained_further_does_not_mix_with_itself(tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path / "pairs", 4)
    tiny.write_pairs(tmp_path / "pairs", 3, phase="test")
    words = [*NETS.split(), "--netG", "unet", "--num_downs", "3"]
    train(tmp_path, "pix2pix", tmp_path / "pairs", *words, name="run")
    test = ["--name", "run", "--dataroot", str(tmp_path / "pairs")]
    translate(tmp_path, tmp_path / "results", *test)
    train(tmp_path, "pix2pix", tmp_path / "pairs", "--continue_train", "--n_epochs", "2", name="run")
    translate(tmp_path, tmp_path / "results", *test, "--num_test", "1")
    results = tmp_path / "results" / "run"
    assert sorted(path.name for path in results.iterdir()) == ["test_latest", "test_latest_before1"]
    assert list(find_images(results / "test_latest", "generated")) == ["0"]
    assert len(find_images(results / "test_latest_before1", "generated")) == 3


def test_other_options_take_another_folder_and_other_formats_do_not(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path)
    run(root, tmp_path, "--preprocess", "resize_and_crop", "--load_size", "16", "--crop_size", "16")
    usual, other = folders(tmp_path)
    assert pixels(tmp_path / "photos" / other / "images/2_fake.png").shape == (16, 16, 3)
    assert pixels(tmp_path / "photos" / usual / "images/2_fake.png").shape == (32, 16, 3)
    run(root, tmp_path, "--format", "jpg", "--pictures", "fake")
    assert folders(tmp_path) == [usual, other]
    images = files(tmp_path / "photos" / usual / "images")
    assert images == [f"{item}_{end}" for item in range(3) for end in ("fake.jpg", "real.png")]
    assert generated(tmp_path / "photos" / usual) == {str(item): f"{item}_fake.jpg" for item in range(3)}


# --- what the last run listed


def test_only_what_the_last_run_listed_is_judged(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run(root, tmp_path)
    folder = tmp_path / "photos" / "photos_latest"
    stranger = folder / "images" / "mine_fake.png"
    shutil.copy(folder / "images" / "0_fake.png", stranger)
    assert card_of(monkeypatch, folder, tmp_path / "card.json")["figures"][0]["fakes"] == 3
    run(root, tmp_path, "--num_test", "1")
    for place in (folder, folder / "images"):
        assert card_of(monkeypatch, place, tmp_path / "card.json")["figures"][0]["fakes"] == 1
    assert stranger.is_file() and len(files(folder / "images")) == 7  # results of one origin are kept
    capsys.readouterr()
    run(root, tmp_path, "--skip_existing")
    assert "0 images translated" in capsys.readouterr().out and len(generated(folder)) == 3


def test_a_folder_without_a_record_is_read_as_it_lies(root: Path, tmp_path: Path, caplog: Any) -> None:
    run(root, tmp_path)
    folder = tmp_path / "photos" / "photos_latest"
    (folder / "results.jsonl").unlink()
    noise(folder / "images" / "mine_fake.png", 16, 16)
    assert len(generated(folder)) == 4
    run(root, tmp_path, "--skip_existing")
    assert "origin is not recorded" in caplog.text and len(generated(folder)) == 3


def test_parts_are_judged_together_and_a_whole_run_takes_their_place(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos" / "photos_latest"
    run(root, tmp_path, "--part", "2/2")
    card = card_of(monkeypatch, folder, tmp_path / "card.json")
    assert card["figures"][0]["fakes"] == 1 and "1 of 2 parts" in " ".join(card["warnings"])
    run(root, tmp_path, "--part", "1/2")
    card = card_of(monkeypatch, folder, tmp_path / "card.json")
    assert card["figures"][0]["fakes"] == 3 and not any("parts" in warning for warning in card["warnings"])
    run(root, tmp_path, "--num_test", "2", "--processes", "2")
    assert len(generated(folder)) == 2 and len(files(folder / "images")) == 6
    assert len(list(folder.glob("results*.jsonl"))) == 1


def test_parts_of_different_origins_are_not_judged_together(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "one", "--part", "1/2")
    run(root, tmp_path / "two", "--part", "2/2", weights=2)
    one, two = (tmp_path / name / "photos" / "photos_latest" for name in ("one", "two"))
    shutil.copytree(two, one, dirs_exist_ok=True)  # as two machines with different checkpoints would leave it
    with pytest.raises(ValueError, match="parts of different sources, checkpoints or options"):
        generated(one)


def test_a_killed_run_lists_what_it_has_finished(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    noise(tmp_path / "in" / "a.png", 16, 16)
    noise(tmp_path / "in" / "b.png", 16, 16)
    good = (tmp_path / "in" / "b.png").read_bytes()
    (tmp_path / "in" / "b.png").write_bytes(good[:50])
    words = ["--model", "test", "--reference_weights", str(root / "weights1/latest_net_G.pth"), "--name", "photos"]
    words += ["--input", str(tmp_path / "in"), "--batch_size", "1"]
    with pytest.raises(SystemExit):
        translate(root, tmp_path, *words)
    folder = tmp_path / "photos" / "in_latest"
    (tmp_path / "in" / "b.png").write_bytes(good)
    capsys.readouterr()
    translate(root, tmp_path, *words, "--skip_existing")
    assert len(generated(folder)) == 2 and "images translated" in capsys.readouterr().out
    lines = (folder / "results.jsonl").read_text().splitlines()
    (folder / "results.jsonl").write_text("\n".join(lines[:2]) + '\n{"name": "b", "pict')  # killed while it wrote
    assert list(generated(folder)) == ["a"]
    translate(root, tmp_path, *words, "--skip_existing")
    assert "1 images translated" in capsys.readouterr().out and len(generated(folder)) == 2


def test_generated_images_are_recorded_too(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path / "classes", 4)
    words = "--noise_dim 4 --load_size 8 --crop_size 8 --batch_size 4 --ngf 4 --ndf 4 --num_threads 0 --n_epochs 1"
    train(tmp_path, "cgan", tmp_path / "classes", *words.split(), "--n_epochs_decay", "0", name="run")
    translate(tmp_path, tmp_path / "out", "--name", "run", "--num_per_class", "3")
    translate(tmp_path, tmp_path / "out", "--name", "run", "--num_per_class", "2", "--labels", "dark")
    folder = tmp_path / "out" / "run" / "test_latest"
    assert list(find_images(folder, "generated")) == ["dark/seed0", "dark/seed1"]
    assert list(find_images(folder / "images" / "dark", "generated")) == ["seed0", "seed1"]
    assert len(files(folder / "images")) == 6


def test_scores_count_what_the_last_run_listed(tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path / "pairs", 4)
    tiny.write_pairs(tmp_path / "pairs", 3, phase="test")
    train(tmp_path, "pix2pix", tmp_path / "pairs", *NETS.split(), "--netG", "unet", "--num_downs", "3", name="run")
    for words in ([], ["--num_test", "1"]):
        translate(tmp_path, tmp_path, "--name", "run", "--dataroot", str(tmp_path / "pairs"), *words)
    for place in ("run/test_latest", "run/test_latest/images"):
        command = [sys.executable, "datasets/score.py", str(tmp_path / place)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
        assert "1 images" in printed.stdout


# --- long names


LONG = ["x" * 251, "x" * 250 + "y", "图" * 80, "sub/" + "é" * 125 + "z"]


@pytest.mark.parametrize("fill", ["plain", "part"])
def test_names_as_long_as_the_file_system_takes(
    root: Path, tmp_path: Path, fill: str, capsys: pytest.CaptureFixture
) -> None:
    for number, name in enumerate(LONG):
        path = tmp_path / "in" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(noise(tmp_path / "small.png", 16 + 4 * number, 16), path)
    words = ["--model", "test", "--reference_weights", str(root / "weights1/latest_net_G.pth"), "--name", "photos"]
    words += ["--input", str(tmp_path / "in"), *(["--format", "jpg"] if fill == "part" else [])]
    translate(root, tmp_path, *words)
    folder = tmp_path / "photos" / "in_latest"
    found = find_images(folder, "generated")
    assert sorted(found) == sorted(LONG) and len(set(found.values())) == 4
    for number, name in enumerate(LONG):
        assert pixels(Path(found[name])).shape == (16, 16 + 4 * number, 3)
    capsys.readouterr()
    translate(root, tmp_path, *words, "--skip_existing")
    assert "0 images translated" in capsys.readouterr().out
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in LONG) and len(files(folder / "images")) == 8
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]


def test_a_folder_and_a_card_of_long_names(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(tmp_path / ("d" * 255) / "a.png", 16, 16)
    words = ["--model", "test", "--reference_weights", str(root / "weights1/latest_net_G.pth"), "--name", "photos"]
    translate(root, tmp_path, *words, "--input", str(tmp_path / ("d" * 255)))
    (name,) = folders(tmp_path)
    assert name.endswith("_latest")
    card = tmp_path / f"{'c' * 250}.json"
    card_of(
        monkeypatch,
        tmp_path / "photos" / name,
        card,
        "--html",
        str(tmp_path / f"{'h' * 250}.html"),
    )
    assert card.is_file() and np.isfinite(json.loads(card.read_text())["figures"][0]["value"])


def test_the_weights_of_the_last_step_are_an_option_and_no_other_checkpoint(tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path / "pairs")
    words = [*NETS.split(), "--netG", "unet", "--num_downs", "3", "--ema", "0.5"]
    train(tmp_path, "pix2pix", tmp_path / "pairs", *words, name="run")
    test = ["--name", "run", "--dataroot", str(tmp_path / "pairs"), "--phase", "train"]
    for more in ([], ["--no-ema"], [], ["--no-ema"]):
        translate(tmp_path, tmp_path / "results", *test, *more)
    names = sorted(path.name for path in (tmp_path / "results" / "run").iterdir())
    assert len(names) == 2 and names[0] == "train_latest" and "before" not in names[1]
