"""Checkpoints and interruption: nothing is lost, and a continued run ends in the same bits as a straight one."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.data import Batch, ImageError
from i2i.random_state import random_states, restore_random_states
from i2i.training import TrainConfig, Trainer, checkpoint
from i2i.watch.boards import Boards
from tests import tiny
from tests.test_validation import Means

ROOT = Path(__file__).parent.parent
CONTENT: dict[str, dict] = {"options": {}, "spec": {}, "model": {}, "ema": {}}


def command(root: Path, model: str, data: Path, name: str, *more: str) -> list[str]:
    """train.py on tiny networks; saved often, so that a kill at any moment finds a checkpoint."""
    nets = {"cgan": "--ngf 4 --ndf 4 --noise_dim 4 --crop_size 8 --load_size 8 --batch_size 4"}.get(
        model, "--ngf 4 --ndf 4 --crop_size 16 --load_size 18 --batch_size 2 --netD pixel"
    )
    nets += {"pix2pix": " --netG unet --num_downs 6", "cyclegan": " --netG resnet --num_blocks 1 --pool_size 3"}.get(
        model, ""
    )
    schedule = (
        "--n_epochs 20 --n_epochs_decay 20 --save_latest_freq 6 --print_freq 10 --display_freq 60 --num_threads 1"
    )
    files = ["--dataroot", str(data), "--checkpoints_dir", str(root), "--name", name, "--ema", "0.9"]
    return [sys.executable, str(ROOT / "train.py"), "--model", model, *files, *nets.split(), *schedule.split(), *more]


def data_for(model: str, folder: Path) -> Path:
    write = {"pix2pix": tiny.write_pairs, "cyclegan": tiny.write_domains, "cgan": tiny.write_classes}[model]
    return write(folder)


def watched(model: str, data: Path) -> list[str]:
    """Options of validation, of the policies that go by it, and of what is done about NaN; writes what they need."""
    if model == "pix2pix":
        tiny.write_pairs(data, 4, phase="val", seed=1)
    if model == "cyclegan":
        tiny.write_domains(data, 4, phase="val")
    torch.jit.script(Means()).save(str(data / "features.pt"))
    judged = f"--val_freq 30 --inception {data / 'features.pt'} "
    own = {
        "pix2pix": "--best_metric psnr --lr_policy plateau",
        "cyclegan": "--on_nan skip",
        "cgan": "--val_fraction 0.3 --patience 100 --on_nan rollback",
    }
    return (judged + own[model]).split()


def same(one: object, other: object) -> bool:
    """Whether two checkpoints' contents are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    return one == other


def losses(path: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "seconds_per_image", "data_share")} for line in lines]


def start(words: list[str]) -> subprocess.Popen:
    """In a process group of its own, as a shell starts a command."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(words, cwd=ROOT, text=True, start_new_session=True, preexec_fn=tiny.heed_signals, **pipes)


def wait_for_step(path: Path, step: int, process: subprocess.Popen) -> None:
    """Until the checkpoint at `path` is at least at `step`."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        if path.is_file() and torch.load(path, weights_only=True)["step"] >= step:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint came")


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan", "cgan"])
def test_a_run_killed_and_continued_ends_in_the_bits_of_a_straight_one(model: str, tmp_path: Path) -> None:
    data = data_for(model, tmp_path / "data")
    more = watched(model, data)
    straight = start(command(tmp_path, model, data, "straight", *more))
    killed = start(command(tmp_path, model, data, "killed", *more))
    latest = tmp_path / "killed" / "latest.pt"
    wait_for_step(latest, 7, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert straight.wait(120) == 0, straight.communicate()[0]
    at = torch.load(latest, weights_only=True)["images"]
    if at >= torch.load(tmp_path / "straight" / "latest.pt", weights_only=True)["images"]:
        pytest.fail("the run was over before it was killed: the test has shown nothing")

    again = [sys.executable, "train.py", "--name", "killed", "--checkpoints_dir", str(tmp_path), "--continue_train"]
    result = subprocess.run(again, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for file in ("best.pt", "latest.pt"):
        expected, got = (torch.load(tmp_path / name / file, weights_only=True) for name in ("straight", "killed"))
        expected["options"]["name"] = got["options"]["name"]
        different = [key for key in expected if not same(expected[key], got[key])]
        assert not different, file
    for file, least in (("metrics.jsonl", 20), ("findings.jsonl", 0), ("web/samples.jsonl", 4)):
        expected_lines, lines = (losses(tmp_path / name / file) for name in ("straight", "killed"))
        assert expected_lines == lines and len(lines) >= least, file  # neither a gap nor a double nor another value
    validations = [line for line in losses(tmp_path / "killed" / "metrics.jsonl") if any("val_" in key for key in line)]
    assert len(validations) == expected["validation"]["count"] >= 4
    if model != "cgan":  # whose images have no figures of their own
        examples = [(tmp_path / name / "web" / "examples.json").read_text() for name in ("straight", "killed")]
        assert examples[0] == examples[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(number: int, tmp_path: Path) -> None:
    data = data_for("cyclegan", tmp_path / "data")
    words = command(tmp_path, "cyclegan", data, "run", "--n_epochs", "100000", "--save_latest_freq", "20")
    process = start(words)
    wait_for_step(tmp_path / "run" / "latest.pt", 1, process)
    os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert f"train.py --name run --checkpoints_dir {tmp_path} --continue_train" in output
    state = torch.load(tmp_path / "run" / "latest.pt", weights_only=True)
    assert f"stopped after {state['images']} images" in output


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "latest.pt"
    checkpoint.save({"step": 1} | CONTENT, path)

    def full_disk(state: dict, file: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save({"step": 2}, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["latest.pt"]
    assert checkpoint.load(path)["step"] == 1


def test_an_epochs_checkpoint_survives_the_next_latest_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer = tiny.trainer(
        tiny.pix2pix(), epoch=4, n_epochs=6, n_epochs_decay=0, save_epoch_freq=1, keep_checkpoints=2, folder=tmp_path
    )
    trainer.fit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_5.pt", "epoch_6.pt", "latest.pt"]
    steps = {path.name: checkpoint.load(path)["step"] for path in tmp_path.iterdir()}
    assert steps == {"epoch_5.pt": 10, "epoch_6.pt": 12, "latest.pt": 12}


def test_finished_training_says_so_and_a_longer_one_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny.trainer(tiny.pix2pix(), n_epochs=1, n_epochs_decay=0, folder=tmp_path)
    assert trainer.fit() and trainer.step == 4
    assert trainer.fit() and trainer.step == 4
    assert "all 1 epochs are done already; a larger --n_epochs goes on" in caplog.text
    longer = tiny.trainer(tiny.pix2pix(), n_epochs=2, n_epochs_decay=0, folder=tmp_path)
    longer.load_state_dict(checkpoint.load(tmp_path / "latest.pt"))
    assert longer.fit() and longer.step == 8


def test_a_state_is_saved_when_the_clock_says_so_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(checkpoint, "save", lambda state, path: saved.append(state["step"]))
    for seconds, expected in ((-1.0, [1, 2, 3, 4]), (600.0, [4])):
        trainer = tiny.trainer(tiny.pix2pix(), n_epochs=1, n_epochs_decay=0, save_latest_freq=10**6, folder=tmp_path)
        trainer.saver.seconds = seconds
        trainer.fit()
        assert saved == expected
        saved.clear()


class Malicious:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused(zipped: bool, tmp_path: Path) -> None:
    path, trap = tmp_path / "latest.pt", tmp_path / "trap"
    torch.save({"format": 1, "model": Malicious(trap)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="latest.pt"):
        checkpoint.load(path)
    path.write_bytes(pickle.dumps(Malicious(trap)))
    with pytest.raises(ValueError, match="latest.pt"):
        checkpoint.load(path)
    assert not trap.exists()


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    checkpoint.save({"step": 1, "weights": torch.zeros(1000)} | CONTENT, tmp_path / "epoch_1.pt")
    content = (tmp_path / "epoch_1.pt").read_bytes()
    path = tmp_path / "latest.pt"
    for damaged in (content[: len(content) // 2], b"", b"\x80nonsense", b"PK\x03\x04 and more"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"latest.pt.*epoch_1.pt"):
            checkpoint.load(path)
    torch.save({"layer.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="--reference_weights"):
        checkpoint.load(path)
    torch.save({"format": 1, "step": 1}, path)
    with pytest.raises(ValueError, match="latest.pt"):
        checkpoint.load(path)
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match="99"):
        checkpoint.load(path)


def resumed(trainer: Trainer, saved: Path | dict, **options: Any) -> Trainer:
    """A new trainer like `trainer`, gone on from `saved` with other options."""
    torch.manual_seed(99)
    state = checkpoint.load(saved) if isinstance(saved, Path) else saved
    other = tiny.trainer(tiny.pix2pix(), epoch=len(trainer.stream), **dataclasses.asdict(trainer.config) | options)
    other.load_state_dict(state)
    return other


def test_options_given_anew_take_effect(tmp_path: Path) -> None:
    trainer = tiny.trainer(tiny.pix2pix(), n_epochs=4, n_epochs_decay=0, folder=tmp_path)
    trainer.train_step()
    trainer.save()
    latest = tmp_path / "latest.pt"
    group = resumed(trainer, latest, beta1=0.9, beta2=0.99).players.optimizers["generator"].param_groups[0]
    assert group["betas"] == (0.9, 0.99)
    faster = resumed(trainer, latest, lr_policy="plateau", lr=1e-3)
    assert faster.players.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1e-3)
    averaging = resumed(trainer, latest, ema=0.9)
    assert averaging.players.average is not None
    for key, value in averaging.players.average.shadow.items():
        assert torch.equal(value, trainer.model.state_dict()[key])
    scaled = resumed(trainer, latest)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaled.load_state_dict(checkpoint.load(latest))
    assert scaled.scaler.get_scale() == 8.0


def test_plateau_goes_on_where_it_was(tmp_path: Path) -> None:
    options = {"n_epochs": 30, "n_epochs_decay": 0, "lr_policy": "plateau", "plateau_loss": "G_L1", "lr": 0.0}
    trainer = tiny.trainer(tiny.pix2pix(), folder=tmp_path, **options)
    trainer.players.optimizers["generator"].param_groups[0]["lr"] = 1.0e-6
    assert trainer.players.plateau is not None
    for step in range(9):
        trainer.players.plateau.add(step, {"G_L1": torch.tensor(5.0)})
        trainer.players.plateau.end_epoch()
        if step == 4:
            trainer.save()
    other = resumed(trainer, tmp_path / "latest.pt")
    assert other.players.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1.0e-6)
    assert other.players.plateau is not None and other.players.plateau.schedulers["generator"].num_bad_epochs == 4
    assert trainer.players.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(2.0e-7)


def test_another_data_set_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = tiny.trainer(tiny.pix2pix(), epoch=4, n_epochs=4, n_epochs_decay=0, folder=tmp_path)
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    state = checkpoint.load(tmp_path / "latest.pt")
    trainer.stream.epoch = 40
    assert resumed(trainer, state).images == 60  # one epoch and a half, as before
    assert "an epoch had 4 images and has 40 now" in caplog.text

    digits = tiny.trainer(tiny.cgan(), folder=tmp_path)
    digits.save()
    state = checkpoint.load(tmp_path / "latest.pt")
    state["spec"]["classes"] = ["x", "z", "y"]
    with pytest.raises(ValueError, match="x, z, y.*x, y, z"):
        digits.load_state_dict(state)


def test_a_file_of_the_users_beside_the_checkpoints_is_left_alone(tmp_path: Path) -> None:
    for name in ("epoch_best.pt", "epoch_1_copy.pt"):
        (tmp_path / name).write_bytes(b"mine")
    trainer = tiny.trainer(
        tiny.pix2pix(), epoch=2, n_epochs=3, n_epochs_decay=0, save_epoch_freq=1, keep_checkpoints=1, folder=tmp_path
    )
    trainer.fit()
    assert sorted(p.name for p in tmp_path.glob("epoch*")) == ["epoch_1_copy.pt", "epoch_3.pt", "epoch_best.pt"]


class FailingStream(tiny.RandomStream):
    """A stream whose fourth batch cannot be read."""

    def __call__(self) -> Batch:
        if self.position == 3 * self.batch_size:
            raise ImageError("x.png cannot be read")
        return super().__call__()


def test_an_unusable_image_costs_none_of_the_steps_before_it(tmp_path: Path) -> None:
    model = tiny.pix2pix()
    board, config = ClosingBoard(), TrainConfig(n_epochs=5, n_epochs_decay=0)
    observers = tiny.observers(config, Boards([board]))  # type: ignore[list-item]
    trainer = Trainer(model, FailingStream(model), config, folder=tmp_path, observers=observers)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="x.png"):
        trainer.fit()
    state = checkpoint.load(tmp_path / "latest.pt")
    assert (state["step"], state["images"]) == (3, 6) and board.closed


class ClosingBoard:
    closed = False

    def scalars(self, progress: object, values: dict) -> None: ...

    def images(self, progress: object, pictures: dict) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_random_states_come_back(tmp_path: Path) -> None:
    def draw() -> tuple:
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random(), random.gauss(0, 1)]

    random.gauss(0, 1)  # leaves a second number cached
    cpu = torch.device("cpu")
    torch.save(random_states(cpu), tmp_path / "state.pt")
    expected = draw()
    draw()
    restore_random_states(torch.load(tmp_path / "state.pt", weights_only=True), cpu)
    assert draw() == expected
