"""What a run shows: pictures, boards, the files and pages of a run, and curves."""

import csv
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from i2i.data.images.sheets import GAP, comparison_grid, grid, labelled_grid, sample_sheet, save_png, to_pil, to_uint8
from i2i.records import append_text, replace_text
from i2i.translate.page import ResultsPage
from i2i.watch.boards import Boards, Example, FileBoard, Finding, Progress
from i2i.watch.boards import board as board_module
from i2i.watch.boards import files as files_module
from i2i.watch.boards.curves import Curve, main, panels_of, plot_curves, read_metrics, smooth, thin
from i2i.watch.boards.files import evenly_spaced


def solid(*levels: int, channels: int = 1, height: int = 8, width: int = 8) -> Tensor:
    """One image for each 8-bit level."""
    return torch.cat([torch.full((1, channels, height, width), level / 127.5 - 1) for level in levels])


# --- pictures


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_8_bit_value_survives_the_round_trip(dtype: torch.dtype) -> None:
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(values.to(dtype) / 127.5 - 1), values)


def test_to_uint8_rounds_and_clamps() -> None:
    assert to_uint8(torch.tensor([-7.0, -1 + 0.6 / 127.5, 1 - 0.4 / 127.5, 7.0])).tolist() == [0, 1, 255, 255]


@pytest.mark.parametrize(
    ("channels", "mode", "pixel"),
    [(1, "L", 10), (2, "RGB", (10, 20, 0)), (3, "RGB", (10, 20, 30)), (5, "RGB", (10, 20, 30))],
)
def test_to_pil_by_channels(channels: int, mode: str, pixel: object) -> None:
    image = torch.cat([solid(10 * (channel + 1), height=4, width=6)[0] for channel in range(channels)])
    picture = to_pil(image)
    assert (picture.mode, picture.size, picture.getpixel((5, 3))) == (mode, (6, 4), pixel)


def test_grid_magnifies_small_images_without_mixing_pixels() -> None:
    image = torch.rand(1, 3, 28, 28) * 2 - 1
    sheet = np.asarray(grid(image, columns=3))
    expected = to_uint8(image[0]).permute(1, 2, 0).numpy().repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(sheet[GAP:-GAP, GAP:-GAP], expected)


def test_grid_is_read_row_by_row() -> None:
    sheet = grid(solid(0, 50, 100, 150, 200, height=128, width=128), columns=2)
    pitch = 128 + GAP
    assert sheet.size == (2 * pitch + GAP, 3 * pitch + GAP)
    pixels = [sheet.getpixel((64 + column * pitch, 64 + row * pitch)) for row in range(3) for column in range(2)]
    assert pixels == [(level,) * 3 for level in (0, 50, 100, 150, 200, 255)]


def test_large_images_are_reduced() -> None:
    assert grid(solid(9, height=512, width=1024), columns=1).size == (512 + 2 * GAP, 256 + 2 * GAP)


def test_comparison_grid_has_a_row_a_sample_and_a_column_a_label() -> None:
    pictures = {"real_A": solid(10, 20, height=128, width=128), "fake_B": solid(30, 40, channels=3)}
    sheet = comparison_grid(pictures)
    pitch = 128 + GAP
    bottom = [sheet.getpixel((64 + column * pitch, sheet.height - GAP - 64)) for column in range(2)]
    above = [sheet.getpixel((64 + column * pitch, sheet.height - GAP - 64 - pitch)) for column in range(2)]
    assert (above, bottom) == ([(10,) * 3, (30,) * 3], [(20,) * 3, (40,) * 3])
    assert sheet.height > 2 * pitch + GAP and sheet.width == 2 * pitch + GAP


def test_comparison_grid_writes_each_label_above_its_column() -> None:
    pictures = {"real_A": solid(0), "": solid(0), "x" * 200: solid(0)}
    sheet = comparison_grid(pictures)
    label_rows = np.asarray(sheet)[: sheet.height - 128 - 2 * GAP]
    pitch = 128 + GAP
    inks = [(label_rows[:, GAP + i * pitch : i * pitch + pitch] < 128).any() for i in range(3)]
    assert inks == [True, False, True]
    assert (label_rows[:, [*range(GAP), -1]] == 255).all(), "a long label leaves its column"


def test_labelled_grid_sorts_by_class_and_shows_the_first_of_each() -> None:
    images = solid(10, 20, 30, 40, 50, height=128, width=128)
    sheet = labelled_grid(images, torch.tensor([2, 0, 2, 2, 0]), ["zéro 零", "one", "t\nwo" * 99], columns=2)
    pitch = 128 + GAP
    assert sheet.height == 2 * pitch + GAP, "one row for each of the two classes that have images"
    from_right = [sheet.width - GAP - 64 - pitch, sheet.width - GAP - 64]
    pixels = [[sheet.getpixel((x, GAP + 64 + row * pitch)) for x in from_right] for row in range(2)]
    assert pixels == [[(20,) * 3, (50,) * 3], [(10,) * 3, (30,) * 3]]
    names = np.asarray(sheet)[:, : sheet.width - 2 * pitch - GAP]
    assert (names[:pitch] < 128).any() and (names[pitch:] < 128).any()
    assert names.shape[1] < 2 * pitch, "a long class name is clipped"


def test_sample_sheet_of_one_label_is_a_square() -> None:
    images = solid(1, 2, 3, 4, height=128, width=128)
    assert sample_sheet({"fake": images}).image.size == grid(images, columns=2).size
    assert sample_sheet({"a": images, "b": images}).image.size == comparison_grid({"a": images, "b": images}).size


@pytest.mark.parametrize("labels", [("fake",), ("real_A", "fake_B")])
def test_a_sheet_tells_where_its_pictures_are(labels: tuple[str, ...]) -> None:
    pictures = {label: solid(*range(30 * place, 30 * place + 5), width=4) for place, label in enumerate(labels)}
    image, boxes = sample_sheet(pictures)
    assert [list(row) for row in boxes] == [list(labels)] * 5
    for row, cells in enumerate(boxes):
        for place, (left, top, width, height) in enumerate(cells.values()):
            assert (width, height) == (64, 128), "16 times as large"
            cell = np.asarray(image.crop((left, top, left + width, top + height)))
            assert (cell == 30 * place + row).all()


def test_save_png_replaces_only_by_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_png(Image.new("L", (2, 2), 7), path)
    with pytest.raises(OSError):
        save_png(Image.new("CMYK", (2, 2)), path)
    assert Image.open(path).getpixel((0, 0)) == 7
    assert os.listdir(tmp_path) == ["x.png"]


# --- boards


class Recorder:
    """A board that remembers what it was told, and raises when told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def _record(self, call: str) -> None:
        self.calls.append(call)
        if self.error:
            raise self.error

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        self._record("scalars")

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        self._record("images")

    def close(self) -> None:
        self._record("close")


def test_a_board_that_raises_is_one_warning_and_is_asked_again_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(board_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    broken, sound = Recorder(RuntimeError("first\nsecond line")), Recorder()
    boards = Boards([broken, sound])
    for clock.now in (0.0, 59.0, 60.0, 61.0):
        boards.scalars(Progress(1, 4, 1), {"D_A": 1.0})
    boards.close()
    assert broken.calls == ["scalars"] * 2 + ["close"]
    assert sound.calls == ["scalars"] * 4 + ["close"]
    assert len(caplog.messages) == 1
    assert "first second line" in caplog.messages[0] and "\n" not in caplog.messages[0]


def test_a_board_that_takes_long_to_raise_is_left_alone_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 504.0, 506.0, 507.0])  # 5 seconds, so that it rests until 505
    monkeypatch.setattr(board_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    broken = Recorder(OSError())
    boards = Boards([broken])
    asked = []
    for _ in range(3):
        boards.scalars(Progress(1, 4, 1), {})
        asked.append(len(broken.calls))
    assert asked == [1, 1, 2]


def test_boards_let_an_interrupt_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        Boards([Recorder(KeyboardInterrupt())]).close()


# --- the files of a run


class Links(HTMLParser):
    """The sources and link targets of a page, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def strict(line: str) -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


def record(board: FileBoard, first: int, last: int) -> None:
    """Events at 4 images a step; samples at every second one, a validation and a finding at every third."""
    for step in range(first, last + 1):
        progress = Progress(step, 4 * step, 1 + step // 4)
        board.scalars(progress, {"D_A": 1 / step, "G_A": step / 3})
        if step % 2 == 0:
            board.images(progress, {"real_A": solid(step), "fake_B": solid(2 * step)})
        if step % 3 == 0:
            board.scalars(progress, {"val_l1": 0.5, "train_l1": float("inf")})
            board.findings(progress, [Finding("nan", "alarm", float("nan"), f"at {step}", "--clip_grad")])
            board.examples(progress, "l1", [example(step)], [example(step + 1), example(step + 2)])


def example(level: int) -> Example:
    return Example(f"{level}.png", {"l1": level / 10}, {"real_A": solid(level)[0], "fake_B": solid(level + 1)[0]})


def state(run: Path) -> tuple[list[dict[str, object]], list[str], list[str]]:
    """What the files of a run say: numbers without their time, picture files, and the page's pictures in order."""
    lines = [strict(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    numbers = [{name: value for name, value in line.items() if name != "time"} for line in lines]
    linked = [target for target in Links(run / "web/index.html").targets if target.startswith("images/")]
    return numbers, sorted(os.listdir(run / "web/images")), linked


def told(run: Path) -> list[object]:
    """What the other files of a run say: the table, the findings, the sheets and the examples, without their times."""
    with (run / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    findings = [strict(line) for line in (run / "findings.jsonl").read_text().splitlines()]
    sheets = [strict(line) for line in (run / "web/samples.jsonl").read_text().splitlines()]
    examples = run / "web/examples.json"
    index = strict(examples.read_text()) if examples.exists() else None
    timed: list[dict[str, object]] = [*table, *findings]
    untimed = [{name: value for name, value in line.items() if name != "time"} for line in timed]
    return [untimed, sheets, index, sorted(os.listdir(run / "web/examples"))]


def test_scalars_are_strict_json_with_the_time_in_utc(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    board.scalars(Progress(5, 20, 2), {"D_A": 0.25, "G_A": float("nan"), "G_B": float("inf")})
    line = strict((tmp_path / "metrics.jsonl").read_text())
    assert datetime.fromisoformat(str(line.pop("time"))).utcoffset() == timedelta(0)
    assert line == {"step": 5, "images": 20, "epoch": 2, "D_A": 0.25, "G_A": None, "G_B": None}


def test_the_page_grows_by_appending_and_its_links_hold(tmp_path: Path) -> None:
    run = tmp_path / "a <b> & c"
    board = FileBoard(run)
    page = run / "web/index.html"
    before = page.read_text()
    record(board, 1, 4)
    assert page.read_text().startswith(before)
    board.close()
    (run / "report.html").touch()  # ReportBoard's
    links = Links(page)
    assert "a <b> & c" in links.text
    assert len(links.targets) == 2 + 1 + 2 * 2, "the report, the numbers, the curves, and a link and a picture an event"
    assert all((page.parent / unquote(target)).is_file() for target in links.targets)
    assert Image.open(run / "web/images/000000016.png").width == 2 * 128 + 3 * GAP


def test_a_second_event_at_the_same_count_replaces_the_picture(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    for level in (10, 200):
        board.images(Progress(1, 4, 1), {"fake": solid(level)})
    assert len((tmp_path / "web/samples.jsonl").read_text().splitlines()) == 1
    _, pictures, linked = state(tmp_path)
    assert (pictures, len(linked)) == (["000000004.png"], 2)
    assert Image.open(tmp_path / "web/images/000000004.png").getpixel((60, 60)) == (200,) * 3


def test_a_killed_and_resumed_run_shows_what_a_straight_one_shows(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight" / "run", tmp_path / "resumed" / "run"
    record(FileBoard(straight), 1, 9)
    record(FileBoard(resumed), 1, 7)
    with (resumed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "images": 3')
    with (resumed / "web/index.html").open("a") as file:
        file.write('<section id="images-8"><h2>torn')
    (resumed / "web/images/.000000032.png.tmp").write_bytes(b"torn")
    record(FileBoard(resumed, resume_images=4 * 5), 6, 9)
    assert state(resumed) == state(straight)
    assert told(resumed) == told(straight)


def test_what_came_after_the_checkpoint_is_gone_once_a_run_is_resumed(tmp_path: Path) -> None:
    record(FileBoard(tmp_path), 1, 7)
    FileBoard(tmp_path, resume_images=4 * 5)
    rows, sheets, index, pictures = told(tmp_path)
    assert isinstance(rows, list) and isinstance(sheets, list)
    assert max(int(row["images"]) for row in rows) == 20
    assert [sheet["images"] for sheet in sheets] == [8, 16]
    assert (index, pictures) == (None, []), "those were of the validation at 24 images"


def test_the_table_has_the_rows_of_the_lines_and_takes_new_columns(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    board.scalars(Progress(1, 4, 1), {"D_A": 0.25})
    board.scalars(Progress(2, 8, 1), {"D_A": float("nan")})
    board.scalars(Progress(2, 8, 1), {"val_l1": 0.5})
    board.scalars(Progress(3, 12, 2), {"D_A": 0.125})
    with (tmp_path / "metrics.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "images", "epoch", "time", "D_A", "val_l1"]
    assert [[*row[:3], *row[4:]] for row in rows] == [
        ["1", "4", "1", "0.25", ""],
        ["2", "8", "1", "", ""],
        ["2", "8", "1", "", "0.5"],
        ["3", "12", "2", "0.125", ""],
    ]
    lines = [strict(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["time"] for line in lines] == [row[3] for row in rows]


def test_findings_are_lines_with_their_place(tmp_path: Path) -> None:
    finding = Finding("collapse", "warning", 0.01, "All outputs <look> alike.", "--minibatch helps.")
    FileBoard(tmp_path).findings(Progress(5, 20, 2), [finding, finding._replace(figure=float("inf"))])
    first, second = (strict(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines())
    assert datetime.fromisoformat(str(first.pop("time"))).utcoffset() == timedelta(0)
    assert first == {"step": 5, "images": 20, "epoch": 2, **finding._asdict()}
    assert second["figure"] is None


def test_sheets_are_listed_so_that_pictures_can_be_cut_out(tmp_path: Path) -> None:
    FileBoard(tmp_path).images(Progress(2, 8, 1), {"real_A": solid(10, 20, width=4), "fake_B": solid(30, 40)})
    listed = strict((tmp_path / "web/samples.jsonl").read_text())
    assert [listed[name] for name in ("step", "images", "epoch", "labels")] == [2, 8, 1, ["real_A", "fake_B"]]
    assert listed["sizes"] == {"real_A": [4, 8], "fake_B": [8, 8]}
    sheet = Image.open(tmp_path / "web" / str(listed["picture"]))
    assert listed["size"] == list(sheet.size)
    levels = []
    for row in listed["boxes"]:  # type: ignore[attr-defined]
        for left, top, width, height in row.values():
            levels.append(sheet.getpixel((left + width - 1, top + height - 1)))
    assert levels == [(10,) * 3, (30,) * 3, (20,) * 3, (40,) * 3]


def test_examples_are_replaced_as_a_whole(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    (tmp_path / "web/examples/mine.png").write_bytes(b"mine")
    board.examples(Progress(1, 4, 1), "l1", [example(1), example(2)], [example(3)])
    board.examples(Progress(2, 8, 1), "psnr", [example(4)], [example(5)])
    index = strict((tmp_path / "web/examples.json").read_text())
    assert [index[name] for name in ("step", "images", "epoch", "metric")] == [2, 8, 1, "psnr"]
    (best,), (worst,) = index["best"], index["worst"]  # type: ignore[misc]
    assert (best["name"], best["figures"]) == ("4.png", {"l1": 0.4})  # type: ignore[index]
    files = [path for shown in (best, worst) for path in shown["pictures"].values()]  # type: ignore[index]
    assert sorted(f"examples/{name}" for name in os.listdir(tmp_path / "web/examples")) == sorted(
        [*files, "examples/mine.png"]
    )
    assert [Image.open(tmp_path / "web" / path).getpixel((0, 0)) for path in files] == [4, 5, 5, 6]


def test_resuming_repairs_a_torn_last_line(tmp_path: Path) -> None:
    record(FileBoard(tmp_path), 1, 2)
    whole = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(whole[:-10])
    FileBoard(tmp_path, resume_images=1000).scalars(Progress(2, 8, 1), {"D_A": 1.0})
    assert [line["step"] for line in state(tmp_path)[0]] == [1, 2]


def test_a_closed_page_reloads_again_once_the_run_is_resumed(tmp_path: Path) -> None:
    record(board := FileBoard(tmp_path), 1, 2)
    board.close()
    assert "clearInterval" in (tmp_path / "web/index.html").read_text()
    FileBoard(tmp_path, resume_images=8)
    assert "clearInterval" not in (tmp_path / "web/index.html").read_text()
    assert (tmp_path / "web/loss_curves.png").exists()


def test_a_fresh_run_starts_its_own_files_anew_and_touches_no_other(tmp_path: Path) -> None:
    record(board := FileBoard(tmp_path), 1, 4)
    board.close()
    others = [tmp_path / "latest.pt", tmp_path / "web/notes.txt", tmp_path / "web/images/mine.png"]
    for path in others:
        path.write_bytes(b"mine")
    FileBoard(tmp_path)
    assert state(tmp_path) == ([], ["mine.png"], [])
    assert not (tmp_path / "web/loss_curves.png").exists()
    assert [path.read_bytes() for path in others] == [b"mine"] * 3


def test_the_number_of_samples_is_bounded_and_spread_over_the_run(tmp_path: Path) -> None:
    board = FileBoard(tmp_path, max_samples=8)
    for step in range(1, 101):
        board.images(Progress(step, step, 1), {"fake": solid(step)})
    _, pictures, linked = state(tmp_path)
    counts = [int(Path(name).stem) for name in pictures]
    assert [json.loads(line)["images"] for line in (tmp_path / "web/samples.jsonl").read_text().splitlines()] == counts
    assert [f"images/{name}" for name in pictures] == linked[::2]
    assert len(counts) <= 8 and counts[0] == 1 and counts[-1] == 100
    assert max(b - a for a, b in zip(counts, counts[1:], strict=False)) <= 100 / 3


def test_evenly_spaced_drops_the_most_crowded() -> None:
    assert evenly_spaced([0, 1, 2, 3, 4, 8], 4) == [0, 2, 4, 8]
    assert evenly_spaced([0, 10, 11, 20], 3) == [0, 10, 20]
    assert evenly_spaced([1, 2], 5) == [1, 2]


def test_curves_are_drawn_neither_early_nor_again_before_it_is_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([-100.0, -1.0, 0.0, 0.0, 3.0, 200.0, 302.0, 303.0, 303.0, 304.0])
    monkeypatch.setattr(files_module, "monotonic", lambda: next(clock))
    board = FileBoard(tmp_path)
    curves = tmp_path / "web/loss_curves.png"
    drawn = []
    for step in range(4):  # the first drawing, 100 seconds after the start, takes 3, so the next is due at 303
        board.scalars(Progress(step, step, 1), {"D_A": 1.0})
        board.images(Progress(step, step, 1), {"fake": solid(step)})
        drawn.append(curves.exists())
        curves.unlink(missing_ok=True)
    board.images(Progress(4, 4, 1), {"fake": solid(4)})
    assert (drawn, curves.exists()) == ([False, True, False, False], True)


def test_a_full_disk_tears_no_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    board = FileBoard(tmp_path)
    metrics, table, page = (tmp_path / name for name in ("metrics.jsonl", "metrics.csv", "report.html"))
    board.scalars(Progress(1, 4, 1), {"D": 1.0})
    page.write_text("whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for file, write in (
        (metrics, lambda: board.scalars(Progress(2, 8, 1), {"D": 2.0})),
        (table, lambda: append_text(table, "2,8,1\n")),
        (page, lambda: replace_text(page, "longer than it may be")),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 3, limits[1]))
        try:
            with pytest.raises(OSError):
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    board.scalars(Progress(3, 12, 1), {"D": 3.0})
    assert [json.loads(line)["images"] for line in metrics.read_text().splitlines()] == [4, 12]
    assert [row["images"] for row in csv.DictReader(table.open())] == ["4", "12"]
    assert page.read_text() == "whole" and not list(tmp_path.glob(".*"))


def test_columns_that_the_table_could_not_take_come_with_the_next_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> NoReturn:
        raise PermissionError("open in another program")

    board = FileBoard(tmp_path)
    board.scalars(Progress(1, 4, 1), {"D": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError):
            board.scalars(Progress(1, 4, 1), {"val_l1": 0.5})
    board.scalars(Progress(2, 8, 1), {"D": 2.0, "val_l1": 0.25})
    rows = [(row["D"], row["val_l1"]) for row in csv.DictReader((tmp_path / "metrics.csv").open())]
    assert rows == [("1.0", ""), ("", "0.5"), ("2.0", "0.25")]


# --- curves


def write_metrics(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_read_metrics_leaves_out_nulls_and_torn_lines(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"step": 1, "images": 4, "epoch": 1, "time": "2025-01-01T00:00:00+00:00", "D_A": 0.5, "G_A": 2},
        {"step": 2, "images": 8, "epoch": 1, "time": "2025-01-01T00:00:01+00:00", "D_A": None, "G_A": 3.5},
    ]
    path = write_metrics(tmp_path / "metrics.jsonl", lines)
    path.write_text(path.read_text() + '{"step": 3, "ima')
    curves = {name: (curve.images.tolist(), curve.values.tolist()) for name, curve in read_metrics(path).items()}
    assert curves == {"D_A": ([4], [0.5]), "G_A": ([4, 8], [2, 3.5])}


def test_counterparts_share_a_panel() -> None:
    names = ["D_A", "G_A", "cycle_A", "D_B", "G_B", "cycle_B", "D_real", "D_fake", "G_GAN", "G_L1"]
    assert panels_of(names) == {
        "D": ["D_A", "D_B", "D_real", "D_fake"],
        "G": ["G_A", "G_B"],
        "cycle": ["cycle_A", "cycle_B"],
        "G_GAN": ["G_GAN"],
        "G_L1": ["G_L1"],
    }


def test_smooth_averages_over_a_twentieth() -> None:
    values = np.zeros(80)
    values[40] = 5.0  # the window is 2 * (80 // 40) + 1 = 5 wide
    assert np.allclose(smooth(values)[37:44], [0, 1, 1, 1, 1, 1, 0])
    assert np.allclose(smooth(np.arange(80.0))[:3], [1, 1.5, 2])
    assert np.allclose(smooth(np.full(7, 3.0)), 3.0)


def test_thin_keeps_peaks_and_order() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    values[[777, 55_555]] = 100, -100
    thinned = thin(Curve(np.arange(100_000.0), values), 1000)
    assert len(thinned.values) <= 1000
    assert (np.diff(thinned.images) >= 0).all()
    assert values[thinned.images.astype(int)].tolist() == thinned.values.tolist()
    assert (thinned.values.max(), thinned.values.min()) == (100, -100)


def test_plot_curves_draws_something_in_every_panel(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"images": step, "D_A": 1 / step, "D_B": 2.0, "G_A": step, "doctor_spread": 1.0, "lr_generator": 1.0}
        for step in range(1, 50)
    ]
    png = tmp_path / "curves.png"
    plot_curves(write_metrics(tmp_path / "metrics.jsonl", lines), png)
    pixels = np.asarray(Image.open(png).convert("RGB")).astype(int)
    colourful = pixels.max(axis=2) - pixels.min(axis=2) > 100
    left, right = np.hsplit(colourful[:, : colourful.shape[1] // 2 * 2], 2)
    assert left.any() and right.any()
    assert pixels.shape[1] > 2 * pixels.shape[0], "two panels side by side: the losses alone"
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "metrics.jsonl"]


def test_plot_curves_without_numbers_writes_nothing(tmp_path: Path) -> None:
    plot_curves(write_metrics(tmp_path / "metrics.jsonl", [{"images": 1, "D_A": None}]), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_curves_as_a_command(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.jsonl", [{"images": 1, "D_A": 1}, {"images": 2, "D_A": 0.5}])
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "i2i.visuals.curves", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (result.returncode, result.stderr) == (0, "")
    assert Path(result.stdout.strip()).is_file()


def test_curves_of_a_folder_without_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["curves", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err.splitlines()[-1]


# --- the page of results


@pytest.mark.parametrize("name", ["plain", "a b", "50% #1?", "<b>&amp;\"'", "斑马é", "scheme:x"])
def test_results_page_links_whatever_the_name(tmp_path: Path, name: str) -> None:
    picture = tmp_path / f"{name}_fake_B.png"
    save_png(Image.new("L", (2, 2)), picture)
    page = ResultsPage(tmp_path / "index.html", title=f"{name} test")
    page.add(name, {"fake_B": picture.relative_to(tmp_path)})
    links = Links(tmp_path / "index.html")
    assert f"{name} test" in links.text and f"{name}\n" in links.text
    assert len(links.targets) == 2
    assert all((tmp_path / unquote(urlsplit(target).path)).is_file() for target in links.targets)
    page.close()
    assert "1 image\n" in Links(tmp_path / "index.html").text


@pytest.mark.skipif(os.name != "posix", reason="only POSIX file names are bytes")
def test_results_page_links_names_that_are_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    page = ResultsPage(tmp_path / "index.html", title="t")
    page.add(name, {"fake_B": name})
    page.close()
    assert Links(tmp_path / "index.html").targets == ["caf%E9.png"] * 2


def test_results_page_is_whole_after_every_row_and_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "results" / "index.html"
    for _ in range(2):
        page = ResultsPage(path, title="t", width=99)
        for number in range(3):
            page.add(f"n{number}", {"real_A": "a.png", "fake_B": "b.png"})
            text = path.read_text()
            assert text.count("<section") == text.count("</section>") == number + 1
            assert text.count('loading="lazy"') == text.count('width="99"') == 2 * (number + 1)
