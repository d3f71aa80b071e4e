"""Commands without a terminal: closed streams, pipes that nobody reads, signals, and plain progress lines."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from i2i import progress
from i2i.progress import Meter
from i2i.translate import TestConfig
from tests.tiny import heed_signals, write_pairs

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "--model pix2pix --generator unet --num_downs 3 --generator_filters 4 --discriminator pixel --device cpu "
    "--discriminator_filters 4 --n_epochs 1 --n_epochs_decay 0 --load_size 16 --crop_size 16 --num_threads 0"
)
pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")


def shell(command: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)


PYTHON = shlex.quote(sys.executable)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("streams")
    write_pairs(folder / "pairs")
    made = shell(train(folder, "run"))
    assert made.returncode == 0, made.stderr
    return folder


def train(folder: Path, name: str) -> str:
    return f"{PYTHON} train.py {TINY} --dataroot {folder}/pairs --checkpoints_dir {folder}/runs --name {name}"


def translate(root: Path, results: str) -> str:
    where = f"--checkpoints_dir {root}/runs --name run --results_dir {root}/{results}"
    return f"{PYTHON} test.py {where} --dataroot {root}/pairs --phase train --device cpu"


def check(root: Path) -> str:
    return f"{PYTHON} -m i2i.check {root}/pairs --workers 0"


def commands(root: Path, case: str) -> dict[str, str]:
    evaluate = f"{PYTHON} -m i2i.evaluate {root}/pairs/train {root}/pairs/train --metrics l1"
    report = f"{PYTHON} -m i2i.report run --checkpoints_dir {root}/runs"
    return {
        "train": train(root, case),
        "test": translate(root, case),
        "check": check(root),
        "evaluate": evaluate,
        "report": report,
    }


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", ["train", "test", "check", "evaluate", "report"])
def test_closed_streams_change_nothing(root: Path, name: str, closed: str) -> None:
    case = f"closed{len(closed)}"
    done = shell(f"{commands(root, case)[name]} {closed}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    if name == "train":
        assert (root / "runs" / case / "latest.pt").is_file()
    if name == "test":
        assert len(list((root / case).rglob("*_fake_B.png"))) == 6


@pytest.mark.parametrize("name", ["train", "test", "check", "evaluate", "report"])
def test_wrong_options_are_exit_code_2_without_streams(root: Path, name: str) -> None:
    assert shell(f"{commands(root, 'wrong')[name]} --nonsense 1 >&- 2>&-").returncode == 2


@pytest.mark.parametrize("name", ["check", "evaluate", "report", "test"])
def test_a_closed_pipe_ends_quietly(root: Path, name: str) -> None:
    done = shell(f"{commands(root, 'pipe')[name]} | true")
    assert done.returncode in (0, 141)
    done = shell(f"{{ {commands(root, 'pipe')[name]}; echo code $? >&2; }} > >(exec 0<&-; exec true)")
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr, done.stderr
    assert "code 141" in done.stderr or "code 0" in done.stderr, done.stderr


@pytest.mark.parametrize("words", ["-m i2i.check --help", "test.py --help", "datasets/prepare.py list"])
def test_help_into_a_closed_pipe(words: str) -> None:
    done = shell(f"{{ {PYTHON} {words}; echo code $? >&2; }} > >(exec 0<&-; exec true)")
    assert done.stderr in ("code 141\n", "code 0\n")


def test_training_goes_on_without_a_reader(root: Path) -> None:
    done = shell(f"{{ {train(root, 'unread')} 2>&1; echo $? > {root}/code; }} | true")
    assert (root / "code").read_text() == "0\n", done
    assert (root / "runs" / "unread" / "latest.pt").is_file()


def test_log_files_have_lines_and_no_bars(root: Path) -> None:
    for name, command in commands(root, "logged").items():
        done = shell(command)
        assert done.returncode == 0 and "\r" not in done.stdout + done.stderr, name
        assert "%|" not in done.stderr, name


def test_lines_come_at_intervals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with Meter(100, about="translating") as meter:
        for _ in range(100):
            meter.update()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10 and lines[4].startswith("translating: 50 of 100 images, 50%, ")
    assert lines[4].endswith(" left")
    monkeypatch.setattr(progress, "SECONDS", 30.0)
    with Meter(100) as meter:
        meter.update(100)
    assert not capsys.readouterr().err


def test_a_library_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Meter(3, leave=True) as meter:
        meter.update(3)
    assert meter.done == 3 and TestConfig()


# --- signals


def started(command: str, *ahead: str) -> subprocess.Popen[str]:
    words = [*ahead, *shlex.split(command)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(words, cwd=ROOT, text=True, preexec_fn=heed_signals, **pipes)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists(), process.communicate()[0]


def test_nohup_goes_on_ignoring_a_hangup(root: Path) -> None:
    words = f"{train(root, 'nohup')} --n_epochs 100000 --save_latest_freq 20"
    process = started(words, "nohup")
    wait_for(root / "runs" / "nohup" / "latest.pt", process)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143 and "--continue_train" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_translation_that_is_stopped_says_how_to_go_on(root: Path, number: signal.Signals) -> None:
    many = root / "many"
    if not many.is_dir():
        write_pairs(many, count=2000)
    results = f"stopped{number}"
    words = translate(root, results).replace(f"{root}/pairs", str(many))
    process = started(f"{words} --num_threads 2 --processes 2")
    wait_for(root / results / "run" / "train_latest" / "images" / "0_fake_B.png", process)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output, output
    assert "--skip_existing" in output.splitlines()[-1], output
    assert not [path for path in (root / results).rglob("*") if path.name.endswith(".tmp")]
