"""The report of a run: what it says, and what it does in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data.images.sheets import to_uint8
from i2i.tools.report import main
from i2i.watch.boards import Example, FileBoard, Finding, Progress
from i2i.watch.boards.curves import Curve
from i2i.watch.report import board as board_module
from i2i.watch.report import build_report, summary
from i2i.watch.report.board import ReportBoard
from i2i.watch.report.page import _flags
from i2i.watch.report.panels import CLOCK_POINTS, POINTS, clock_of, groups_of, points_of
from i2i.watch.report.pictures import PictureStore
from i2i.watch.report.run import Run
from i2i.watch.report.samples import FRAMES, beside_each_other, over_time

HOSTILE = "</script><img src=x onerror='window.harmed = 1'><b>.png"
IMAGES = 12  # between two rows of the log of `record`


def pictures(seed: int, count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def record(folder: Path, rows: int = 20, level: float = 1.0) -> Path:
    """A short run with all that a report can show; 0.5 seconds an image."""
    board = FileBoard(folder)
    for row in range(1, rows + 1):
        progress = Progress(row, IMAGES * row, 1 + row // 5)
        losses = {"D_A": level + row % 2, "D_B": level, "G_A": float("nan") if row == 7 else level / row}
        board.scalars(progress, losses | {"lr_generator": 2e-4, "grad_generator": 3.0, "doctor_diversity": 0.9})
        board.scalars(progress, {"seconds_per_image": 0.5, "data_share": 0.25})
        if row % 4 == 0:
            board.scalars(progress, {"val_l1": abs(row - 8) / 100 + 0.2 * level, "train_l1": 0.1, "val_psnr": 20.0})
            board.images(progress, {"real_A": pictures(0), "fake_B": pictures(row), "real_B": pictures(1)})
    board.findings(progress, [Finding("collapse", "warning", 0.1, f"Outputs of {HOSTILE} look alike.", "--minibatch")])
    board.findings(progress, [Finding("nan", "alarm", float("nan"), "A loss is not finite.", "--clip_grad 1 helps.")])
    shown = Example(HOSTILE, {"l1": 0.25}, {"real_A": pictures(0)[0], "fake_B": pictures(3)[0]})
    board.examples(progress, "l1", [shown], [shown._replace(name="worst.png")])
    board.close()
    (folder / "options.yaml").write_text(
        f"model: pix2pix\nname: {folder.name}\nlr: {level}\nn_epochs: 3\nn_epochs_decay: 2\n"
    )
    about = {
        "total_images": IMAGES * rows,
        "changed": ["lr"],
        "data": {"training": {"images": 7}},
        "command": "train.py",
    }
    (folder / "run.json").write_text(json.dumps(about | {"environment": {"torch": "2.15"}}))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs") / "first & <i>second")


@pytest.fixture(scope="module")
def other(run: Path) -> Path:
    return record(run.parent / "other", rows=12, level=2.0)


def data_of(page: str) -> dict[str, Any]:
    """What the page's scripts read; strict JSON."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))


def pixels_of(uri: str) -> np.ndarray:
    kind, _, text = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


# --- what the files say


def test_time_is_that_of_training(run: Path) -> None:
    read = Run(run)
    assert read.clock.images.tolist() == [IMAGES * row for row in range(1, 21)]
    assert read.clock.values.tolist() == [IMAGES * row / 2 for row in range(1, 21)]
    assert read.seconds_per_image == 0.5


def test_the_best_value_is_the_lowest_or_the_highest_as_the_metric_wants(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    for images, value in ((10, 3.0), (20, 1.0), (30, 5.0)):
        board.scalars(Progress(images, images, 1), {"val_l1": value, "val_psnr": value, "val_kid_A": value, "D": value})
    read = Run(tmp_path)
    assert [read.best(name) for name in ("val_l1", "val_psnr", "val_kid_A")] == [(20, 1), (30, 5), (20, 1)]
    assert read.best("D") is None


@pytest.mark.parametrize(
    ("total", "closed", "age", "state"),
    [
        (240, False, timedelta(), "finished"),
        (999, False, timedelta(), "running"),
        (999, True, timedelta(), "stopped"),
        (999, False, timedelta(hours=2), "stopped"),
        (None, False, timedelta(), "running"),
    ],
)
def test_a_run_is_finished_or_stopped_or_running(
    tmp_path: Path, total: int | None, closed: bool, age: timedelta, state: str
) -> None:
    time = (datetime.now(UTC) - age).isoformat()
    line = {"step": 1, "images": 240, "epoch": 1, "time": time, "D": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "run.json").write_text(json.dumps({} if total is None else {"total_images": total}))
    assert Run(tmp_path, closed=closed).state == state


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_the_clock_goes_from_the_first_row_to_the_last(tmp_path: Path, count: int) -> None:
    lines = [f'{{"images": {4 * row}, "time": "2025-01-01", "seconds_per_image": 0.5}}' for row in range(1, count + 1)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    clock = clock_of(Run(tmp_path))
    assert len(clock["x"]) == min(count, CLOCK_POINTS)
    if count:
        assert [values[place] for values in clock.values() for place in (0, -1)] == [4, 4 * count, 2, 2 * count]


def test_curves_are_grouped_and_train_stands_behind_val(run: Path) -> None:
    groups = {group.title: [panel.names for panel in group.panels] for group in groups_of([Run(run)])}
    assert groups == {
        "Validation": [["val_l1", "train_l1"], ["val_psnr"]],
        "Losses": [["D_A", "D_B"], ["G_A"]],
        "The doctor's figures": [["doctor_diversity"]],
        "Gradient norms": [["grad_generator"]],
        "Learning rates": [["lr_generator"]],
        "Speed": [["seconds_per_image"], ["data_share"]],
    }


def test_of_several_runs_each_curve_has_its_own_panel(run: Path, other: Path) -> None:
    groups = {group.title: [panel.names for panel in group.panels] for group in groups_of([Run(run), Run(other)])}
    assert groups["Losses"] == [["D_A"], ["D_B"], ["G_A"]]


def test_long_curves_keep_their_peaks_and_their_means(tmp_path: Path) -> None:
    read = Run(tmp_path)
    values = np.random.default_rng(0).exponential(size=10_000)
    values[777] = 99.0
    read.curves = {"D": Curve(np.arange(10_000.0), values)}
    points = points_of(read)["D"]
    assert len(points["y"]) <= POINTS and max(points["y"]) == 99
    assert len(points["means"]["y"]) == POINTS // 2
    assert points["means"]["y"][3] == pytest.approx(values[60:80].mean(), rel=1e-4)
    assert np.mean(points["means"]["y"]) == pytest.approx(values.mean(), rel=1e-4)


def test_findings_of_a_name_are_one_and_alarms_come_first(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    for images, name, severity in ((10, "a", "warning"), (20, "b", "alarm"), (30, "a", "warning")):
        board.findings(Progress(1, images, 1), [Finding(name, severity, 0.0, f"at {images}", "do")])
    found = [(one.name, one.message, one.times, one.first, one.last) for one in summary.findings(Run(tmp_path))]
    assert found == [("b", "at 20", 1, 20, 20), ("a", "at 30", 2, 10, 30)]


def test_tiles_say_how_far_a_run_is(run: Path) -> None:
    tiles = {name: (value, beside) for name, value, beside in summary.tiles(Run(run))}
    assert tiles == {
        "images": ("240", "of 240"),
        "epoch": ("5", "of 5"),
        "trained for": ("2 min", ""),
        "speed": ("2", "images a second"),
        "waits for data": ("25%", "of the time"),
    }


def test_a_running_run_says_when_it_ends(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    (copied / "run.json").write_text('{"total_images": 7440}')
    assert ("to go", "1 h 00 min", "") in summary.tiles(Run(copied))


def test_options_that_were_changed_come_first(run: Path) -> None:
    assert summary.options(Run(run))[:2] == [("lr", "1", True), ("model", "pix2pix", False)]


def test_options_that_differ_are_those_that_are_not_where_a_run_is(run: Path, other: Path) -> None:
    assert summary.options_that_differ([Run(run), Run(other)]) == [("lr", ["1", "2"])]


def test_the_best_figures_of_runs_are_compared(run: Path, other: Path) -> None:
    figures = {figure.title: figure for figure in summary.comparison([Run(run), Run(other)])}
    assert (figures["L1"].texts, figures["L1"].winners) == (["0.2 at 96", "0.4 at 96"], [True, False])
    assert figures["PSNR"].winners == [True, True]
    assert not any(summary.comparison([Run(run)])[0].winners), "where there is nothing to win against"
    assert figures["D_B"].texts == ["1", "2"]


def with_options(run: Path, folder: Path, **options: object) -> Path:
    copied = shutil.copytree(run, folder)
    with (copied / "options.yaml").open("a") as file:
        file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in options.items())
    return copied


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        ({"val_size": 50}, {"val_size": 200}, ["val_size"]),
        ({"dataroot": "a", "crop_size": [64]}, {"dataroot": "b", "crop_size": [32]}, ["dataroot", "crop_size"]),
        ({"val_fraction": 0.1, "seed": 1}, {"val_fraction": 0.1, "seed": 2}, ["seed"]),
        ({"val_fraction": 0.0, "seed": 1}, {"val_fraction": 0.0, "seed": 2}, []),
    ],
)
def test_no_run_wins_on_other_images(
    run: Path, other: Path, tmp_path: Path, first: dict[str, Any], second: dict[str, Any], differing: list[str]
) -> None:
    folders = [with_options(run, tmp_path / "1", **first), with_options(other, tmp_path / "2", **second)]
    runs = [Run(folder) for folder in folders]
    assert [name for name, _ in summary.other_images(runs)] == differing
    assert any(any(figure.winners) for figure in summary.comparison(runs)) == (not differing)
    words = build_report(folders, with_pictures=False).partition('id="comparison"')[2].partition("</section>")[0]
    assert ("Not validated on the same images" in words) == bool(differing)
    assert all(f"--{name}<" in words for name in differing)


def test_options_of_runs_without_validation_are_no_matter(run: Path, other: Path, tmp_path: Path) -> None:
    (bare,) = (with_options(run, tmp_path / "bare", val_size=9),)
    (bare / "metrics.jsonl").write_text('{"images": 4, "time": "2025-01-01", "D_B": 1.0}\n')
    figures = {figure.title: figure for figure in summary.comparison([Run(run), Run(other), Run(bare)])}
    assert figures["L1"].winners == [True, False, False]


@pytest.mark.parametrize(("best", "marked"), [("l1", ["L1"]), (None, [])])
def test_the_metric_that_chose_the_best_checkpoint_is_marked(
    run: Path, tmp_path: Path, best: str | None, marked: list[str]
) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    (copied / "run.json").write_text(json.dumps({"best_metric": best}))
    assert [row["title"] for row in summary.validated(Run(copied)) if row["chooses"]] == marked
    assert build_report([copied], with_pictures=False).count("→ best.pt") == len(marked)
    assert not any(row["chooses"] for row in summary.validated(Run(run))), "an older run does not say"


def test_a_run_that_stopped_early_says_why_and_goes_on_when_resumed(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    board.scalars(Progress(1, 10, 1), {"D": 1.0})
    board.findings(Progress(1, 10, 1), [Finding("stopped_early", "warning", 0.0, "No better l1 for long.", "Go on.")])
    board.findings(Progress(1, 10, 1), [Finding("skipped_steps", "warning", 0.1, "1 of 9 steps.", "")])
    assert (Run(tmp_path).state, Run(tmp_path, closed=True).state) == ("stopped early", "stopped early")
    page = build_report([tmp_path])
    assert 'class="badge stopped-early"' in page and "No better l1 for long." in page
    assert [found.name for found in summary.findings(Run(tmp_path))] == ["skipped_steps"], "a normal end is no finding"
    board.scalars(Progress(2, 20, 1), {"D": 1.0})
    assert (Run(tmp_path).state, Run(tmp_path, closed=True).state) == ("running", "stopped")


# --- pictures


def test_pictures_are_those_of_the_samples_and_the_same_one_is_there_once(run: Path) -> None:
    data = data_of(build_report([run]))
    samples = data["samples"]
    assert samples["labels"] == ["real_A", "fake_B", "real_B"]
    assert [frame["images"] for frame in samples["frames"]] == [48, 96, 144, 192, 240]
    inputs = {frame["rows"][0][0] for frame in samples["frames"]}
    assert len(inputs) == 1
    assert len(data["pictures"]) == 2 + 5 * 2 + 2 + 1, "inputs, outputs, truths, and an example's output"
    shown = pixels_of(data["pictures"][samples["frames"][1]["rows"][1][1]])
    assert np.array_equal(shown, to_uint8(pictures(8)[1]).permute(1, 2, 0).numpy())


def test_samples_are_thinned_but_for_the_first_and_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = FileBoard(tmp_path)
    for step in range(60):
        board.images(Progress(step, step, 1), {"fake": pictures(step, count=1, size=4)})
    encoded = PictureStore()
    times = [frame["images"] for frame in over_time(Run(tmp_path), encoded).frames]
    assert (len(times), times[0], times[-1]) == (FRAMES, 0, 59)
    monkeypatch.setattr("i2i.watch.report.samples.FRAMES_SIZE", 5 * encoded.size(encoded._encoded) // 40)
    assert len(over_time(Run(tmp_path), encoded).frames) in (4, 5, 6)


def test_what_is_encoded_is_encoded_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = PictureStore()
    before = build_report([run], pictures=encoded)
    monkeypatch.setattr("i2i.watch.report.pictures._data_uri", lambda picture: pytest.fail("encoded again"))
    assert data_of(build_report([run], pictures=encoded)) == data_of(before)


def test_pictures_that_are_no_longer_shown_are_forgotten(run: Path, tmp_path: Path) -> None:
    copied, encoded = shutil.copytree(run, tmp_path / "run"), PictureStore()
    build_report([copied], pictures=encoded)
    lines = (copied / "web/samples.jsonl").read_text().splitlines(keepends=True)
    (copied / "web/samples.jsonl").write_text(lines[0] + lines[-1])
    shown = data_of(build_report([copied], pictures=encoded))["pictures"]
    assert len(shown) == 2 + 2 * 2 + 2 + 1 and encoded._encoded == shown


def test_of_several_runs_the_same_inputs_are_shown_once(run: Path, other: Path, tmp_path: Path) -> None:
    samples = beside_each_other([Run(run), Run(other)], PictureStore())
    assert samples.labels == ["real_A", "real_B", "fake_B, first & <i>second", "fake_B, other"]
    (frame,) = samples.frames
    assert [len(row) for row in frame["rows"]] == [4, 4]
    assert "with the same real_A, real_B" in build_report([run, other])
    board = FileBoard(tmp_path / "third")
    board.images(Progress(1, 4, 1), {"7": pictures(7, 3)})
    assert beside_each_other([Run(run), Run(tmp_path / "third"), Run(other)], PictureStore()).labels == [
        *("real_A", "real_B", "fake_B, first & <i>second", "fake_B, other", "7, third")
    ], "a run of something else takes nothing from that"


def test_runs_of_other_data_have_no_samples_in_common(run: Path, tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    board.images(Progress(1, 4, 1), {"0": pictures(7, 3), "1": pictures(8, 3)})
    samples = beside_each_other([Run(run), Run(tmp_path)], PictureStore())
    assert samples.common == [] and len(samples.labels) == 5
    assert [len(row) for row in samples.frames[0]["rows"]] == [5, 5], "as many rows as all runs have"
    assert beside_each_other([Run(run), Run(tmp_path / "none")], PictureStore()).common == []
    assert "with the same real_A" not in build_report([run, tmp_path])


def test_sheets_of_fewer_samples_are_left_out(tmp_path: Path) -> None:
    board = FileBoard(tmp_path)
    for images, count in ((4, 1), (8, 2), (12, 2)):
        shown = {label: pictures(images, count) for label in ("real_A", "fake_B")}
        board.images(Progress(images, images, 1), shown)
    assert [frame["images"] for frame in over_time(Run(tmp_path), PictureStore()).frames] == [8, 12]


# --- the page as text


def test_a_run_of_nothing_but_numbers_has_a_report(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "images": 4, "epoch": 1, "time": "2025-01-01T00:00:00+00:00", "D": NaN, "G": 1.0}',
        '{"step": 2, "im',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    page = build_report([tmp_path])
    assert data_of(page)["runs"][0]["curves"] == {"G": {"x": [4], "y": [1]}}
    assert re.findall(r'<section id="(\w+)"', page) == ["curves"]


def test_an_empty_folder_has_a_report(tmp_path: Path) -> None:
    assert re.findall(r'<section id="(\w+)"', build_report([tmp_path])) == []


@pytest.mark.parametrize(
    ("file", "content", "missing"),
    [
        ("options.yaml", "", "options"),
        ("options.yaml", "model: pix2pix\nlr", "options"),
        ("options.yaml", "mod", "options"),
        ("run.json", '{"data": ', "about"),
        ("web/samples.jsonl", '{"images": 4', "samples"),
        ("web/examples.json", "", "examples"),
    ],
)
def test_a_torn_file_leaves_its_part_out(run: Path, tmp_path: Path, file: str, content: str, missing: str) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    (copied / file).write_text(content)
    whole, torn = (set(re.findall(r'<section id="(\w+)"', build_report([folder]))) for folder in (run, copied))
    assert whole - torn == {missing}
    build_report([copied, run])


def test_pictures_that_are_gone_are_left_out(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    next((copied / "web/examples").glob("*_best0_1.png")).unlink()
    max((copied / "web/images").iterdir()).write_bytes(b"torn")
    data = data_of(build_report([copied]))
    assert [len(data["examples"][kind]) for kind in ("best", "worst")] == [0, 1]
    assert [frame["images"] for frame in data["samples"]["frames"]] == [48, 96, 144, 192]
    compared = data_of(build_report([copied, run]))["samples"]
    assert compared["labels"] == [f"{label}, {run.name}" for label in data["samples"]["labels"]]


def test_flags_are_set_as_code_and_hyphens_are_not() -> None:
    assert _flags("held-out <b>: --no-doctor, -m or (--lr 1e-4) in a/b--c.d-e") == (
        "held-out &lt;b&gt;: <code>--no-doctor</code>, <code>-m</code> or (<code>--lr</code> 1e-4) in a/b--c.d-e"
    )


def test_two_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / run.name)
    assert {one["name"] for one in data_of(build_report([run, copied]))["runs"]} == {str(run), str(copied)}


def test_a_card_is_shown_with_its_baselines(run: Path) -> None:
    score = {"low": None, "high": None, "fakes": 10, "reals": 10}
    figure = {"name": "psnr", "title": "PSNR", "higher_is_better": True, "value": 21.5, "low": 20.25, "high": 22.75}
    figure |= {"fakes": 10, "reals": 12, "baselines": {"copy": score | {"value": None, "note": "inf"}}}
    card = {"title": "a card", "subject": {"run": "x"}, "figures": [figure], "baselines": {"copy": "input"}}
    page = build_report([run], cards=[card | {"warnings": ["use --num_test 99"]}])
    section = page.partition('<section class="card">')[2].partition("</section>")[0]
    words = " ".join(re.sub(r"<[^>]*>", " ", section).split())
    assert words == (
        "a card x value 95 % interval images copy PSNR ↑ 21.5 20.25 to 22.75 10 / 12 inf use --num_test 99"
    )
    assert "<code>--num_test</code>" in section


# --- the board


def test_the_report_is_written_rarely_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 2.0, 401.9, 402.0, 402.0, 403.0, 500.0, 501.0])
    monkeypatch.setattr(board_module, "monotonic", lambda: next(clock))
    (board, report), written = (ReportBoard(record(tmp_path, rows=4)), tmp_path / "report.html"), []
    for _ in range(3):  # the first page takes 2 seconds, so the next is due at 402
        board.scalars(Progress(1, 1, 1), {"D": 1.0})
        written.append(report.exists())
        report.unlink(missing_ok=True)
    board.close()
    assert (written, report.exists()) == ([True, False, True], True)
    assert 'class="badge finished"' in report.read_text()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


# --- the command


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["report", *words])
    return main()


def test_the_command_writes_beside_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run, tmp_path / "checkpoints" / "run")
    assert command(monkeypatch, "run", "--checkpoints_dir", str(tmp_path / "checkpoints")) == 0
    assert capsys.readouterr().out == f"{copied / 'report.html'}\n"
    assert "<title>run</title>" in (copied / "report.html").read_text()


def test_the_command_shows_the_cards_of_a_single_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    card = tmp_path / "results" / "run" / "test_latest" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text("no card")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command(monkeypatch, "run", "--html", "page.html")
    assert "test_latest" in capsys.readouterr().err, "it was read"
    card.unlink()
    assert command(monkeypatch, "run", "--html", "page.html") == 0
    assert Path("page.html").is_file()


def test_the_command_compares(
    run: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, str(run), str(other)) == 0
    assert capsys.readouterr().out == "reports/compare.html\n"
    assert "<title>2 runs compared</title>" in Path("reports/compare.html").read_text()


@pytest.mark.parametrize("flag", ["--no-pictures", "--no_pictures"])
def test_a_report_without_pictures_holds_no_image_and_leaves_the_other_alone(
    flag: str, run: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    (copied / "report.html").write_text("with pictures")
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, "run", flag) == command(monkeypatch, "run", str(other), flag) == 0
    assert (copied / "report.html").read_text() == "with pictures"
    for path in (copied / "report_without_pictures.html", Path("reports/compare_without_pictures.html")):
        page = path.read_text()
        data = data_of(page)
        assert data["pictures"] == {} and data["samples"]["frames"] == data["examples"]["best"] == []
        assert "data:image/webp" not in page and "worst.png" not in page
        assert 'id="curves"' in page and 'id="samples"' not in page


@pytest.mark.parametrize("wrong", [("gone",), ("other", "--cards", "no_card.json")])
def test_the_command_answers_mistakes_with_one_line(
    wrong: tuple[str, ...],
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        command(monkeypatch, *wrong, "--checkpoints_dir", str(other.parent))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong[-1] in line and ("other" in line) == (wrong == ("gone",))


# --- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as opened:
        yield opened


class Page:
    """A report in the browser."""

    def __init__(self, browser: Any, path: Path, width: int = 1400) -> None:
        self.browser = browser
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(path.as_uri())

    def script(self, code: str, *arguments: Any) -> Any:
        return self.browser.execute_script(code, *arguments)

    def element(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def until(self, code: str) -> Any:
        """What a script returns, once that is true."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.browser, 20, poll_frequency=0.05).until(lambda browser: browser.execute_script(code))

    def draw_all(self) -> None:
        """Unfold every group, and let every plot come into view."""
        self.script("document.querySelectorAll('details').forEach(group => { group.open = true; })")
        for place in range(self.script("return document.querySelectorAll('.panel').length")):
            self.script(f"document.querySelectorAll('.panel')[{place}].scrollIntoView({{block: 'center'}})")
            self.until(f"return document.querySelectorAll('.panel')[{place}].querySelector('svg.main-svg')")

    def set(self, selector: str, value: object) -> None:
        """Move a slider or choose an entry as a person would, events and all."""
        change = "const [field, value] = arguments; field.value = value;"
        events = "for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {bubbles: true}));"
        self.script(change + events, self.element(selector), value)

    def trace(self, panel: str, name: str) -> dict[str, Any]:
        code = """
            const [title, name] = arguments;
            const panels = [...document.querySelectorAll(".panel")];
            const panel = panels.find(one => one.firstChild.firstChild.data === title);
            const trace = panel.lastChild.data.find(one => one.name === name);
            return trace && {x: [...trace.x], y: [...trace.y]};"""
        return self.script(code, panel, name)

    def problems(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]


@pytest.fixture(scope="module")
def written(run: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The report of a run, and one that compares two."""
    folder = tmp_path_factory.mktemp("reports")
    pages = folder / "run.html", folder / "runs.html"
    pages[0].write_text(build_report([run]), encoding="utf-8")
    pages[1].write_text(build_report([run, other]), encoding="utf-8")
    return pages


@pytest.fixture(scope="module")
def page(browser: Any, written: tuple[Path, Path]) -> Page:
    opened = Page(browser, written[0])
    opened.draw_all()
    return opened


def test_all_is_drawn_without_a_word_in_the_console_or_a_request(page: Page, written: tuple[Path, Path]) -> None:
    assert page.script("return document.querySelectorAll('.panel path.js-line').length") >= 11
    assert page.script("return [...document.images].every(image => image.complete && image.naturalWidth === 16)")
    assert page.problems() == []
    assert page.requests() == [written[0].as_uri()]


def test_names_do_no_harm(page: Page) -> None:
    assert page.script("return window.harmed") is None
    assert page.element("h1").text == "first & <i>second"
    assert HOSTILE in page.element("#findings").text and HOSTILE in page.element("#best").text


def test_the_best_validation_is_marked(page: Page) -> None:
    assert page.trace("L1", "best") == {"x": [96], "y": [0.2]}


def test_smoothing_smooths(page: Page) -> None:
    page.set("#smoothing", 0)
    page.until("return view.smoothing === 0 && document.querySelector('output[for=smoothing]').value === '0 %'")
    raw = [1.0 + row % 2 for row in range(1, 21)]
    page.script("redraw()")
    assert page.trace("D", "D_A")["y"] == raw
    page.set("#smoothing", 10)  # a window of 2 * (20 * 10 // 200) + 1 = 3 values, of 2 at the ends
    page.script("redraw()")
    expected = [np.mean(raw[max(0, place - 1) : place + 2]) for place in range(20)]
    assert page.trace("D", "D_A")["y"] == pytest.approx(expected)


def test_the_axes_can_be_time_and_logarithms(page: Page) -> None:
    page.set("#axis", "time")
    page.element("#logarithmic").click()
    page.script("redraw()")
    assert page.trace("D", "D_A")["x"] == [IMAGES * row / 2 for row in range(1, 21)], "seconds"
    assert page.script("return document.querySelector('.panel > div').layout.yaxis.type") == "log"
    page.set("#axis", "images")
    page.element("#logarithmic").click()
    page.script("redraw()")
    assert page.trace("D", "D_A")["x"] == [IMAGES * row for row in range(1, 21)]


def test_a_constant_curve_is_not_stretched_to_its_rounding(page: Page) -> None:
    page.script("redraw()")
    code = (
        "return [...document.querySelectorAll('.panel > div')].map(plot => [plot.panel.title, plot.layout.yaxis.range])"
    )
    ranges = dict(page.script(code))
    assert ranges["diversity"] == pytest.approx([0.855, 0.945]) and ranges["D"] == pytest.approx([0.94, 2.06])


def test_the_slider_moves_the_samples(page: Page) -> None:
    def shown() -> tuple[list[str], str]:
        sources = page.script("return [...document.querySelectorAll('#grid tr:nth-child(2) img')].map(one => one.src)")
        return sources, page.element("#when").text

    page.set("#frame", 0)
    first, when = shown()
    assert when == "48 images, epoch 1"
    page.element("#frame").send_keys("\ue014")  # the right arrow key
    second, when = shown()
    assert when == "96 images, epoch 2"
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True], "only the output changes"


def test_samples_play_to_the_end(page: Page) -> None:
    page.set("#frame", 3)
    # In one script: on a busy machine the last frames would be over before a second one looks.
    clicked = "const play = document.querySelector('#play'); play.click(); return play.ariaLabel"
    assert page.script(clicked) == "pause"
    page.until("return byId('when').textContent === '240 images, epoch 5' && byId('play').ariaLabel === 'play'")


def test_dragging_divides_the_two_pictures(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    slider = page.element("#viewer .compare input")
    page.script("arguments[0].scrollIntoView({block: 'center'})", slider)
    width = slider.rect["width"]
    clips = []
    for distance in (-0.25, 0.25):
        drag = ActionChains(page.browser, duration=20).move_to_element(slider).click_and_hold()
        drag.move_by_offset(int(distance * width), 0).release().perform()
        clips.append(page.script("return getComputedStyle(document.querySelector('#viewer .over')).clipPath"))
    shares = [float(re.findall(r"([\d.]+)%", clip)[0]) for clip in clips]
    assert shares == pytest.approx([75, 25], abs=4), "of the left picture so much is cut off at the right"


def test_any_two_labels_can_be_compared(page: Page) -> None:
    sources = "return ['.over', '.under'].map(side => document.querySelector('#viewer ' + side).src)"
    cells = page.script("return [...document.querySelectorAll('#grid tr.chosen img')].map(one => one.src)")
    assert page.script(sources) == cells[:2], "the input and the output"
    page.set("#viewer select:last-of-type", "real_B")
    assert page.script(sources) == [cells[0], cells[2]]
    page.script("document.querySelector('#grid tr:last-child td:nth-child(2) img').click()")
    below = page.script("return [...document.querySelectorAll('#grid tr:last-child img')].map(one => one.src)")
    assert page.script(sources) == below[:2]


def test_a_single_picture_is_compared_with_itself(page: Page) -> None:
    page.script("enlarge('alone', {fake_B: Object.keys(data.pictures)[0]})")
    page.script("document.querySelector('dialog button').click()")
    page.until("return document.querySelector('dialog') === null")
    assert page.problems() == []


def test_an_example_opens_for_comparison(page: Page) -> None:
    page.script("document.querySelector('#worst .row').click()")
    assert page.script("return document.querySelector('dialog').open")
    page.script("document.querySelector('dialog button').click()")
    page.until("return document.querySelector('dialog') === null")


def test_options_are_searched(page: Page) -> None:
    page.set("#search", "EPOCHS")
    code = "return [...document.querySelectorAll('.options > div:not([hidden]) dt')].map(one => one.textContent)"
    assert page.script(code) == ["n_epochs", "n_epochs_decay"]
    page.set("#search", "")


@pytest.mark.parametrize("which", [0, 1])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Any, written: tuple[Path, Path], which: int) -> None:
    opened = Page(browser, written[which], width=390)
    opened.draw_all()
    assert opened.script("return document.documentElement.scrollWidth") == 390
    beyond = "return [...document.querySelectorAll('#validation .scroll')].map(it => it.scrollWidth - it.clientWidth)"
    assert opened.script(beyond) == ([0] if which == 0 else [])
    assert opened.problems() == []


def test_runs_are_compared_and_can_be_hidden(browser: Any, written: tuple[Path, Path]) -> None:
    opened = Page(browser, written[1])
    opened.draw_all()
    assert opened.trace("D_B", "other")["y"] == [2.0] * 12
    assert opened.trace("D_B", "first &amp; &lt;i>second")["y"] == [1.0] * 20
    opened.element(".shown-run[value='1']").click()
    opened.until("return view.hidden.size === 1")
    assert opened.trace("D_B", "other") is None
    assert opened.trace("D_B", "first &amp; &lt;i>second") is not None
    assert opened.problems() == []
    assert opened.requests() == [written[1].as_uri()]


def test_a_reload_keeps_how_curves_are_shown(browser: Any, written: tuple[Path, Path], run: Path) -> None:
    running = written[0].with_name("running.html")
    about = json.loads((run / "run.json").read_text()) | {"total_images": 999}
    copied = shutil.copytree(run, running.with_suffix(""))
    (copied / "run.json").write_text(json.dumps(about))
    running.write_text(build_report([copied]), encoding="utf-8")
    opened = Page(browser, running)
    opened.set("#smoothing", 12)
    opened.set("#axis", "time")
    opened.element("#live").click()
    browser.refresh()
    assert opened.until("return byId('live').checked && view.smoothing === 12 && view.axis === 'time'")
    assert opened.element("output[for=smoothing]").text == "12 %"
    opened.element("#live").click()
    browser.refresh()
    assert not opened.element("#live").is_selected()
    assert opened.problems() == []
