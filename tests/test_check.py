"""`python -m i2i.check`: what it finds in a data set, and what it says about it."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i.data import DataConfig
from i2i.data.images import Info, Reader
from i2i.tools.check import DataReport, check
from i2i.tools.check.__main__ import main
from i2i.tools.check.duplicates import MOST_BITS, _near
from i2i.tools.check.measure import shift_between, view
from i2i.tools.check.pairs import mispaired
from i2i.tools.check.scan import ScanJob, scan
from i2i.tools.check.sources import SampleRow, Slot, Wanted
from options.train_options import TrainOptions
from tests.pictures import REAL, needs_data, save

SIZE = 64
SMALL: dict[str, Any] = {"load_size": (SIZE,), "crop_size": (SIZE,), "num_threads": 0}


def scene(seed: int, size: int = SIZE) -> np.ndarray:
    """Coloured blobs (H, W, 3), which no other seed has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def drawn(seed: int, size: int = SIZE) -> np.ndarray:
    """What belongs to `scene(seed)`: the same structure in other colours."""
    return 255 - scene(seed, size)[:, :, ::-1] // 2


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.concatenate([left, right], axis=1)


def unaligned(root: Path, count: int = 4, phases: tuple[str, ...] = ("train",)) -> None:
    for number, folder in enumerate(f"{phase}{name}" for phase in phases for name in "AB"):
        for index in range(count):
            save(root / folder / f"{'ab'[number % 2]}{index}.png", scene(1000 * number + index))


def aligned(root: Path, count: int = 4) -> None:
    for index in range(count):
        save(root / "train" / f"{index}.png", beside(scene(index), drawn(index)))


def two_folders(root: Path, count: int = 4) -> None:
    for index in range(count):
        save(root / "trainA" / f"{index}.png", scene(index))
        save(root / "trainB" / f"{index}.png", drawn(index))


def classes(root: Path) -> None:
    for index in range(4):
        save(root / "train" / "cat" / f"{index}.png", scene(index))
        save(root / "train" / "dog" / f"{index}.png", scene(10 + index))


def single(root: Path) -> None:
    for index in range(4):
        save(root / f"{index}.png", scene(index))


def look(root: Path, workers: int = 0, **options: Any) -> DataReport:
    config = DataConfig(**{"dataroot": str(root)} | SMALL | options)
    return check(config, workers, find_layout="dataset_mode" not in options)


def found(report: DataReport, root: Path) -> dict[str, list[list[str]]]:
    """The files of every finding, relative to the data."""
    return {
        finding.name: [[os.path.relpath(path, root) for path in item.paths] for item in finding.items]
        for finding in report.findings
    }


@pytest.mark.parametrize(
    ("build", "mode", "others"),
    [
        (unaligned, "unaligned", ()),
        (aligned, "aligned", ()),
        (two_folders, "unaligned", ("aligned",)),
        (classes, "classes", ()),
        (single, "single", ()),
    ],
)
def test_nothing_is_said_against_clean_data(
    tmp_path: Path, build: Callable[[Path], None], mode: str, others: tuple[str, ...]
) -> None:
    build(tmp_path)
    report = look(tmp_path)
    assert (report.survey.config.dataset_mode, report.survey.other_modes) == (mode, others)
    assert report.findings == [] and not report.fails
    assert "nothing to complain about" in report.text()


Build = Callable[[Path], Any]
Found = dict[str, list[list[str]]]


def in_unaligned(*files: tuple[str, np.ndarray]) -> Build:
    def build(root: Path) -> None:
        unaligned(root)
        for name, pixels in files:
            save(root / name, pixels)

    return build


def spoiled(name: str, spoil: Callable[[bytes], bytes]) -> Build:
    def build(root: Path) -> None:
        unaligned(root)
        path = root / name
        path.write_bytes(spoil(path.read_bytes()))

    return build


def in_pairs(*pairs: tuple[str, np.ndarray, np.ndarray]) -> Build:
    def build(root: Path) -> None:
        two_folders(root)
        for name, a, b in pairs:
            save(root / "trainA" / name, a)
            save(root / "trainB" / name, b)

    return build


def label_maps(*values: int) -> Build:
    def build(root: Path) -> None:
        two_folders(root)
        for index in range(4):
            labels = np.random.default_rng(index).choice(np.array(values, np.uint8), (SIZE, SIZE))
            save(root / "trainA" / f"{index}.png", labels)

    return build


def painted(root: Path) -> None:
    """Label maps whose classes have colours, which nobody has said are label maps."""
    label_maps(0, 1, 2)(root)
    for path in (root / "trainA").iterdir():
        with Image.open(path) as image:
            image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
            image.save(path)


def both(*builds: Build) -> Build:
    return lambda root: [build(root) for build in builds]


def lone(root: Path) -> None:
    two_folders(root)
    save(root / "trainB" / "lone.png", scene(99))


def array(name: str, pixels: np.ndarray) -> Build:
    return lambda root: np.save(root / name, pixels)


def re_encoded(root: Path) -> None:
    unaligned(root)
    with Image.open(root / "trainA" / "a0.png") as image:
        image.resize((50, 50)).save(root / "trainA" / "again.jpg", quality=80)


PAIRED = {"dataset_mode": "aligned"}
LABELS = PAIRED | {"in_classes": 3}
BOTH = ["trainA/x.png", "trainB/x.png"]
GREY = scene(50)[:, :, :1].repeat(3, axis=2)
DEEP = scene(51)[:, :, 0].astype(np.uint16) * 16
WIDE = scene(52, 2 * SIZE)[: SIZE // 2 + 10]

FATAL: list[tuple[Build, dict[str, Any], Found]] = [
    (spoiled("trainA/a1.png", lambda content: content[: len(content) // 2]), {}, {"unreadable": [["trainA/a1.png"]]}),
    (spoiled("trainB/b1.png", lambda content: b""), {}, {"unreadable": [["trainB/b1.png"]]}),
    (spoiled("trainB/b2.png", lambda content: b"no image"), {}, {"unreadable": [["trainB/b2.png"]]}),
    (
        both(aligned, lambda root: save(root / "train" / "odd.png", beside(scene(9), drawn(9))[:, 1:])),
        {},
        {"odd_width": [["train/odd.png"]]},
    ),
    (
        in_unaligned(("trainA/x.png", scene(9, 40))),
        {"preprocess": "crop"},
        {"too_small": [["trainA/x.png"]]},
    ),
    (
        both(unaligned, array("trainA/x.npy", np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 7), np.uint8))),
        {},
        {"unfit": [["trainA/x.npy"]]},
    ),
    (
        both(unaligned, array("trainA/x.npy", scene(9).astype(np.float32) / 255)),
        {},
        {"no_range": [["trainA/x.npy"]]},
    ),
    (
        label_maps(0, 1, 3),
        LABELS,
        {"label_values": [[f"trainA/{index}.png"] for index in range(4)], "missing_classes": []},
    ),
    (in_pairs(("x.png", scene(9), drawn(9, 80))), PAIRED | {"preprocess": "none"}, {"pair_sizes": [BOTH]}),
    (
        in_unaligned(("trainA/x.png", scene(9, 80))),
        {"preprocess": "none", "batch_size": 2},
        {"batch_sizes": [["trainA/a0.png"], ["trainA/x.png"]]},
    ),
]
WARNINGS: list[tuple[Build, dict[str, Any], Found]] = [
    (painted, PAIRED, {"palette": [[f"trainA/{index}.png"] for index in range(4)]}),
    (lone, PAIRED, {"unmatched": [["trainB/lone.png"]]}),
    (in_unaligned(("trainA/x.png", GREY)), {}, {"greyscale": [["trainA/x.png"]]}),
    (in_unaligned(("trainB/x.png", np.full((SIZE, SIZE, 3), 9, np.uint8))), {}, {"constant": [["trainB/x.png"]]}),
    (in_unaligned(("trainA/a0 copy.png", scene(0))), {}, {"duplicates": [["trainA/a0 copy.png", "trainA/a0.png"]]}),
    (re_encoded, {}, {"near_duplicates": [["trainA/a0.png", "trainA/again.jpg"]]}),
    (in_unaligned(("trainB/x.png", scene(0))), {}, {"domain_leaks": [["trainA/a0.png", "trainB/x.png"]]}),
    (
        in_unaligned(("testA/x.png", scene(0)), ("testB/y.png", scene(60))),
        {},
        {"leaks": [["trainA/a0.png", "testA/x.png"]]},
    ),
    (in_unaligned(("trainA/x.png", WIDE)), {}, {"squashed": [["trainA/x.png"]]}),
    (
        in_unaligned(("trainA/x.png", scene(9, 300))),
        {},
        {"mixed_sizes": [["trainA/a0.png"], ["trainA/x.png"]]},
    ),
    (in_unaligned(("trainA/x.png", np.dstack([scene(9), scene(8)[:, :, 0]]))), {}, {"alpha": [["trainA/x.png"]]}),
    (in_unaligned(("trainA/x.png", DEEP)), {}, {"greyscale": [["trainA/x.png"]], "mixed_depths": [["trainA/x.png"]]}),
    (
        lambda root: [save(root / f"{number}.png", DEEP // (number + 1)) for number in range(2)],
        {},
        {"near_duplicates": [["0.png", "1.png"]], "partial_range": [["0.png"]]},
    ),
    (
        both(unaligned, array("trainA/x.npy", scene(9).astype(np.float32))),
        {"in_range": (0, 200)},
        {"clipped": [[f"trainA/{name}"] for name in ("a0.png", "a1.png", "a2.png", "a3.png", "x.npy")]},
    ),
    (in_pairs(("x.png", scene(9), scene(9))), PAIRED, {"identical_pairs": [BOTH]}),
    (in_pairs(("x.png", scene(9), drawn(9)[np.arange(50) * SIZE // 50])), PAIRED, {"pair_shapes": [BOTH]}),
    (
        in_pairs(("x.png", scene(9, 80)[8:72, 8:72], drawn(9, 80)[8:72, :64])),
        PAIRED,
        {"misaligned": [BOTH]},
    ),
    (
        label_maps(0, 255),
        LABELS,
        {"label_values": [[f"trainA/{index}.png"] for index in range(4)], "missing_classes": []},
    ),
    (label_maps(0, 1, 2, 255), LABELS, {"label_values": [[f"trainA/{index}.png"] for index in range(4)]}),
]


def named(cases: list[tuple[Build, dict[str, Any], Found]]) -> list[Any]:
    return [pytest.param(*case, id=f"{number}-{next(iter(case[2]))}") for number, case in enumerate(cases)]


@pytest.mark.parametrize(("build", "options", "expected"), named(FATAL))
def test_what_would_end_a_training(tmp_path: Path, build: Build, options: dict[str, Any], expected: Found) -> None:
    build(tmp_path)
    report = look(tmp_path, **options)
    assert found(report, tmp_path) == expected
    assert report.fails


@pytest.mark.parametrize(("build", "options", "expected"), named(WARNINGS))
def test_what_would_spoil_a_training(tmp_path: Path, build: Build, options: dict[str, Any], expected: Found) -> None:
    build(tmp_path)
    report = look(tmp_path, **options)
    assert found(report, tmp_path) == expected
    assert not report.fails


MENDED = [
    FATAL[4][:2],
    (lambda root: [save(root / f"train{name}" / "x.png", scene(9)[:, :, 0]) for name in "AB"], {}),
    (
        lambda root: [
            (root / f"train{name}").mkdir() or np.save(root / f"train{name}" / "x.npy", scene(9).astype(np.float32) * 3)
            for name in "AB"
        ],
        {},
    ),
    (
        lambda root: [
            (root / f"train{name}").mkdir() or np.save(root / f"train{name}" / "x.npy", np.tile(scene(9), (1, 1, 3)))
            for name in "AB"
        ],
        {},
    ),
    FATAL[-2][:2],
    FATAL[-1][:2],
]


def following(report: DataReport) -> TrainOptions:
    """The options of the command that the report advises."""
    python, program, *arguments = shlex.split(report.as_dict()["command"])
    assert (python, program) == ("python", "train.py")
    return TrainOptions(arguments)


@pytest.mark.parametrize(("build", "options"), MENDED)
def test_training_with_the_advice_would_not_fail(tmp_path: Path, build: Build, options: dict[str, Any]) -> None:
    build(tmp_path)
    report = look(tmp_path, **options)
    assert not check(following(report).data).fails


def test_the_advice_is_a_command_that_train_takes(tmp_path: Path) -> None:
    root = tmp_path / "my data"
    for index in range(24):
        for name in "AB":
            save(root / f"train{name}" / f"{name}{index}.png", scene(index + 100 * (name == "B"))[:, :, 0])
    (root / "trainA" / "A3.png").write_bytes(b"")
    options = following(look(root, load_size=(80,), flip=False))
    data = options.data
    assert (options.model_name, options.run.name, data.dataroot) == ("cyclegan", "my data", str(root))
    assert (data.in_channels, data.out_channels, data.load_size, data.crop_size) == (1, 1, (80, 80), (64, 64))
    assert (data.flip, data.on_bad_image, data.cache) == (False, "skip", "ram")


@pytest.mark.parametrize(("high", "expected"), [(1.0, (0, 1)), (255.0, (0, 255)), (123.0, (0, 130))])
def test_the_advised_range_holds_the_values(tmp_path: Path, high: float, expected: tuple[float, float]) -> None:
    for name in "AB":
        (tmp_path / f"train{name}").mkdir()
        np.save(tmp_path / f"train{name}" / f"{name}.npy", np.linspace(0, high, 64 * 64 * 3).reshape(64, 64, 3))
    data = following(look(tmp_path)).data
    assert data.in_range == expected and data.out_range == expected


def test_long_images_keep_their_shape(tmp_path: Path) -> None:
    for index in range(4):
        for name in "AB":
            save(tmp_path / f"train{name}" / f"{name}{index}.png", scene(index + 10 * (name == "B"), 128)[:64])
    report = check(DataConfig(dataroot=str(tmp_path), num_threads=0))
    assert [finding.name for finding in report.findings] == ["squashed"]
    data = following(report).data
    assert (data.preprocess, data.load_size) == ("scale_width_and_crop", (572, 572))


def test_what_is_wrong_with_other_phases_does_not_end_a_training(tmp_path: Path) -> None:
    unaligned(tmp_path, phases=("train", "test"))
    (tmp_path / "testA" / "a1.png").write_bytes(b"")
    report = look(tmp_path)
    assert found(report, tmp_path) == {"unreadable": [["testA/a1.png"]]}
    assert not report.fails and look(tmp_path, phase="test").fails


def test_bad_files_that_are_skipped_end_nothing_unless_all_are_bad(tmp_path: Path) -> None:
    single(tmp_path)
    paths = sorted(tmp_path.glob("*.png"))
    for path, fails in zip(paths, (False, False, False, True), strict=True):
        path.write_bytes(b"")
        assert look(tmp_path, on_bad_image="skip").fails == fails


def test_a_pair_is_one_copy_and_not_two(tmp_path: Path) -> None:
    aligned(tmp_path)
    shutil.copy(tmp_path / "train" / "0.png", tmp_path / "train" / "copy.png")
    save(tmp_path / "val" / "x.png", beside(scene(1), drawn(1)))
    assert found(look(tmp_path), tmp_path) == {
        "leaks": [["train/1.png", "val/x.png"]],
        "duplicates": [["train/0.png", "train/copy.png"]],
    }


def test_direction_swaps_the_ends_and_not_the_domains(tmp_path: Path) -> None:
    two_folders(tmp_path)
    for index in range(4):
        save(tmp_path / "trainA" / f"{index}.png", np.random.default_rng(index).integers(0, 3, (SIZE, SIZE), np.uint8))
    report = look(tmp_path, dataset_mode="aligned", direction="BtoA", out_classes=3)
    assert report.findings == []
    assert [(column.domain, column.high) for column in report.columns] == [("B", 255), ("A", 2)]


def test_conditions_are_domains_too(tmp_path: Path) -> None:
    two_folders(tmp_path)
    for index in range(4):
        save(tmp_path / "traindepth" / f"{index}.png", scene(index)[:, :, 0])
    (tmp_path / "traindepth" / "2.png").write_bytes(b"")
    report = look(tmp_path, **PAIRED, conditions=("A", "depth"), condition_channels=(3, 1))
    assert found(report, tmp_path) == {"unreadable": [["traindepth/2.png"]]}
    assert [column.domain for column in report.columns] == ["A", "depth", "B"]


def test_a_manifest_has_phases(tmp_path: Path) -> None:
    two_folders(tmp_path)
    rows = [{"a": f"trainA/{i}.png", "b": f"trainB/{i}.png", "phase": "train" if i else "test"} for i in range(4)]
    manifest = tmp_path / "data.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    report = look(manifest)
    assert report.survey.config.dataset_mode == "aligned" and report.findings == []
    assert [(column.phase, column.files) for column in report.columns] == [
        ("train", 3),
        ("train", 3),
        ("test", 1),
        ("test", 1),
    ]


@pytest.mark.parametrize("name", ["trainA", "nothing"])
def test_a_folder_without_a_layout(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    report = look(tmp_path)
    assert report.fails and [finding.name for finding in report.findings] == ["layout"]
    assert name in report.text() and report.as_dict()["command"] is None


def test_a_test_phase_alone_is_looked_at_but_trains_nothing(tmp_path: Path) -> None:
    unaligned(tmp_path, phases=("test",))
    report = look(tmp_path)
    assert report.fails and [column.phase for column in report.columns] == ["test", "test"]


def test_mispaired_rows_are_found_and_others_are_not() -> None:
    a, b = ([view(draw(seed)) for seed in range(40)] for draw in (scene, drawn))
    assert mispaired(a, b) == []
    swapped = [b[0], b[2], b[1], *b[3:]]
    assert sorted(mispaired(a, swapped)) == [(1, 2), (2, 1)]
    assert len(mispaired(a, b[1:] + b[:1])) > 30


@pytest.mark.parametrize(("right", "down"), [(0, 0), (6, 0), (0, -8), (-5, 5)])
def test_shifts_are_measured(right: int, down: int) -> None:
    wide, other = scene(3, 160), drawn(3, 160)
    shift = shift_between(wide[16:144, 16:144], other[16 - down : 144 - down, 16 - right : 144 - right])
    if (right, down) == (0, 0):
        assert shift is None
    else:
        assert shift is not None
        assert np.allclose(np.multiply(shift, 128), (right, down), atol=1)


def test_near_hashes_are_those_of_a_full_comparison() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 300, np.uint64)
    for number in range(150):
        flipped = random.choice(64, number % 8, replace=False).astype(np.uint64)
        hashes[150 + number] = hashes[number] ^ np.bitwise_or.reduce(np.uint64(1) << flipped, initial=np.uint64(0))
    near = {frozenset((one, other)) for one, others in _near(hashes) for other in others.tolist()}
    distances = np.bitwise_count(hashes[:, None] ^ hashes)
    assert near == {frozenset(pair) for pair in np.argwhere(np.triu(distances <= MOST_BITS, 1)).tolist()}
    assert len(near) > 80


class Treacherous(Reader):
    """Ends the process at one file and never comes back from another."""

    def info(self, path: str) -> Info:
        if path.endswith("crash.png"):
            os._exit(1)
        if path.endswith("hang.png"):
            time.sleep(600)
        return super().info(path)


def jobs(paths: list[Path]) -> list[ScanJob]:
    files = [Wanted(str(path), (Slot("A", "in", 3),)) for path in paths]
    return [ScanJob(SampleRow("train", number, (file,)), True) for number, file in enumerate(files)]


def test_a_file_that_kills_or_blocks_its_process_is_a_bad_file(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{name}.png", scene(0)) for name in ("0", "crash", "2", "hang", *map(str, range(4, 24)))]
    records = [record for row in scan(jobs(paths), Treacherous(), 2, seconds=2) for record in row]
    assert sorted(record.path for record in records) == sorted(map(str, paths))
    bad = {Path(record.path).name: record.error for record in records if not record.readable}
    assert bad.keys() == {"crash.png", "hang.png"}
    assert all(
        error is not None and "a reader crashes on it, or takes more than 2 s" in error for error in bad.values()
    )


def stable(report: DataReport) -> dict[str, Any]:
    """What does not depend on the speed of the machine."""
    values = report.as_dict()
    return {name: values[name] for name in ("findings", "columns", "fails", "dataset_mode")}


def test_parallel_is_serial(tmp_path: Path) -> None:
    re_encoded(tmp_path)
    (tmp_path / "trainB" / "b2.png").write_bytes(b"")
    serial = stable(look(tmp_path))
    assert serial == stable(look(tmp_path, workers=2)) and len(serial["findings"]) == 2


SPAWNED = """
import multiprocessing
from i2i.tools.check import check
from i2i.data import DataConfig
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    report = check(DataConfig(dataroot={!r}, num_threads=0), 1)
    print(len(report.survey.seen), report.findings)
"""


def test_processes_may_be_spawned(tmp_path: Path) -> None:
    unaligned(tmp_path / "data")
    script = tmp_path / "script.py"
    script.write_text(SPAWNED.format(str(tmp_path / "data")))
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    result = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "8 []\n", "")


def test_some_samples_are_decoded_and_all_headers_read(tmp_path: Path) -> None:
    unaligned(tmp_path)
    shown: list[tuple[int, int]] = []
    config = DataConfig(**{"dataroot": str(tmp_path)} | SMALL)
    report = check(config, samples=3, progress=lambda done, total: shown.append((done, total)))
    assert len(report.survey.seen) == 3 and sum(record.info is not None for record in report.survey.records) == 8
    assert shown == [(done, 8) for done in range(1, 9)]


def test_ten_of_very_many_bad_files_are_shown(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.png").write_bytes(b"")
    text = look(tmp_path).text()
    assert "ERROR: 300 files cannot be read\n  0.png  cannot be read" in text
    assert "  9.png" in text and "  10.png" not in text and "  and 290 more" in text


def test_the_estimate_of_the_cache_and_of_a_batch(tmp_path: Path) -> None:
    aligned(tmp_path)
    estimate = look(tmp_path, load_size=(80,), batch_size=2).estimate
    assert estimate.samples == 4 and estimate.rate is not None and estimate.rate > 1
    assert estimate.cache_bytes == 4 * 2 * 80 * 80 * 3
    assert estimate.batch_bytes == 2 * 2 * SIZE * SIZE * 3 * 4


class Page(HTMLParser):
    """The pictures of a page and the places that it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        places = [value or "" for name, value in attrs if name in ("src", "href")]
        (self.pictures if tag == "img" else self.links).extend(places)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["check", *map(str, arguments)])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def test_the_page_stands_alone_and_has_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, page = tmp_path / "data", tmp_path / "page.html"
    unaligned(root)
    save(root / "trainA" / "<b>&.png", scene(0))
    (root / "trainA" / "a1.png").write_bytes(b"")
    assert run(monkeypatch, root, "--html", page, "--workers", 0) == 1
    html = page.read_text()
    parsed = Page(html)
    assert parsed.links == [] and len(parsed.pictures) == 2
    for picture in parsed.pictures:
        kind, _, content = picture.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\xff\xd8")
    assert "<b>" not in re.sub(r"<b>Training would fail:</b>", "", html) and "&lt;b&gt;&amp;.png" in html
    assert "url(" not in html and "a1.png" in html


def test_json_has_every_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unaligned(tmp_path / "data", count=20)
    for number in range(15):
        (tmp_path / "data" / "trainA" / f"a{number}.png").write_bytes(b"")
    file = tmp_path / "report.json"
    assert (
        run(monkeypatch, tmp_path / "data", "--json", file, "--workers", 0, "--load_size", 64, "--crop_size", 64) == 1
    )
    values = json.loads(file.read_text())
    assert values.keys() == {
        *("dataroot", "dataset_mode", "other_modes", "fails", "findings", "columns", "estimate", "advice"),
        *("command", "seconds"),
    }
    (finding,) = values["findings"]
    assert (finding["name"], finding["fatal"], len(finding["items"])) == ("unreadable", True, 15)
    assert finding["items"][0]["paths"] == [str(tmp_path / "data" / "trainA" / "a0.png")]
    assert [(column["domain"], column["files"], column["unreadable"]) for column in values["columns"]] == [
        ("A", 20, 15),
        ("B", 20, 0),
    ]
    assert values["columns"][1]["sizes"] == {"64x64": 20}


@pytest.mark.parametrize(
    "arguments",
    [[], ["/nowhere"], ["--nope"], ["{}", "--load_size", "0"], ["{}", "--workers", "-1"], ["{}", "--samples", "0"]],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    single(tmp_path)
    assert run(monkeypatch, *(argument.format(tmp_path) for argument in arguments)) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.startswith("python -m i2i.check: error: ")


def test_the_command_line_from_outside(tmp_path: Path) -> None:
    unaligned(tmp_path)
    command = [sys.executable, "-m", "i2i.check", str(tmp_path), "--workers", "2"]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{tmp_path}: --dataset_mode unaligned\n\nnothing to complain about\n")


@needs_data
def test_facades_are_clean_but_for_one_doubtful_pair() -> None:
    report = check(DataConfig(dataroot=str(REAL / "facades"), num_threads=0), 2, find_layout=True)
    assert report.survey.config.dataset_mode == "aligned" and not report.fails
    assert {finding.name: len(finding.items) for finding in report.findings} == {"mispaired": 1}
    assert report.sizes == {"256x256": 1000}


@needs_data
def test_two_zebras_are_greyscale_files(tmp_path: Path) -> None:
    report = check(DataConfig(dataroot=str(REAL / "horse2zebra"), num_threads=0), 2, find_layout=True)
    (finding,) = report.findings
    assert finding.name == "greyscale" and not report.fails
    saved_grey = [item.paths[0] for item in finding.items if item.note.endswith("saved as L")]
    assert {Path(path).name for path in saved_grey} == {"n02391049_226.jpg", "n02391049_2341.jpg"}
    assert len(finding.items) == 9
