"""Encoding beside the model, formats, and folders that several processes or machines share."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data.domain import Domain
from i2i.data.images.sheets import to_pil
from i2i.data.images.writing import Encoding, denormalise
from i2i.data.inputs import input_dataset
from i2i.errors import UserError
from i2i.networks.reference_weights import Architecture, build, save_reference
from i2i.translate import TestConfig, background, images, translate_dataset
from i2i.translate.background import BackgroundJob, in_background
from i2i.translate.pictures import pictures_of, write_pictures
from i2i.translate.processes import device_of
from i2i.translate.rows import ResultRow, gathered, in_order
from options.test_options import TestOptions
from test import input_config, load_translator
from tests.test_translation import files, noise, pixels, translate

COUNT = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs of two sizes, and a U-Net with BatchNorm and dropout."""
    folder = tmp_path_factory.mktemp("sharing")
    for item in range(COUNT):
        noise(folder / "in" / f"{item}.png", 40 + 8 * (item == 3), 32)
    keywords = {"in_channels": 3, "out_channels": 3, "filters": 4, "norm": "batch", "dropout": True, "num_downs": 6}
    torch.manual_seed(0)
    architecture = Architecture("generator", "unet", keywords)
    save_reference(folder, "latest", "G", build(architecture).state_dict(), architecture)
    return folder


def run(root: Path, results: Path, *words: str) -> Path:
    """Translate with a batch size that leaves a remainder; gives the folder of the results."""
    where = ["--reference_weights", str(root / "latest_net_G.pth"), "--input", str(root / "in")]
    translate(root, results, "--model", "pix2pix", *where, "--batch_size", "2", *words)
    (folder,) = (results / "experiment_name").iterdir()
    return folder


@pytest.fixture(scope="module")
def expected(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process without options."""
    return run(root, tmp_path_factory.mktemp("expected"))


def rows_of(page: Path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


# --- beside the model


def test_results_come_in_order_and_at_most_so_many_jobs_ahead() -> None:
    made: list[int] = []

    def jobs() -> Iterator[BackgroundJob[int]]:
        for number in range(20):
            made.append(number)
            yield BackgroundJob(lambda number=number: (time.sleep(0.003 * (number % 3)), number)[1])

    for expected, number in enumerate(in_background(jobs(), threads=3, ahead=4)):
        assert number == expected and len(made) <= number + 6
    assert expected == 19


def test_what_is_begun_is_finished_and_the_rest_is_left_out() -> None:
    done: list[int] = []

    def job(number: int) -> None:
        time.sleep(0.05)
        done.append(number)

    work = in_background((BackgroundJob(partial(job, number)) for number in range(50)), threads=2, ahead=10)
    next(work)
    work.close()
    finished = list(done)
    time.sleep(0.1)
    assert done == finished and len(done) < 12


def test_of_large_images_few_wait() -> None:
    made: list[int] = []

    def jobs() -> Iterator[BackgroundJob[int]]:
        for number in range(8):
            made.append(number)
            yield BackgroundJob(lambda number=number: (time.sleep(0.01), number)[1], background.MOST_BYTES // 2)

    for number in in_background(jobs(), threads=1, ahead=8):
        assert len(made) <= number + 3
    assert number == 7


def test_files_are_those_of_writing_them_one_by_one(
    root: Path, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_by_one(jobs: Iterator[BackgroundJob[ResultRow]], threads: int, ahead: int) -> Iterator[ResultRow]:
        yield from (job.work() for job in jobs)

    monkeypatch.setattr(images, "in_background", one_by_one)
    assert contents(run(root, tmp_path)) == contents(expected)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_full_disk_is_one_line_and_every_file_whole(
    root: Path, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, threads: int
) -> None:
    written = Path.write_bytes

    def disk_full(self: Path, content: bytes) -> int:
        if "2_fake_B" in self.name:
            written(self, content[:9])
            raise OSError(28, "No space left on device", str(self))
        return written(self, content)

    monkeypatch.setattr(images, "suitable_threads", lambda device: threads)
    with monkeypatch.context() as full, pytest.raises(SystemExit) as stop:
        full.setattr(Path, "write_bytes", disk_full)
        run(root, tmp_path)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and lines[-1].startswith("test.py: error:") and "No space left" in lines[-1]
    (folder,) = (tmp_path / "experiment_name").iterdir()
    there = contents(folder / "images")
    assert "2_fake_B.png" not in there and "0_fake_B.png" in there
    assert there.items() <= contents(expected / "images").items()
    run(root, tmp_path, "--skip_existing")
    assert contents(folder) == contents(expected)


def test_rows_of_old_and_new_results_stand_in_the_order_of_the_images(
    root: Path, expected: Path, tmp_path: Path
) -> None:
    folder = run(root, tmp_path)
    for item in (1, 3):
        (folder / "images" / f"{item}_fake_B.png").unlink()
    run(root, tmp_path, "--skip_existing")
    assert rows_of(folder / "index.html") == [str(item) for item in range(COUNT)]
    assert contents(folder) == contents(expected)


# --- what is written


def test_label_maps_wait_and_are_written_as_classes(tmp_path: Path) -> None:
    for classes, kind in ((150, np.uint8), (300, np.uint16)):
        drawn = torch.rand(2, classes, 8, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        domains = (Domain(),), (Domain(classes, "labels", 0, classes - 1),)
        for row, pictures in enumerate(pictures_of({"fake_B": drawn}, domains, ["fake_B"], ["uint8"] * 2)):
            assert pictures.nbytes == 8 * 16 * (3 + np.dtype(kind).itemsize)
            write_pictures(tmp_path, f"{classes}_{row}", pictures, Encoding("jpg"))
            found = cv2.imread(str(tmp_path / f"{classes}_{row}_fake_B.png"), cv2.IMREAD_UNCHANGED)
            indices = found if kind is np.uint16 else np.asarray(Image.open(tmp_path / f"{classes}_{row}_fake_B.png"))
            np.testing.assert_array_equal(indices, drawn[row].argmax(0))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_batch_is_turned_into_the_pixels_of_its_images(channels: int) -> None:
    drawn = torch.rand(2, channels, 300, 16, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    drawn[0, :, :256] = (torch.arange(256) / 127.5 - 1).view(1, 256, 1)
    domain = (Domain(channels, alpha=channels == 4),)
    results = pictures_of({"real_A": drawn, "fake_B": drawn}, (domain, domain), ["fake_B"], ["uint8", "uint8"])
    for image, (by_label, _) in zip(drawn, results, strict=True):
        picture = by_label["fake_B"]
        np.testing.assert_array_equal(np.asarray(to_pil(image)).reshape(picture.shown.shape), picture.shown)
        assert (picture.values is None) == (channels in (1, 3, 4))
    by_label, _ = results[0]
    exact = denormalise(drawn[0], Domain(channels))[:256, :, :3]
    np.testing.assert_array_equal(by_label["fake_B"].shown[:256, :, : min(channels, 3)], exact)


def test_jpeg_of_a_quality_and_png_of_a_level(root: Path, expected: Path, tmp_path: Path) -> None:
    sizes = {}
    for quality in ("30", "100"):
        folder = run(root, tmp_path / quality, "--format", "jpg", "--jpeg_quality", quality)
        names = [name.replace(".png", ".jpg") for name in files(expected)]
        assert files(folder) == names and "images/0_fake_B.jpg" in (folder / "index.html").read_text()
        with Image.open(folder / "images" / "1_fake_B.jpg") as picture:
            assert picture.format == "JPEG" and picture.size == (40, 32)
        sizes[quality] = (folder / "images" / "1_real_A.jpg").stat().st_size
    assert sizes["30"] < sizes["100"]
    brightness = [
        np.asarray(Image.open(path).convert("L")).astype(int)
        for path in (folder / "images" / "1_fake_B.jpg", expected / "images" / "1_fake_B.png")
    ]
    assert np.abs(brightness[0] - brightness[1]).mean() < 3
    for level in ("0", "9"):
        folder = run(root, tmp_path / level, "--png_level", level)
        assert (pixels(folder / "images" / "1_fake_B.png") == pixels(expected / "images" / "1_fake_B.png")).all()
        sizes[level] = (folder / "images" / "1_fake_B.png").stat().st_size
    assert sizes["9"] < sizes["0"]


def test_jpeg_results_are_found_again(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = run(root, tmp_path, "--format", "jpg")
    before, page = contents(folder / "images"), (folder / "index.html").read_text()
    run(root, tmp_path, "--format", "jpg", "--skip_existing")
    assert "0 images translated" in capsys.readouterr().out
    assert contents(folder / "images") == before and (folder / "index.html").read_text() == page


def test_transparency_stays_in_png(tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (16, 16, 4)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(random).save(tmp_path / "in" / "x.png")
    keywords = {"in_channels": 4, "out_channels": 3, "filters": 4, "norm": "instance", "dropout": False, "num_downs": 6}
    architecture = Architecture("generator", "unet", keywords)
    save_reference(tmp_path, "latest", "G", build(architecture).state_dict(), architecture)
    folder = run(tmp_path, tmp_path / "out", "--format", "jpg")
    assert files(folder / "images") == ["x_fake_B.jpg", "x_real_A.png"]
    with Image.open(folder / "images" / "x_real_A.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), random)


# --- shares


def test_two_processes_give_what_one_gives(root: Path, expected: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    folder = run(root, tmp_path, "--processes", "2")
    assert contents(folder) == contents(expected) and torch.get_num_threads() == threads


def test_helpers_translate_what_the_first_process_has_loaded(root: Path, expected: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "in", tmp_path / "in")
    weights = shutil.copy(root / "latest_net_G.pth", tmp_path)
    words = ["--batch_size", "2", "--num_threads", "0", "--device", "cpu", "--processes", "2"]
    options = TestOptions(
        ["--model", "pix2pix", "--reference_weights", weights, "--input", str(tmp_path / "in"), *words]
    )
    translator = load_translator(options)
    dataset = input_dataset(input_config(options, translator))
    noise(tmp_path / "in" / "00.png", 40, 32)  # another would be number 1 from now on
    Path(weights).unlink()
    folder = tmp_path / "out"
    assert translate_dataset(translator, dataset, folder, options.test, options.labels) == COUNT
    assert contents(folder / "images") == contents(expected / "images")
    assert rows_of(folder / "index.html") == rows_of(expected / "index.html")


def test_no_process_is_started_for_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    @contextmanager
    def none(work: Any, processes: int) -> Iterator[list[Any]]:
        started.append(processes)
        yield []

    monkeypatch.setattr(images, "helpers", none)
    run(root, tmp_path, "--processes", "8", "--num_test", "1")
    assert started == [1]


def test_each_process_has_a_device_of_its_own_unless_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda, second, cpu = torch.device("cuda"), torch.device("cuda:1"), torch.device("cpu")
    assert [device_of(process, cuda).index for process in (1, 2, 3)] == [1, 0, 1]
    assert device_of(2, second) == second and device_of(1, cpu) == cpu


def test_what_a_helper_finds_wrong_is_said_once(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    for item in range(2):
        (tmp_path / "in" / f"{item}.png").write_bytes((root / "in" / f"{item}.png").read_bytes()[: 9999 - 9900 * item])
    with pytest.raises(SystemExit) as stop:
        run(root, tmp_path / "out", "--input", str(tmp_path / "in"), "--processes", "2")
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert stop.value.code == 2 and len(lines) == 1 and "1.png cannot be read" in lines[0]
    assert not multiprocessing.active_children()


def test_a_helper_that_dies_is_an_error_and_not_a_silence() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.send(ResultRow(1, "b", {}))
    sender.close()
    rows = gathered([ResultRow(0, "a", {})], [receiver])
    assert next(rows).item == 0 and next(rows).item == 1
    with pytest.raises(UserError, match="a process that translates has died"):
        next(rows)


def test_rows_of_several_processes_are_put_in_order() -> None:
    rows = [ResultRow(item, "x", {}) for item in (4, 0, 2, 6)]
    assert [row.item for row in in_order(rows, range(0, 7, 2))] == [0, 2, 4, 6]
    for wrong, message in (
        (rows[:3], "no result for image number 6"),
        (rows[2:], "no result for image number 0"),
        ([*rows[:2], ResultRow(3, "x", {})], "a result for image number 3, x"),
    ):
        with pytest.raises(RuntimeError, match=message):
            list(in_order(wrong, range(0, 7, 2)))


def test_parts_make_up_the_whole(root: Path, expected: Path, tmp_path: Path) -> None:
    for part in ("1/2", "2/2"):
        folder = run(root, tmp_path, "--part", part)
    assert contents(folder / "images") == contents(expected / "images")
    assert rows_of(folder / "index_1of2.html") == ["0", "2", "4"] and rows_of(folder / "index_2of2.html") == ["1", "3"]
    assert not (folder / "index.html").exists()
    assert [list(TestConfig(part=f"{number}/3").items(7)) for number in (1, 2, 3)] == [[0, 3, 6], [1, 4], [2, 5]]
    assert list(TestConfig(part="3/3").items(2)) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--part 3/2", "--part 3/2: give the part's number and how many there are"),
        ("--part 0/2", "--part 0/2"),
        ("--part two", "--part two"),
        ("--processes 0", "--processes 0: must be at least 1"),
        ("--png_level 10", "--png_level 10: must be between 0 and 9"),
        ("--jpeg_quality 0", "--jpeg_quality 0: must be between 1 and 100"),
        ("--format gif", "invalid choice: 'gif'"),
        ("--precision fp16", "fp16 needs CUDA"),
    ],
)
def test_what_makes_no_sense_is_refused(root: Path, tmp_path: Path, capsys: Any, words: str, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(root, tmp_path, "--device", "cpu", *words.split())
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and message in lines[-1]


def test_batch_and_readers_suit_unless_they_are_given(root: Path) -> None:
    words = ["--reference_weights", str(root / "latest_net_G.pth"), "--input", str(root / "in"), "--device", "cpu"]
    options = TestOptions(["--model", "pix2pix", *words])
    data = input_config(options, load_translator(options))
    assert (data.batch_size, data.num_threads) == (8, 0)
    options = TestOptions(["--model", "pix2pix", *words, "--batch_size", "3", "--num_threads", "1"])
    data = input_config(options, load_translator(options))
    assert (data.batch_size, data.num_threads) == (3, 1)
