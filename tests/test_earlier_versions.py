"""Runs that earlier versions have saved: they are continued to the same weights, and translate."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import train
from i2i.translate.translator import Translator
from tests import tiny

RUNS = Path(__file__).parent / "earlier_runs"  # of the version before rooms, players and observers
DATA = {"pix2pix": tiny.write_pairs, "cyclegan": tiny.write_domains, "cgan": tiny.write_classes}


@pytest.mark.parametrize("model", DATA)
def test_a_run_is_continued_to_the_weights_that_its_own_version_gave(model: str, tmp_path: Path) -> None:
    data = DATA[model](tmp_path / "data", 4)
    (tmp_path / model).mkdir()
    shutil.copy(RUNS / f"{model}.pt", tmp_path / model / "latest.pt")
    words = ["--name", model, "--checkpoints_dir", str(tmp_path), "--dataroot", str(data)]
    assert train.main([*words, "--continue_train", "--n_epochs", "2", "--device", "cpu", "--num_threads", "0"]) == 0
    expected = torch.load(RUNS / f"{model}.continued.pt", weights_only=True)
    got = torch.load(tmp_path / model / "latest.pt", weights_only=True)
    assert got["step"] == {"pix2pix": 12, "cyclegan": 12, "cgan": 6}[model]
    for name, value in expected.items():
        torch.testing.assert_close(got["model"][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_run_translates(tmp_path: Path) -> None:
    shutil.copy(RUNS / "pix2pix.pt", tmp_path / "latest.pt")
    image = torch.rand(3, 16, 16) * 2 - 1
    assert Translator.from_run(tmp_path, device="cpu")(image).shape == (3, 16, 16)
