"""What a command makes of an error: one line for the user's own mistakes and files, a traceback for a bug."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from i2i.atomic import replace_text
from tests.tiny import write_pairs

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    "--model",
    "own",
    "--generator",
    "unet",
    "--num_downs",
    "3",
    "--generator_filters",
    "4",
    "--discriminator",
    "pixel",
    "--device",
    "cpu",
    "--discriminator_filters",
    "4",
    "--n_epochs",
    "1",
    "--n_epochs_decay",
    "0",
    "--load_size",
    "16",
    "--crop_size",
    "16",
    "--num_threads",
    "0",
]
OWN_MODEL = """
import sys
from i2i.errors import UserError
from i2i.models import MODELS
from i2i.models.pix2pix import Pix2Pix

class Own(Pix2Pix):
    def training_step(self, next_batch, step):
        {statement}
        yield from super().training_step(next_batch, step)

MODELS["own"] = Own
import train
raise SystemExit(train.main())
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("boundary") / "pairs").parent


def train_own(root: Path, name: str, statement: str, *words: str) -> subprocess.CompletedProcess[str]:
    where = ["--dataroot", str(root / "pairs"), "--checkpoints_dir", str(root / "runs"), "--name", name]
    return python(OWN_MODEL.format(statement=statement), *TINY, *where, *words)


@pytest.mark.parametrize("error", ["ValueError", "OSError", "FileNotFoundError", "KeyError", "RuntimeError"])
def test_a_bug_in_a_users_model_keeps_its_traceback(root: Path, error: str) -> None:
    done = train_own(root, error, f"raise {error}('of my own')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in training_step" in done.stderr and "of my own" in done.stderr
    assert error in done.stderr.splitlines()[-1] and "report" in done.stderr.splitlines()[-1]


def test_a_users_mistake_is_one_line(root: Path) -> None:
    done = train_own(root, "mistake", "raise UserError('--own 3: choose 4')")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "train.py: error: --own 3: choose 4"
    verbose = train_own(root, "verbose", "raise UserError('--own 3: choose 4')", "--verbose")
    assert verbose.returncode == 2 and "Traceback" in verbose.stderr


TOOLS = {
    "check": ("i2i.tools.check.__main__", "check", ["PAIRS", "--workers", "0"]),
    "evaluate": ("i2i.tools.evaluate", "evaluate", ["PAIRS", "PAIRS"]),
    "report": ("i2i.tools.report", "find_recorded", ["run"]),
    "explore": ("i2i.tools.explore.__main__", "from_values", ["interpolate", "run"]),
    "digits": ("i2i.tools.digits.__main__", "find_run", ["run", "--dataroot", "PAIRS"]),
}


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(("error", "code"), [("ValueError", 1), ("OSError", 1), ("UserError", 2)])
def test_the_tools_tell_bugs_from_mistakes(root: Path, name: str, error: str, code: int) -> None:
    module, function, words = TOOLS[name]
    stub = (
        f"import {module} as tool\nfrom i2i.errors import UserError\n"
        f"def broken(*_, **__): raise {error}('of its own')\n"
        f"tool.{function} = broken\nraise SystemExit(tool.main())"
    )
    done = python(stub, *(word.replace("PAIRS", str(root / "pairs")) for word in words))
    assert done.returncode == code, done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)
    assert len(done.stderr.splitlines()) == 1 or code == 1


# --- files


def train(*words: str, ahead: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*ahead, sys.executable, "train.py", "--model", "pix2pix", *TINY[2:], *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def one_line_of(done: subprocess.CompletedProcess[str], option: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert option in done.stderr.splitlines()[-1], done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("a file where a folder is wanted")
    return path


def test_a_file_in_place_of_a_folder_names_the_option(root: Path, file: Path) -> None:
    data = ["--dataroot", str(root / "pairs")]
    one_line_of(train(*data, "--checkpoints_dir", str(file)), "--checkpoints_dir")
    place = ["--checkpoints_dir", str(root / "elsewhere")]
    one_line_of(train(*data, *place, "--cache", "disk", "--cache_dir", str(file)), "--cache_dir")
    assert train(*data, *place, "--name", "whole").returncode == 0
    where = [
        *place,
        "--name",
        "whole",
        "--input",
        str(root / "pairs" / "train"),
        "--dataset_mode",
        "single",
        "--device",
        "cpu",
    ]
    test = [sys.executable, "test.py", *where, "--results_dir", str(file)]
    one_line_of(subprocess.run(test, cwd=ROOT, capture_output=True, text=True), "--results_dir")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["-m", "i2i.evaluate", "PAIRS/train", "PAIRS/train", "--metrics", "l1", "--json", "SMALL/f"], "--json"),
        (["-m", "i2i.check", "PAIRS", "--workers", "0", "--json", "SMALL/f"], "--json"),
        (["-m", "i2i.check", "PAIRS", "--workers", "0", "--html", "SMALL/f"], "--html"),
        (["datasets/prepare.py", "shapes", "--out", "SMALL/f"], "shapes"),
        (["datasets/make_shards.py", "PAIRS", "SMALL/f", "--dataset_mode", "aligned"], "OUT"),
        (["-m", "i2i.check", "PAIRS", "--workers", "0", "--json", "PAIRS/train"], "--json"),
    ],
)
def test_files_that_cannot_be_written(root: Path, words: list[str], option: str) -> None:
    words = [word.replace("PAIRS", str(root / "pairs")) for word in words]
    ahead: list[str] = []
    if any("SMALL" in word for word in words):
        place = root / "full"
        place.mkdir(exist_ok=True)
        ahead = full_file_system(place)
        words = [word.replace("SMALL", str(place)) for word in words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*ahead, sys.executable, *words]
    one_line_of(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment), option)


def full_file_system(place: Path) -> list[str]:
    """Words in front of a command that mount a file system without room at `place`; skips where that is refused."""
    fill = f'mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs {place} && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", fill, "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mount namespaces here: {error}")
    return words


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no mount namespaces here")
def test_a_full_disk_keeps_the_last_checkpoint(root: Path) -> None:
    """Train in a file system that a second run fills up."""
    place = root / "small"
    place.mkdir()
    script = f"""
        mount -t tmpfs -o size=1200k tmpfs {place} && "$@"
        echo "code $?" >&2
        dd if=/dev/zero of={place}/filler bs=1k >/dev/null 2>&1
        "$@" --continue_train --n_epochs 3
        echo "code $?" >&2
        rm {place}/filler
        {sys.executable} -c "import zipfile; zipfile.ZipFile('{place}/run/latest.pt')"
    """
    try:
        subprocess.run(["unshare", "-rm", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no mount namespaces here")
    words = ["--dataroot", str(root / "pairs"), "--checkpoints_dir", str(place), "--name", "run"]
    done = train(*words, ahead=("unshare", "-rm", "sh", "-c", script, "sh"))
    assert done.returncode == 0, done.stderr  # of zipfile: the checkpoint is whole
    assert "code 0" in done.stderr and "code 2" in done.stderr, done.stderr
    line = next(line for line in done.stderr.splitlines() if "error:" in line)
    assert "--checkpoints_dir" in line and "No space left" in line and "Traceback" not in done.stderr


def test_no_option_is_missing_from_errors_on_files(tmp_path: Path) -> None:
    manifest = tmp_path / "pairs.csv"
    manifest.symlink_to(tmp_path / "nowhere")
    one_line_of(train("--dataroot", str(manifest), "--checkpoints_dir", str(tmp_path)), str(manifest))
    one_line_of(train("--options", os.devnull + "/x", "--dataroot", str(tmp_path)), "--options")


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """As `--json /dev/stdout` is, by root too."""
    pipe, text = tmp_path / "pipe", "a card\n"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        replace_text(pipe, text)
        assert read.result(timeout=30) == text
    assert pipe.is_fifo()


def test_a_run_that_diverges_ends_in_one_line_and_is_no_bug(root: Path) -> None:
    done = train(
        *("--dataroot", str(root / "pairs"), "--checkpoints_dir", str(root / "diverged"), "--name", "x"),
        *("--model", "pix2pix", "--lambda_L1", "1e38", "--lr", "1", "--print_freq", "1", "--n_epochs", "3"),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "not finite" in done.stderr.splitlines()[-1] and "bug" not in done.stderr
