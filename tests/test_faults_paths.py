"""`~` in whatever names a file or a folder: expanded once, where options are read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from i2i.data import DataConfig, build_dataset
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.tiny import write_domains, write_pairs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_the_command_line_and_yaml(home: Path) -> None:
    (home / "own.yaml").write_text("checkpoints_dir: ~/runs\ninception: ~/net.pt\n")
    options = TrainOptions(["--options", "~/own.yaml", "--dataroot=~/a::~/b", "--cache_dir", "~/cache"])
    assert options.run.folder == home / "runs" / "experiment_name"
    assert options.metric_networks.inception == str(home / "net.pt")
    assert (options.data.dataroot, options.data.cache_dir) == (f"{home}/a::{home}/b", str(home / "cache"))
    assert options.saved()["dataroot"] == f"{home}/a::{home}/b"
    assert f"{home / 'runs'}" in options.resume_command


def test_environment_variables_and_other_tildes_stay(home: Path) -> None:
    options = TrainOptions(["--dataroot", "$HOME/x", "--checkpoints_dir", "a/~", "--name", "~run"])
    assert (options.data.dataroot, options.run.checkpoints_dir, options.run.name) == ("$HOME/x", "a/~", "~run")


def test_a_run_is_found_below_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        TestOptions(["--checkpoints_dir", "~/runs", "--name", "none"])
    assert str(home / "runs") in capsys.readouterr().err


def test_entries_of_a_manifest(home: Path, tmp_path: Path) -> None:
    write_domains(home)
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "pairs.csv").write_text("a,b\n~/trainA/0.png,~/trainB/0.png\n")
    config = DataConfig(dataroot=str(place / "pairs.csv"), dataset_mode="aligned", load_size=(16,), crop_size=(16,))
    assert build_dataset(config).files == [str(home / "trainA" / "0.png")]


def test_the_tools(home: Path) -> None:
    write_pairs(home / "pairs")
    words = ["-m", "i2i.check", "~/pairs", "--json", "~/found.json", "--html=~/found.html", "--workers", "0"]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
    assert json.loads((home / "found.json").read_text()) and (home / "found.html").is_file()
    pictures = ["~/pairs/train", "~/pairs/train", "--metrics", "l1", "--json", "~/card.json"]
    subprocess.run([sys.executable, "-m", "i2i.evaluate", *pictures], cwd=ROOT, check=True, capture_output=True)
    assert (home / "card.json").is_file()
    recipe = ["datasets/prepare.py", "shapes", "--out", "~/shapes", "--count", "2", "--test_count", "1", "--size", "16"]
    subprocess.run([sys.executable, *recipe], cwd=ROOT, check=True, capture_output=True)
    assert (home / "shapes" / "recipe.json").is_file()
