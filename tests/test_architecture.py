"""The examples of docs/architecture.md: they are one program, which trains and resumes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from tests.pictures import save

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--model masked --generator shallow --discriminator two_scales --reconstruction 100*charbonnier --optimizer nadam "
    "--peak_name largest --val_metrics worst --val_fraction 0.5 --lambda_mask 5 --ngf 4 --ndf 4 --load_size 16 "
    "--crop_size 16 --num_threads 0 --device cpu --print_freq 2 --n_epochs_decay 0 --dataroot data"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architecture")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    (folder / "own.py").write_text("\n".join(blocks))
    for name in ("A", "B", "mask"):
        for number in range(4):
            save(folder / "data" / name / f"{number}.png", np.full((16, 16, 3), 50 * number, np.uint8))
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "own.py", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_help_shows_what_was_added(folder: Path) -> None:
    text = run(folder, "--model", "masked", "--help").stdout
    for word in ("shallow", "two_scales", "nadam", "--peak_name", "worst", "--lambda_mask", "masked"):
        assert word in text, word


def test_all_examples_train_and_resume(folder: Path) -> None:
    for name, epochs in (("straight", "2"), ("resumed", "1")):
        done = run(folder, *FLAGS.split(), "--name", name, "--n_epochs", epochs)
        assert done.returncode == 0, done.stderr
    again = run(folder, "--name", "resumed", "--continue_train", "--n_epochs", "2")
    assert again.returncode == 0, again.stderr
    straight, resumed = (
        torch.load(folder / "checkpoints" / name / "latest.pt", weights_only=True) for name in ("straight", "resumed")
    )
    assert straight["peak"]["peak"] == resumed["peak"]["peak"] > 0
    assert straight["options"]["lambda_mask"] == resumed["options"]["lambda_mask"] == 5
    assert all(torch.equal(value, resumed["model"][name]) for name, value in straight["model"].items())
    lines = (folder / "checkpoints" / "straight" / "metrics.jsonl").read_text()
    for name in ('"G_mask"', '"largest"', '"val_worst"', '"G_CHARBONNIER"'):
        assert name in lines, name


@pytest.mark.parametrize("conditioning", ["concat", "embedding", "projection"])
def test_captions_condition_the_images(folder: Path, conditioning: str) -> None:
    data = tiny.write_classes(folder / "classes", 4)
    words = f"--model captioned --dataroot {data} --conditioning_D {conditioning} --load_size 8 --crop_size 8"
    words += " --ngf 2 --ndf 2 --noise_dim 4 --num_threads 0 --device cpu --n_epochs 2 --n_epochs_decay 0"
    words += f" --name {conditioning}"
    done = run(folder, *words.split())
    assert done.returncode == 0, done.stderr
    again = run(folder, "--name", conditioning, "--continue_train", "--n_epochs", "3")
    assert again.returncode == 0, again.stderr
    state = torch.load(folder / "checkpoints" / conditioning / "latest.pt", weights_only=True)
    assert state["options"]["caption_size"] == 3
    assert all(value.isfinite().all() for value in state["model"].values() if torch.is_tensor(value))
