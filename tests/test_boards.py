"""The boards beside a run's own files: visdom's real server, TensorBoard, Weights & Biases offline, and failures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i.data.images.sheets import sample_sheet
from i2i.watch.boards import Board, Boards, Example, Finding, Progress, TensorBoard, VisdomBoard, WandbBoard
from i2i.watch.boards import background as background_module
from i2i.watch.boards import visdom as visdom_module
from i2i.watch.boards.background import Background
from i2i.watch.boards.captions import caption, example_sheet, grouped, sentence
from i2i.watch.boards.options import BOARDS, VisualsConfig, build_boards

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")  # visdom's own

FINDING = Finding("collapse", "alarm", 0.01, "Outputs differ by 0.01 <only>.", "A smaller --lr helps.")


def solid(level: float, count: int = 1, size: int = 8) -> Tensor:
    return torch.full((count, 3, size, size), level)


def example(name: str, figure: float, size: int = 8) -> Example:
    return Example(name, {"l1": figure}, {"real_A": solid(-1.0, size=size)[0], "fake_B": solid(1.0, size=size)[0]})


def record(board: Board | Boards, *counts: int) -> None:
    """A loss of half the image count, and everything else that a run tells, at each count."""
    for images in counts:
        progress = Progress(images // 4, images, 1)
        board.scalars(progress, {"D_A": images / 2, "lr_generator": 0.5, "val_l1": 0.25, "G_A": float("nan")})
        board.images(progress, {"real_A": solid(-1.0, 2), "fake_B": solid(0.0, 2)})
        board.findings(progress, [FINDING])
        board.examples(progress, "l1", [example("good.png", 0.1)], [example("bad.png", 0.9), example("x", 0.8, 16)])


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.name.startswith("i2i")]


# --- what all of them write


@pytest.mark.parametrize(
    ("name", "with_group"),
    [
        ("D_A", "loss/D_A"),
        ("G_GAN", "loss/G_GAN"),
        ("val_ms_ssim", "val/ms_ssim"),
        ("train_l1", "train/l1"),
        ("lr_generator", "lr/generator"),
        ("grad_discriminator", "grad/discriminator"),
        ("seconds_per_image", "speed/seconds_per_image"),
        ("data_share", "speed/data_share"),
        ("doctor_spread", "doctor/spread"),
    ],
)
def test_names_get_their_group(name: str, with_group: str) -> None:
    assert grouped(name) == with_group


def test_captions_are_one_line() -> None:
    assert caption(Example("a b.png", {"l1": 0.123456, "psnr": 21.0}, {})) == "a b.png l1 0.1235 psnr 21"
    assert sentence(FINDING) == "alarm: Outputs differ by 0.01 <only>. A smaller --lr helps."


def test_examples_of_any_size_stand_below_each_other() -> None:
    small = example("a", 0.1)
    wide = Example("b", {}, {"real_A": torch.zeros(3, 8, 256), "fake_B": torch.zeros(1, 8, 8)})
    rows = [sample_sheet({label: image[None] for label, image in one.pictures.items()}).image for one in (small, wide)]
    sheet = example_sheet([small, wide])
    assert sheet.size == (max(row.width for row in rows), sum(row.height for row in rows))
    assert sheet.crop((0, 0, *rows[0].size)) == rows[0]
    assert sheet.crop((0, rows[0].height, rows[1].width, sheet.height)) == rows[1]


# --- in the background


class Slow(Board):
    """A board that remembers what it was told, waits for `go` whenever it is told something, and may raise then."""

    def __init__(self, go: threading.Event, error: Exception | None = None) -> None:
        self.go, self.error = go, error
        self.told: list[object] = []

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        self._tell(progress.images)

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        self._tell(f"images {progress.images}")

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        self._tell(findings[0].name)

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        self._tell(f"examples {best[0].name} {worst[0].name}")

    def close(self) -> None:
        self._tell("close")

    def _tell(self, what: object) -> None:
        self.told.append(what)
        self.go.wait()
        if self.error:
            raise self.error


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Lets a slow board go on; at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_everything_arrives_in_order_and_in_another_thread(go: threading.Event) -> None:
    go.set()
    threads: list[threading.Thread] = []
    slow = Slow(go)

    def open() -> Board:
        threads.append(threading.current_thread())
        return slow

    board = Background("slow", open, "")
    record(board, 4, 8)
    board.close()
    once = ["collapse", "examples good.png bad.png"]
    assert slow.told == [4, "images 4", *once, 8, "images 8", *once, "close"]
    assert threads != [threading.current_thread()]


def test_a_board_that_hangs_stops_nothing(go: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(go)
    board = Background("slow", lambda: slow, "", close_timeout=0.2)
    board.scalars(Progress(0, 0, 1), {})
    wait_until(lambda: slow.told == [0])
    for count in range(1, 2 * background_module.QUEUE_LENGTH):
        board.scalars(Progress(count, count, 1), {})
    board.close()
    assert [message.split(";")[0] for message in warnings_of(caplog)] == [
        "slow is slower than the run",
        "slow does not come to an end",
    ]
    go.set()
    wait_until(lambda: len(slow.told) > background_module.QUEUE_LENGTH)
    assert slow.told[-1] == background_module.QUEUE_LENGTH, "what came last is left out"


def test_a_board_that_never_opens_stops_nothing(go: threading.Event) -> None:
    def open() -> Board:
        go.wait()
        raise OSError("too late")

    board = Background("shut", open, "", close_timeout=0.2)
    record(board, 4, 8)
    board.close()
    go.set()
    board._thread.join()


def test_few_pictures_wait_at_once(go: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(go)
    board = Background("slow", lambda: slow, "")
    board.images(Progress(0, 0, 1), {})
    wait_until(lambda: slow.told == ["images 0"])
    for count in range(1, 100):
        board.images(Progress(count, count, 1), {})
    board.scalars(Progress(100, 100, 1), {})
    go.set()
    wait_until(lambda: slow.told[-1] == 100)
    board.images(Progress(101, 101, 1), {})
    board.close()
    kept = [f"images {count}" for count in range(background_module.MAX_PICTURES + 1)]
    assert slow.told == [*kept, 100, "images 101", "close"]
    assert len(warnings_of(caplog)) == 1


def test_a_board_that_raises_is_one_warning(go: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    go.set()
    slow = Slow(go, ValueError("first\nsecond line"))
    board = Background("slow", lambda: slow, "")
    for _ in range(2 * background_module.QUEUE_LENGTH):
        board.scalars(Progress(1, 4, 1), {})
    record(board, 8)
    board.close()
    assert slow.told == [4]
    failed = [message for message in warnings_of(caplog) if "slower" not in message]
    assert failed == ["slow failed, the run goes on without it: ValueError: first second line"]


@pytest.mark.parametrize(
    ("board", "package"), [(VisdomBoard, "visdom"), (TensorBoard, "tensorboard"), (WandbBoard, "wandb")]
)
def test_a_missing_package_is_one_line_with_the_way_out(
    board: Callable[[Path], Board],
    package: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    asked = board(tmp_path)
    record(asked, 4)
    asked.close()
    (message,) = warnings_of(caplog)
    assert f"pip install {package}" in message and "the run goes on" in message and "\n" not in message


# --- options


def test_every_board_has_its_flag_and_is_off_by_itself() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(VisualsConfig)}
    assert {name: defaults[name] for name in BOARDS} == dict.fromkeys(BOARDS, False)


def test_files_are_written_whatever_the_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Board:
        return Background("broken", lambda: Slow(threading.Event(), OSError()), "", close_timeout=0.2)

    monkeypatch.setitem(BOARDS, "visdom", failing)
    boards = build_boards(VisualsConfig(visdom=True), tmp_path, None)
    record(boards, 4, 8)
    boards.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in lines] == [4, 8]


def test_an_interrupt_while_boards_are_waited_for_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Board):
        def close(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(BOARDS, "visdom", lambda *_: Waiting())
    boards = build_boards(VisualsConfig(visdom=True), tmp_path, None)
    boards.scalars(Progress(1, 4, 1), {"D": 1.0})
    with pytest.raises(KeyboardInterrupt):
        boards.close()
    assert 'class="badge stopped"' in (tmp_path / "report.html").read_text()
    assert "clearInterval" in (tmp_path / "web/index.html").read_text().splitlines()[-1]


# --- visdom

needs_visdom = pytest.mark.skipif(find_spec("visdom") is None, reason="visdom is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return True
    return False


@pytest.fixture(autouse=True)
def direct_and_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setattr(visdom_module, "SEND_INTERVAL", 0.0)
    monkeypatch.setattr(visdom_module, "RETRY_INTERVAL", 0.0)


@contextlib.contextmanager
def visdom_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    # The module's own entry point would first download scripts for the browser.
    start = "from visdom.server.run_server import main; main()"
    command = [sys.executable, "-c", start, "-port", str(port), "-env_path", str(folder), "-bind_local"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port) or process.poll() is not None)
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One for all tests, which differ in their environments."""
    port = free_port()
    with visdom_server(tmp_path_factory.mktemp("visdom"), port):
        yield port


def window(port: int, env: str, name: str) -> Any:
    from visdom import Visdom

    client = Visdom(port=port, env=env, use_incoming_socket=False, raise_exceptions=True)
    assert client.win_exists(name)
    return json.loads(client.get_window_data(name))


def curves(port: int, env: str, name: str) -> dict[str, tuple[list[float], list[float]]]:
    return {trace["name"]: (trace["x"], trace["y"]) for trace in window(port, env, name)["content"]["data"]}


@needs_visdom
def test_curves_have_a_window_for_each_group(tmp_path: Path, server: int, caplog: pytest.LogCaptureFixture) -> None:
    board = VisdomBoard(tmp_path / "curves", port=server)
    board.scalars(Progress(1, 4, 1), {"D_A": 0.5, "G_A": 2.0, "lr_generator": 0.25})
    board.scalars(Progress(2, 8, 1), {"D_A": 0.25, "G_A": float("nan"), "val_l1": 7.0, "train_l1": 6.0})
    board.close()
    assert curves(server, "curves", "loss") == {"D_A": ([4, 8], [0.5, 0.25]), "G_A": ([4], [2])}
    assert curves(server, "curves", "lr") == {"generator": ([4], [0.25])}
    assert curves(server, "curves", "l1") == {"val": ([8], [7]), "train": ([8], [6])}
    assert warnings_of(caplog) == []


@needs_visdom
def test_samples_examples_and_findings_have_windows_of_their_own(tmp_path: Path, server: int) -> None:
    board = VisdomBoard(tmp_path / "pictures", port=server)
    record(board, 4, 8)
    board.close()
    for name in ("samples", "best", "worst"):
        assert window(server, "pictures", name)["content"]["src"].startswith("data:image/png")
    assert window(server, "pictures", "worst")["content"]["caption"] == "bad.png l1 0.9; x l1 0.8"
    text = window(server, "pictures", "findings")["content"]
    assert text.count("differ by 0.01 &lt;only&gt;. A smaller --lr helps.") == 2
    assert text.index("8 images") < text.index("4 images"), "the newest is on top"


@needs_visdom
def test_a_resumed_run_shows_its_history(tmp_path: Path, server: int) -> None:
    lines = [json.dumps({"images": images, "D_A": images / 2}) for images in (4, 8, 12)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    board = VisdomBoard(tmp_path, resume_images=8, port=server, env="main")
    board.scalars(Progress(3, 12, 1), {"D_A": 0.0})
    board.close()
    assert curves(server, "main", "loss") == {"D_A": ([4, 8, 12], [2, 4, 0])}


@needs_visdom
def test_a_server_that_comes_back_gets_everything_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with visdom_server(tmp_path / "first", port):
        board = VisdomBoard(tmp_path / "run", port=port)
        board.scalars(Progress(1, 4, 1), {"data_share": 0.5})
        record(board, 4)
        wait_until(lambda: board._events.empty())
    record(board, 8)
    wait_until(lambda: bool(warnings_of(caplog)))
    record(board, 12)
    with visdom_server(tmp_path / "second", port):
        board.close()
        assert curves(port, "run", "loss") == {"D_A": ([4, 8, 12], [2, 4, 6])}
        assert curves(port, "run", "speed") == {"data_share": ([4], [0.5])}
        assert window(port, "run", "samples")["title"] == "12 images, epoch 1"
        assert window(port, "run", "findings")["content"].count("alarm") == 3
    (message,) = warnings_of(caplog)
    assert f"{port}: no answer" in message and "\n" not in message
    assert capfd.readouterr().out == ""


@needs_visdom
def test_an_absent_server_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board = VisdomBoard(tmp_path, port=free_port())
    record(board, 4, 8, 12)
    board.close()
    (message,) = warnings_of(caplog)
    assert "python -m visdom.server" in message


@needs_visdom
def test_a_server_that_never_answers_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visdom_module, "REQUEST_TIMEOUT", 0.3)
    monkeypatch.setattr(visdom_module, "RETRY_INTERVAL", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        board = VisdomBoard(tmp_path, server="http://127.0.0.1", port=mute.getsockname()[1])
        record(board, 4, 8, 12)
        board.close()
    (message,) = warnings_of(caplog)
    assert "ReadTimeout" in message


def test_long_curves_are_thinned_evenly() -> None:
    trace = visdom_module._Trace()
    for images in range(10 * visdom_module.MAX_POINTS):
        trace.add(images, 0.0)
    counts = [images for images, _ in trace.points]
    assert len(counts) < visdom_module.MAX_POINTS
    assert {b - a for a, b in zip(counts, counts[1:], strict=False)} == {16}


# --- TensorBoard

needs_tensorboard = pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")


def events(folder: Path) -> Any:
    """What TensorBoard reads in a run's folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    return accumulator.Reload()


def texts(read: Any, tag: str) -> list[str]:
    return [event.tensor_proto.string_val[0].decode() for event in read.Tensors(f"{tag}/text_summary")]


@needs_tensorboard
def test_tensorboard_shows_what_a_run_tells(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "options.yaml").write_text("model: pix2pix\nlr: 0.1\n")
    board = TensorBoard(tmp_path)
    record(board, 4, 8)
    board.close()
    read = events(tmp_path)
    assert read.Tags()["scalars"] == ["loss/D_A", "lr/generator", "val/l1"]
    assert [(event.step, event.value) for event in read.Scalars("loss/D_A")] == [(4, 2), (8, 4)]
    assert [event.step for event in read.Images("samples")] == [4, 8]
    assert [event.step for event in read.Images("examples/worst by l1")] == [4, 8]
    assert texts(read, "examples/worst by l1")[0].splitlines() == ["1. bad.png l1 0.9", "1. x l1 0.8"]
    assert texts(read, "findings/collapse") == [sentence(FINDING)] * 2
    assert texts(read, "options") == ["    model: pix2pix\n    lr: 0.1\n    "]
    assert warnings_of(caplog) == []


@needs_tensorboard
def test_a_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    for resumed, counts in ((None, (4, 8, 12)), (8, (12, 16))):
        board = TensorBoard(tmp_path, resumed)
        record(board, *counts)
        board.close()
    read = events(tmp_path)
    assert [event.step for event in read.Scalars("loss/D_A")] == [4, 8, 12, 16]
    assert [event.step for event in read.Images("samples")] == [4, 8, 12, 16]


@needs_tensorboard
def test_a_fresh_run_removes_its_old_events_and_nothing_else(tmp_path: Path) -> None:
    for counts in ((4, 8, 12), (4,)):
        board = TensorBoard(tmp_path)
        record(board, *counts)
        board.close()
        (tmp_path / "tensorboard" / "notes.txt").write_text("mine")
    assert [event.step for event in events(tmp_path).Scalars("loss/D_A")] == [4]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert (tmp_path / "tensorboard" / "notes.txt").read_text() == "mine"


# --- Weights & Biases

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")


@pytest.fixture
def wandb_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody's login and settings; what is set in the environment counts for each test anew."""
    import wandb

    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    yield
    wandb.teardown()


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run, whose file is a LevelDB log: fragments of records in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, start, parts = path.read_bytes(), 7, b""
    while start + 7 <= len(data):
        if (left := 32768 - start % 32768) < 7:
            start += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, start)
        parts += data[start + 7 : start + 7 + length]
        start += 7 + length
        if kind in (1, 4):  # a whole record, or the end of one
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def offline_runs(folder: Path) -> list[Path]:
    import wandb

    wandb.teardown()  # the files are written by a process of their own, whose end this waits for
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)


def history(path: Path) -> list[dict[str, Any]]:
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in wandb_records(path)
        if record.WhichOneof("record_type") == "history"
    ]


@needs_wandb
def test_wandb_gets_what_a_run_tells(tmp_path: Path, wandb_home: None, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "options.yaml").write_text("model: pix2pix\nlr: 0.1\n")
    board = WandbBoard(run, project="faces")
    record(board, 4, 8)
    board.close()
    (path,) = offline_runs(run)
    first, second = history(path)
    assert [row["_step"] for row in (first, second)] == [4, 8]
    assert (second["loss/D_A"], second["lr/generator"], second["val/l1"]) == (4, 0.5, 0.25)
    assert "loss/G_A" not in second
    assert second["examples/worst by l1/captions"] == ["bad.png l1 0.9", "x l1 0.8"]
    assert (path.parent / "files" / second["samples/path"]).is_file()
    records = list(wandb_records(path))
    (alert, *_) = [record.alert for record in records if record.WhichOneof("record_type") == "alert"]
    assert (alert.title, alert.level, alert.text) == ("collapse", "ERROR", f"{FINDING.message} {FINDING.advice}")
    (made,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (made.project, made.display_name) == ("faces", "my run")
    assert {item.key: item.value_json for item in made.config.update if item.key != "_wandb"} == {
        "model": '"pix2pix"',
        "lr": "0.1",
    }
    assert warnings_of(caplog) == []


@needs_wandb
def test_a_resumed_run_keeps_its_id_and_a_fresh_one_gets_another(tmp_path: Path, wandb_home: None) -> None:
    for resumed in (None, 4, None):
        board = WandbBoard(tmp_path, resumed)
        board.scalars(Progress(1, 8, 1), {"D_A": 1.0})
        board.close()
    first, second, third = (path.stem for path in offline_runs(tmp_path))
    assert first == second != third


def test_a_resumed_run_leaves_out_what_its_charts_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[int, Any] = {}
    run = types.SimpleNamespace(step=9, log=lambda values, step: logged.update({step: values}), finish=lambda: None)
    state = types.SimpleNamespace(settings=types.SimpleNamespace(mode="offline", base_url=""))
    package = types.SimpleNamespace(setup=lambda: state, Settings=dict, init=lambda **_: run)
    monkeypatch.setitem(sys.modules, "wandb", package)
    board = WandbBoard(tmp_path, resume_images=4)
    for images in (8, 12):
        board.scalars(Progress(images // 4, images, 1), {"D_A": 1.0})
    board.close()
    assert logged == {12: {"loss/D_A": 1.0}}


@needs_wandb
@pytest.mark.parametrize("key", ["", "a" * 40])
def test_without_login_or_server_the_run_is_kept_offline(
    key: str, tmp_path: Path, wandb_home: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free_port()}")
    board = WandbBoard(tmp_path)
    record(board, 4)
    board.close()
    (path,) = offline_runs(tmp_path)
    assert history(path)[0]["loss/D_A"] == 2
    (message,) = warnings_of(caplog)
    assert ("does not answer" if key else "nobody is logged in") in message and "wandb sync" in message


# --- all of them


@needs_visdom
@needs_tensorboard
@needs_wandb
def test_several_boards_at_once(tmp_path: Path, server: int, wandb_home: None) -> None:
    run = tmp_path / "several"
    run.mkdir()
    config = VisualsConfig(visdom=True, visdom_port=server, tensorboard=True, wandb=True)
    boards = build_boards(config, run, None)
    record(boards, 4)
    boards.close()
    assert curves(server, "several", "loss") == {"D_A": ([4], [2])}
    assert events(run).Scalars("loss/D_A")[0].value == 2
    assert history(offline_runs(run)[0])[0]["loss/D_A"] == 2
    assert json.loads((run / "metrics.jsonl").read_text())["D_A"] == 2
