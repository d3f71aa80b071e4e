"""The console command: it works from any folder once i2i is installed, presets included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip installs of the checkout, and no checkout around it."""
    target = tmp_path_factory.mktemp("site")
    copy = tmp_path_factory.mktemp("source")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        if not name.startswith(("tests/", "docs/", "benchmarks/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        target,
        copy,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, str(installed / "bin" / "i2i"), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_an_installed_command_trains_by_a_preset_tests_and_reports(installed: Path, tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path / "pairs", 2)
    tiny.write_pairs(tmp_path / "pairs", 2, phase="test", seed=1)
    small = "--generator unet --num_downs 3 --ngf 2 --ndf 2 --netD pixel --load_size 16 --crop_size 16 --device cpu"
    trained = run(
        *(installed, tmp_path, "train", "--options", "demo_pix2pix", "--dataroot", "pairs", "--name", "run"),
        *small.split(),
        *("--n_epochs", "1", "--n_epochs_decay", "0", "--batch_size", "1"),
    )
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "checkpoints" / "run" / "latest.pt").is_file()
    tested = run(installed, tmp_path, "test", "--name", "run", "--dataroot", "pairs", "--device", "cpu")
    assert tested.returncode == 0, tested.stderr
    assert len(list((tmp_path / "results" / "run" / "test_latest" / "images").glob("*_fake_B.png"))) == 2
    assert run(installed, tmp_path, "report", "run").returncode == 0
    wrong = run(installed, tmp_path, "train", "--lrr", "1")
    assert wrong.returncode == 2 and "did you mean --lr?" in wrong.stderr


def test_an_unknown_command_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "i2i", "trian"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "'trian'" in done.stderr and len(done.stderr.splitlines()) == 1
    helped = subprocess.run([sys.executable, "-m", "i2i"], cwd=ROOT, capture_output=True, text=True)
    assert helped.returncode == 0 and "evaluate" in helped.stdout
