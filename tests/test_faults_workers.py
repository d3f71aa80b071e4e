"""Failures of the processes that load images: each reaches the user within seconds, or is got round."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import BatchStream, DataConfig, Sample, build_dataset, samples_in_order, workers
from i2i.data.layouts.base import ImageDataset
from i2i.errors import UserError
from i2i.translate import rows
from i2i.translate.rows import gathered
from tests.tiny import write_pairs

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256
TINY = (
    "--model pix2pix --generator unet --num_downs 3 --generator_filters 4 --discriminator pixel --device cpu "
    f"--discriminator_filters 4 --n_epochs 1 --n_epochs_decay 0 --load_size {SIDE} --crop_size {SIDE}"
).split()


def in_namespace(size: str) -> list[str]:
    """Words in front of a command that give it a /dev/shm of its own; skips where that is not allowed."""
    mounted = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", mounted, "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mount namespaces here: {error}")
    return words


def command(*words: str, ahead: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ahead, sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_commands_work_where_shared_memory_is_small(tmp_path: Path) -> None:
    ahead, pairs = in_namespace("1m"), write_pairs(tmp_path / "pairs", count=4, size=SIDE)
    where = ["--checkpoints_dir", str(tmp_path), "--name", "run"]
    trained = command("train.py", *TINY, *where, "--dataroot", str(pairs), "--batch_size", "4", ahead=ahead)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.count("--shm-size") == 1 and "Traceback" not in trained.stderr
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (700, 700, 3)).astype(np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.png")
    results = ["--input", str(photos), "--results_dir", str(tmp_path / "results"), "--num_threads", "2"]
    tested = command("test.py", *where, *results, "--device", "cpu", "--pictures", "fake", ahead=ahead)
    assert tested.returncode == 0, tested.stderr
    assert len(list((tmp_path / "results").rglob("*_fake_B.png"))) == 4


def no_room(*_: Any) -> None:
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


def dataset(root: Path, **options: Any) -> ImageDataset:
    size: dict[str, Any] = {"load_size": (16,), "crop_size": (16,)}
    return build_dataset(DataConfig(dataroot=str(root), dataset_mode="aligned", **size | options))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path, count=6)


def equal_samples(one: Sample, other: Sample) -> bool:
    same = all(torch.equal(getattr(one, name), getattr(other, name)) for name in "ab")
    return same and (one.path_a, one.kind) == (other.path_a, other.kind)


def test_images_are_the_same_without_shared_memory(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = BatchStream(dataset(pairs, num_threads=0), 2)
    expected = [alone() for _ in range(5)]
    samples = dict(samples_in_order(dataset(pairs, num_threads=0), range(6)))
    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", no_room)
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    stream = BatchStream(dataset(pairs, num_threads=2), 2)
    for batch in expected:
        found = stream()
        assert batch.paths_a == found.paths_a and torch.equal(batch.image("a"), found.image("a"))
        assert torch.equal(batch.image("b"), found.image("b"))
    for item, sample in samples_in_order(dataset(pairs, num_threads=2), range(6)):
        assert isinstance(sample, Sample) and equal_samples(sample, samples[item])


# --- workers that fail


def consumed_by_training(data: ImageDataset) -> None:
    stream = BatchStream(data, 1)
    for _ in range(8):
        stream()


def consumed_by_translation(data: ImageDataset) -> None:
    list(samples_in_order(data, range(6)))


def failing(how: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, data: ImageDataset) -> None:
    """Let workers that load the fourth item do what `how` does."""
    usual = type(data).load

    def loads(self: ImageDataset, key: Any) -> Any:
        if key.item == 3 and multiprocessing.parent_process() is not None:
            how()
        return usual(self, key)

    monkeypatch.setattr(type(data), "load", loads)


@pytest.fixture
def no_process_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not multiprocessing.active_children()


CONSUMERS = [consumed_by_training, consumed_by_translation]
DEATHS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashed": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "left": lambda: os._exit(0),
}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("no_process_is_left")
@pytest.mark.parametrize("consume", CONSUMERS)
@pytest.mark.parametrize("death", DEATHS)
def test_a_death_names_the_way_out_within_seconds(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, death: str, consume: Callable[[ImageDataset], None]
) -> None:
    data = dataset(pairs, num_threads=2)
    failing(DEATHS[death], monkeypatch, data)
    monkeypatch.setattr(workers, "CHECK", 1)
    started = time.monotonic()
    with pytest.raises((UserError, RuntimeError)) as raised:  # a RuntimeError of torch's, wherever the program was
        consume(data)
    failure = workers.worker_failure(raised.value) or raised.value
    assert isinstance(failure, UserError) and "--num_threads" in str(failure)
    assert time.monotonic() - started < 20


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.usefixtures("no_process_is_left")
@pytest.mark.parametrize("consume", CONSUMERS)
def test_a_worker_that_does_not_answer_is_given_up(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, consume: Callable[[ImageDataset], None]
) -> None:
    data = dataset(pairs, num_threads=1)
    failing(lambda: os.kill(os.getpid(), signal.SIGSTOP), monkeypatch, data)
    monkeypatch.setattr(workers, "CHECK", 1)
    monkeypatch.setattr(workers, "DEADLINE", 2.0)
    with pytest.raises(UserError, match="2 s.*--num_threads"):
        consume(data)


@pytest.mark.usefixtures("no_process_is_left")
@pytest.mark.parametrize("consume", CONSUMERS)
@pytest.mark.parametrize("error", [ValueError, OSError, FileNotFoundError, KeyError])
def test_an_exception_in_a_worker_keeps_its_traceback(
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
    consume: Callable[[ImageDataset], None],
    error: type[Exception],
) -> None:
    def broken() -> None:
        raise error("of the user's own")

    data = dataset(pairs, num_threads=2)
    failing(broken, monkeypatch, data)
    with pytest.raises(error) as raised:
        consume(data)
    assert not isinstance(raised.value, UserError)
    assert re.search(r"Traceback.*in broken.*of the user's own", str(raised.value), re.DOTALL)


def test_a_missing_file_of_a_users_data_set_is_no_death_of_a_worker(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: ImageDataset, key: Any) -> None:
        raise FileNotFoundError("of the user's own")

    data = dataset(pairs, num_threads=0)
    monkeypatch.setattr(type(data), "load", missing)
    for consume in CONSUMERS:
        with pytest.raises(FileNotFoundError, match="of the user's own"):
            consume(data)


def test_processes_that_cannot_be_started_are_one_line(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", full)
    for consume in CONSUMERS:
        with pytest.raises(UserError, match="temporarily unavailable.*--num_threads"):
            consume(dataset(pairs, num_threads=2))


def test_helpers_that_send_nothing_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DEADLINE", 0.1)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender, pytest.raises(UserError, match="0.1 s.*--processes"):
        list(gathered([], [receiver]))
