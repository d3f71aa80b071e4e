"""The benchmark of the presets for digits: what it trains and judges, what it leaves alone, and what it shows."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from i2i.run import epoch_checkpoints
from i2i.training import checkpoint
from tests import tiny

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import digit_presets as digits
import digits_report

NETWORKS = ("--generator_filters", "2", "--discriminator_filters", "2", "--load_size", "8", "--crop_size", "8")
TINY = (*NETWORKS, "--batch_size", "8", "--n_epochs", "1", "--n_epochs_decay", "1")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the benchmark on two classes of tiny images; gives the programs that it has called, in this process."""
    called: list[str] = []

    def call(run: Any, *command: Any) -> None:
        first, *arguments = map(str, command)
        program = arguments.pop(0) if first == "-m" else Path(first).name
        called.append(program)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        try:
            runpy.run_module(program, run_name="__main__") if first == "-m" else runpy.run_path(first, None, "__main__")
        except SystemExit as end:
            assert not end.code

    def start(*arguments: str) -> list[str]:
        called.clear()
        words = ("--presets", "mlp", "--dataroot", data, "--out", tmp_path / "out", *SAMPLES, *arguments)
        digits.main([*map(str, words), "--overrides", *TINY])
        return called

    data = tiny.write_classes(tmp_path / "data", count=50)
    monkeypatch.setattr(digits.Run, "call", call)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return start


SAMPLES = ("--samples", "40", "--curve_samples", "20")
JUDGED = ["i2i.evaluation.digits", "i2i.evaluation.digits", "test.py"]


def test_presets_are_trained_judged_and_shown_once(
    bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert bench() == ["train.py", *JUDGED]
    row = json.loads((out / "mlp_seed0.json").read_text())
    state = checkpoint.load(out / "checkpoints" / "mlp_seed0" / "latest.pt")
    weights = {name: 0 for name in ("generator", "discriminator")}
    for name, value in state["model"].items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            weights[name.split(".")[0]] += value.numel()
    assert row["parameters"] == weights and row["steps"] == state["step"] == 25
    assert list(epoch_checkpoints(out / "checkpoints" / "mlp_seed0")) == [1, 2]
    assert 0 < row["minutes"]["1"] <= row["minutes"]["2"] < 1
    assert [point["epoch"] for point in row["curve"]] == [1, 2] and row["curve"][0]["samples"] == 20
    assert row["final"]["samples"] == 40 and row["final"]["step"] == 25

    table = (out / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert f"{row['final']['accuracy']['generated']:.2%}" in table.splitlines()[2]
    assert f"From FID on {row['final']['compared']} generated images are compared" in table
    assert "Trained with threads 2, jobs 1, device cpu: mlp at seed 0." in table
    for picture in ("curve.png", "mlp_seed0.png"):
        with Image.open(out / picture) as image:
            assert min(image.size) > 20

    assert bench() == []
    assert (out / "table.md").read_text() == table
    assert bench("--best_seeds", "2") == ["train.py", *JUDGED]
    assert (out / "table.md").read_text().splitlines()[2].startswith("| mlp | 0.00 M / 0.00 M | 2 | ")

    assert bench("--samples", "24") == 1 * JUDGED  # and not trained again
    row = json.loads((out / "mlp_seed0.json").read_text())
    assert row["final"]["samples"] == row["samples"] == 24

    judged: list[str] = []  # again, into the files that are there
    monkeypatch.setattr(digits.Run, "call", lambda run, *command: judged.append(run.name))
    bench("--judge_only")
    assert judged == 3 * ["mlp_seed0"]


@pytest.mark.parametrize("name, value", [("overrides", ["--lr", "0.1"]), ("dataroot", "/else"), ("preset_sha256", "0")])
def test_rows_of_other_training_are_no_rows(tmp_path: Path, name: str, value: object) -> None:
    (tmp_path / "mlp_seed0.json").write_text(json.dumps({"overrides": [], name: value}))
    with pytest.raises(SystemExit) as end:
        digits.main(["--presets", "mlp", "--dataroot", str(tmp_path), "--out", str(tmp_path)])
    assert f"mlp_seed0.json was trained with the {name} {value}; --overwrite it" in str(end.value)


def test_what_a_row_does_not_tell_counts_as_equal(tmp_path: Path) -> None:
    arguments = digits.parse(["--dataroot", str(tmp_path), "--overrides", "--lr", "1"])
    run = digits.Run("mlp", 0, tmp_path)
    old = {"overrides": ["--lr", "1"], "final": {}}
    assert digits.differing(old, digits.training(run, arguments)) == [] and digits.is_judged(old, arguments)
    assert not digits.is_judged(old | {"samples": 5}, arguments) and not digits.is_judged({}, arguments)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        digits.main(["--dataroot", str(tmp_path / "nothing")])
    assert end.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit, match="nothing has been trained in"):
        digits.main(["--dataroot", str(tmp_path), "--out", str(tmp_path), "--judge_only"])
    run = digits.Run("mlp", 3, tmp_path)
    with pytest.raises(SystemExit, match=r"error: mlp_seed3: no such thing \(all of it: .*mlp_seed3.log\)"):
        run.call("-c", "import sys; print('before'); sys.exit('no such thing')")
    assert run.log.read_text().splitlines()[0] == "before"


def test_seeds_are_shown_by_their_mean_and_range() -> None:
    def pair(generated: float) -> dict[str, float]:
        return {"generated": generated, "real": 0.5}

    rows, sizes = [], {"generator": 2_000_000, "discriminator": 500_000}
    for minutes, accuracy in ((2.0, 0.97), (4.0, 0.99)):
        final = {name: pair(0.25) for name in ("fid", "precision", "recall", "diversity")}
        final |= {"accuracy": pair(accuracy), "gan_train": {"accuracy": pair(0.9)}, "nearest_share": pair(0.25)}
        sizes = {"generator": 2_000_000, "discriminator": 500_000}
        rows.append(
            {"preset": "x", "parameters": sizes, "minutes": {"1": 1.0, "2": minutes}, "steps": 1234} | {"final": final}
        )
    line, real = digits_report.table(rows).splitlines()[2:]
    assert line.startswith(
        "| x | 2.00 M / 0.50 M | 2 | 3.0 (2.0 to 4.0) | 1,234 | 98.00% (97.00% to 99.00%) | 90.00% ("
    )
    assert line.endswith("| 25.00% (25.00% to 25.00%) |")
    assert real.endswith("| 50.00% | 50.00% | 0.5 | 0.5 | 0.5 | 0.5 | 50.00% |")
    assert digits_report.spread([0.25], digits_report.number) == "0.25"


def test_an_unconditional_run_has_gaps_in_the_table_and_is_never_the_best(tmp_path: Path) -> None:
    fid = {"fid": {"generated": 2.0, "real": 1.0}}
    point = {"epoch": 1, "compared": 20, "accuracy": None, "fid": 2.0, "fid_floor": 1.0}
    row = {"preset": "free", "seed": 0, "minutes": {"1": 1.0}, "steps": 5, "threads": 1, "jobs": 3, "device": "cpu"}
    row |= {"parameters": {"generator": 10**6, "discriminator": 10**6}, "curve": [point]}
    free = row | {"final": fid | {"accuracy": None, "gan_train": None, "compared": 1234}}
    pair = {"generated": 0.5, "real": 0.9}
    told = row | {"preset": "told", "final": fid | {"accuracy": pair, "gan_train": {"accuracy": pair}, "compared": 30}}
    lines = digits_report.table([free, told]).splitlines()
    assert lines[2].startswith("| free | 1.00 M / 1.00 M | 1 | 1.0 | 5 |  |  | 2 |")
    assert lines[4].startswith("| real images |  |  |  |  | 90.00% | 90.00% | 1 |")
    assert digits.best([free, told]) == "told"
    with pytest.raises(SystemExit, match="no run has a GAN-train accuracy"):
        digits.best([free])
    assert digits_report.conditions([free, told]).splitlines() == [
        "From FID on 30 or 1,234 generated images are compared with as many real ones; 20 in the curve.",
        "Trained with threads 1, jobs 3, device cpu: free at seed 0, told at seed 0.",
    ]
    digits_report.plot([free], tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert min(image.size) > 20
