"""Files that cannot be used, and worker processes that are interrupted or die."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i.data import BatchStream, ImageError, Key, Sample, sample_batch
from i2i.data.layouts.single import SingleDataset
from i2i.errors import UserError
from tests.pictures import dataset, noise, numbered, numbers, save

posix = pytest.mark.skipif(os.name != "posix", reason="signals between processes are a matter of POSIX")


@pytest.fixture
def half_bad(tmp_path: Path) -> Path:
    """Eight files of which 2, 3 and 7 are unusable."""
    numbered(tmp_path, 8)
    for number in (2, 3, 7):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    return tmp_path


def stream(root: Path, batch_size: int = 4, **options: Any) -> BatchStream:
    return BatchStream(dataset(root, "single", **({"serial_batches": True} | options)), batch_size)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_ends_the_run_in_one_line(half_bad: Path, workers: int) -> None:
    with pytest.raises(ImageError) as caught:
        stream(half_bad, num_threads=workers)()
    message = str(caught.value)
    assert message.startswith(f"{half_bad / '2.png'} cannot be read as an image (")
    assert "--on_bad_image skip" in message
    assert "\n" not in message and "Traceback" not in message


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_is_replaced_by_the_next(half_bad: Path, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    following = stream(half_bad, num_threads=workers, on_bad_image="skip")
    epochs = [numbers(following().a) + numbers(following().a) for _ in range(3)]
    assert epochs == [[0, 1, 4, 4, 4, 5, 6, 0]] * 3


def test_bad_files_are_listed_at_the_end_of_an_epoch(half_bad: Path, caplog: pytest.LogCaptureFixture) -> None:
    following = stream(half_bad, on_bad_image="skip")
    following()
    assert not caplog.records
    for _ in range(3):
        following()
    first, second = (record.message for record in caplog.records)
    heading, *lines = first.split("\n")
    assert heading.startswith("epoch 1: 3 of 8 ")
    assert [Path(line.split()[0]).name for line in lines] == ["2.png", "3.png", "7.png"]
    assert "--on_bad_image" not in first
    assert second.startswith("epoch 2: 3 of 8 ") and "\n" not in second


def test_bad_files_are_counted_in_the_epoch_that_met_them(half_bad: Path, caplog: pytest.LogCaptureFixture) -> None:
    following = stream(half_bad, batch_size=6, on_bad_image="skip")
    for _ in range(3):  # the second batch begins with images 6 and 7 and goes on with the next epoch's 0 to 3
        following()
    assert [record.message[:16] for record in caplog.records] == ["epoch 1: 3 of 8 ", "epoch 2: 3 of 8 "]


def test_a_long_list_of_bad_files_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbered(tmp_path, 1)
    for number in range(1, 30):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    stream(tmp_path, batch_size=30, on_bad_image="skip")()
    lines = caplog.records[0].message.split("\n")
    assert lines[0].startswith("epoch 1: 29 of 30 ") and len(lines) == 22 and " 9 " in lines[-1]


@pytest.mark.parametrize(("choice", "advice"), [("error", True), ("skip", False)])
def test_a_data_set_asked_for_one_sample_gives_no_other(half_bad: Path, choice: str, advice: bool) -> None:
    data = dataset(half_bad, "single", on_bad_image=choice)
    error = data[Key(0, 2)]
    assert isinstance(error, ImageError)
    assert ("--on_bad_image skip" in str(error)) == advice
    assert isinstance(data[Key(0, 1)], Sample)


def test_odd_widths_and_small_images_are_skipped_too(tmp_path: Path) -> None:
    for number, width in enumerate((16, 15, 8, 16)):
        save(tmp_path / "train" / f"{number}.png", noise(width, 8))
    data = dataset(tmp_path, "aligned", preprocess="crop", crop_size=(8,), on_bad_image="skip", serial_batches=True)
    batch = BatchStream(data, 4)()
    assert [Path(path).name for path in batch.paths_a] == ["0.png", "3.png", "3.png", "3.png"]
    odd, small = f"{tmp_path / 'train' / '1.png'} is 15", str(tmp_path / "train" / "2.png")
    reasons = [[message.split(" pixels")[0].split(": the")[0] for message in skipped] for skipped in batch.skipped]
    assert reasons == [[], [odd, small], [small], []]


def test_a_bad_partner_takes_its_pair_along(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 2)
    numbered(tmp_path / "trainB", 2, first=100)
    (tmp_path / "trainB" / "100.png").write_bytes(b"no image")
    data = dataset(tmp_path, "unaligned", on_bad_image="skip", serial_batches=True)
    batch = BatchStream(data, 2)()
    assert (numbers(batch.a), numbers(batch.b)) == ([1, 1], [101, 101])


@pytest.mark.parametrize(("bad", "tried"), [(3, 3), (130, 100)])
def test_nothing_but_bad_files_is_an_end(tmp_path: Path, bad: int, tried: int) -> None:
    for number in range(bad):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=rf"^{tried} .*{tried - 1}\.png"):
        stream(tmp_path, on_bad_image="skip")()


def test_a_hundredth_good_file_is_still_found(tmp_path: Path) -> None:
    for number in range(99):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    numbered(tmp_path, 1, first=99)
    assert numbers(stream(tmp_path, 1, on_bad_image="skip")().a) == [99]


@pytest.mark.parametrize("choice", ["error", "skip"])
def test_samples_to_look_at_obey_the_same_choice(half_bad: Path, choice: str) -> None:
    data = dataset(half_bad, "single", on_bad_image=choice)
    if choice == "skip":
        assert numbers(sample_batch(data).a) == [0, 4, 4, 6]
    else:
        with pytest.raises(ImageError, match=r"2\.png"):
            sample_batch(data)


def workers() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid is not None]


@posix
def test_workers_leave_signals_to_the_group_to_the_main_process(tmp_path: Path) -> None:
    numbered(tmp_path, 30)
    before = set(workers())
    following = stream(tmp_path, num_threads=2)
    for _ in range(2):  # one of each
        following()
    own = set(workers()) - before
    assert len(own) == 2 and all(os.getpgid(pid) != os.getpgrp() for pid in own)
    following.seek(0)
    assert not own & set(workers())


EXIT = """
from i2i.data import BatchStream, DataConfig, build_dataset
config = DataConfig(dataroot={!r}, dataset_mode="single", preprocess="none", num_threads=2)
following = BatchStream(build_dataset(config), 2)
following()
"""


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("raise KeyError", 1)])
def test_a_program_ends_although_its_workers_still_run(tmp_path: Path, ending: str, code: int) -> None:
    numbered(tmp_path, 30)
    script = [sys.executable, "-c", EXIT.format(str(tmp_path)) + ending]
    result = subprocess.run(script, capture_output=True, timeout=60, cwd=Path(__file__).parents[1])
    assert result.returncode == code


@posix
def test_workers_end_with_an_error(half_bad: Path) -> None:
    before = set(workers())
    following = stream(half_bad, num_threads=2)
    with pytest.raises(ImageError):
        following()
    assert set(workers()) == before
    assert following.position == 0


class Dying(SingleDataset):
    def load(self, key: Key) -> Sample:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().load(key)


@posix
def test_the_death_of_a_worker_is_one_line(tmp_path: Path) -> None:
    numbered(tmp_path, 4)
    following = BatchStream(Dying(dataset(tmp_path, "single", num_threads=1).config), 2)
    with pytest.raises(UserError, match="--num_threads") as caught:
        following()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "npy"])
def test_a_folder_full_of_damaged_files_neither_ends_nor_hangs_a_run(tmp_path: Path, kind: str) -> None:
    sound = io.BytesIO()
    if kind == "npy":
        np.save(sound, noise(24, 24))
    else:
        Image.fromarray(noise(24, 24)).save(sound, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    content = sound.getvalue()
    random = np.random.default_rng(0)
    for number in range(40):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 8):
            damaged[place] ^= 1 << int(random.integers(8))
        cut = int(random.integers(len(content))) if number % 2 else len(content)
        (tmp_path / f"{number}.{kind}").write_bytes(content if number % 8 == 0 else bytes(damaged[:cut]))
    options: dict[str, Any] = {"preprocess": "resize_and_crop", "load_size": (20,), "crop_size": (16,)}
    data = dataset(tmp_path, "single", num_threads=2, on_bad_image="skip", **options)
    following = BatchStream(data, 4)
    for _ in range(20):
        batch = following()
        assert batch.a is not None and batch.a.shape == (4, 3, 16, 16) and batch.a.isfinite().all()
