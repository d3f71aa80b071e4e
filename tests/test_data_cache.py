"""Images that are kept once they are resized."""

import errno
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from i2i.data import Key, Sample
from i2i.data.cache import GIB, PAGE, ImageCache, build_cache, user_cache_folder
from i2i.errors import UserError
from tests.pictures import dataset, noise, save

posix = pytest.mark.skipif(os.name != "posix", reason="signals between processes are a matter of POSIX")
CODE = Path(__file__).parents[1]


class Counted:
    """Makes pixels, and counts how often."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.calls = pixels, 0

    def __call__(self) -> np.ndarray:
        self.calls += 1
        return self.pixels


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(save(tmp_path / "source.png", noise(4, 4)))


def cache(root: Path, limit: int = GIB, images: int = 1) -> ImageCache:
    return ImageCache(root, "test", limit, images, str(root))


def entries(root: Path) -> list[Path]:
    return sorted(root.glob("i2i-cache-*/*.pixels"))


def taken(root: Path) -> int:
    return sum(-(-entry.stat().st_size // PAGE) * PAGE for entry in entries(root))


@pytest.mark.parametrize(
    "pixels",
    [
        noise(7, 5),
        noise(7, 5)[:, ::-1],
        noise(7, 5)[:, :, :1],
        np.arange(2**16, dtype=np.uint16).reshape(64, 256, 4),
        np.random.default_rng(0).normal(size=(3, 2, 7)).astype(np.float32),
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        np.zeros((1, 1, 3), np.uint8),
    ],
)
def test_what_is_kept_comes_back_as_it_was(tmp_path: Path, source: str, pixels: np.ndarray) -> None:
    make = Counted(pixels)
    for _ in range(3):
        kept = cache(tmp_path).get(source, "recipe", make)
        np.testing.assert_array_equal(kept, pixels, strict=True)
    assert make.calls == 1
    kept[:] = 0  # it is the caller's own
    np.testing.assert_array_equal(cache(tmp_path).get(source, "recipe", make), pixels)


def test_file_and_recipe_tell_what_is_kept(tmp_path: Path, source: str) -> None:
    other = str(save(tmp_path / "other.png", noise(4, 4)))
    keep = cache(tmp_path)
    for number, (path, recipe) in enumerate([(source, "286"), (source, "512"), (other, "286")]):
        made = keep.get(path, recipe, Counted(np.full((2, 2, 3), number, np.uint8)))
        assert np.all(made == number)
    never = Counted(np.zeros((2, 2, 3), np.uint8))
    assert [int(keep.get(path, "286", never)[0, 0, 0]) for path in (source, other)] == [0, 2]
    assert never.calls == 0


def test_a_changed_file_is_read_anew_in_the_place_of_the_old(tmp_path: Path, source: str) -> None:
    keep = cache(tmp_path)
    keep.get(source, "", Counted(noise(4, 4)))
    os.utime(source, ns=(1, 1))
    np.testing.assert_array_equal(keep.get(source, "", Counted(noise(4, 4, seed=1))), noise(4, 4, seed=1))
    save(Path(source), noise(6, 6))
    os.utime(source, ns=(1, 1))
    np.testing.assert_array_equal(keep.get(source, "", Counted(noise(4, 4, seed=2))), noise(4, 4, seed=2))
    assert len(entries(tmp_path)) == 1


def test_a_missing_file_is_the_makers_affair(tmp_path: Path) -> None:
    make = Counted(noise(4, 4))
    for _ in range(2):
        cache(tmp_path).get(str(tmp_path / "missing.png"), "", make)
    assert make.calls == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:30],
        lambda data: b"",
        lambda data: b"x" + data[1:],
        lambda data: data.replace(b"|u1", b"??1", 1),
        lambda data: data.replace(b"|u1", b"|O\0", 1),
        lambda data: data.replace(b"|u1", b"<u2", 1),
    ],
)
def test_a_damaged_entry_is_written_anew(tmp_path: Path, source: str, damage: Callable[[bytes], bytes]) -> None:
    keep, make = cache(tmp_path), Counted(noise(7, 5))
    keep.get(source, "", make)
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    np.testing.assert_array_equal(keep.get(source, "", make), make.pixels)
    assert (make.calls, entry.read_bytes()) == (2, whole)


def test_the_limit_holds(tmp_path: Path, source: str) -> None:
    limit = 10 * PAGE
    keep, make = cache(tmp_path, limit), Counted(np.zeros((40, 40, 3), np.uint8))  # 4,800 bytes: two pages
    for number in range(9):
        keep.get(source, str(number), make)
    assert len(entries(tmp_path)) == 5 and taken(tmp_path) <= limit
    assert sum(entry.stat().st_size for entry in tmp_path.rglob("*.pixels")) <= limit
    for number in range(9):
        keep.get(source, str(number), make)
    assert make.calls == 13


def fill(keep: ImageCache, source: str, first: int) -> None:
    for number in range(first, first + 20):
        keep.get(source, str(number), Counted(np.zeros((40, 40, 3), np.uint8)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_what_is_kept_and_the_limit(tmp_path: Path, source: str, method: str) -> None:
    keep, context = cache(tmp_path, 60 * PAGE), get_context(method)
    processes = [context.Process(target=fill, args=(keep, source, first)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(entries(tmp_path)) == 30
    never = Counted(np.zeros(0))
    for entry in range(40):
        keep.get(source, str(entry), never)
    assert never.calls == 10


def test_a_file_system_that_is_full_ends_the_keeping_alone(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*names: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    keep, copy = (cache(tmp_path) for _ in range(2))
    for recipe in "ab":
        for each in (keep, copy):
            np.testing.assert_array_equal(each.get(source, recipe, Counted(noise(4, 4))), noise(4, 4))
    (record,) = caplog.records
    assert record.message.startswith("--cache: no more images are kept in ") and "No space left" in record.message
    assert [path.name for path in keep.folder.iterdir()] == []


def test_a_folder_that_cannot_be_written_to_is_told(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    keep = cache(tmp_path)
    (tmp_path / ".pages").mkdir()
    for recipe in "ab":
        assert keep.get(source, recipe, Counted(noise(4, 4))).shape == (4, 4, 3)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        f"--cache: no more images are kept in {keep.folder}"
    ]


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture) -> None:
    keep = cache(tmp_path / "cache")
    (tmp_path / "cache" / "i2i-cache-test").rmdir()
    (tmp_path / "cache").rmdir()
    assert keep.get(source, "", Counted(noise(4, 4))).shape == (4, 4, 3)
    assert not caplog.records


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from i2i.data import cache
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
cache.ImageCache(Path(sys.argv[1]), "test", 2**30, 1, "").get(sys.argv[2], "", lambda: np.ones((9, 9, 3), np.uint8))
"""


@posix
def test_a_killed_writer_leaves_no_half_entry(tmp_path: Path, source: str) -> None:
    script = [sys.executable, "-c", KILLED, str(tmp_path), source]
    assert subprocess.run(script, cwd=CODE, timeout=60).returncode == -signal.SIGKILL
    assert entries(tmp_path) == []
    make = Counted(noise(4, 4))
    np.testing.assert_array_equal(cache(tmp_path).get(source, "", make), make.pixels)
    assert make.calls == 1


def built(root: Path, kind: str, **options: object) -> ImageCache:
    keep = build_cache(kind, data=(str(root), options.pop("load_size", (286,))), images=4, **options)  # type: ignore[arg-type]
    assert keep is not None
    return keep


def test_none_is_none() -> None:
    assert build_cache("none", data=(), images=1) is None


def test_memory_is_given_back(tmp_path: Path, source: str) -> None:
    keep = built(tmp_path, "ram")
    root = keep.root
    keep.get(source, "", Counted(noise(4, 4)))
    assert entries(root)
    copy = pickle.loads(pickle.dumps(keep))
    del copy
    pid = os.fork() if hasattr(os, "fork") else 0
    if pid == 0 and hasattr(os, "fork"):
        del keep  # a worker has no say in it
        os._exit(0)
    if pid:
        os.waitpid(pid, 0)
    assert entries(root)
    other = built(tmp_path, "ram")
    assert root.is_dir() and other.root != root
    del keep
    assert not root.exists() and other.root.is_dir()


LEFT = """
import os, signal, sys
from i2i.data.cache import build_cache
cache = build_cache("ram", data=("x",), images=1)
print(cache.root, flush=True)
"""


@pytest.mark.parametrize("killed", [pytest.param(True, marks=posix), False])
def test_memory_is_given_back_by_programs_that_end(tmp_path: Path, killed: bool) -> None:
    script = [sys.executable, "-c", LEFT + killed * "os.kill(os.getpid(), signal.SIGKILL)"]
    result = subprocess.run(script, cwd=CODE, timeout=60, stdout=subprocess.PIPE, text=True)
    root = Path(result.stdout.strip())
    assert root.name.startswith("i2i-memory-") and root.is_dir() == killed
    built(tmp_path, "ram")  # the next start removes what was left
    assert not root.exists()


def test_disk_is_used_again_and_told_apart_by_data_set(tmp_path: Path, source: str) -> None:
    where, make = str(tmp_path / "cache"), Counted(noise(4, 4))
    for _ in range(2):
        built(tmp_path, "disk", folder=where).get(source, "", make)
    assert make.calls == 1
    names = {built(tmp_path / root, "disk", folder=where).folder.name for root in ("a", "b", "a")}
    names.add(built(tmp_path / "a", "disk", folder=where, load_size=(300,)).folder.name)
    assert len(names) == 3


def test_disk_lies_where_the_system_keeps_such_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert user_cache_folder() == Path("home/.cache/i2i")
    monkeypatch.setenv("LOCALAPPDATA", "local")
    assert user_cache_folder() == Path("local/i2i")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert built(tmp_path, "disk").root == tmp_path / "i2i"


def test_a_cache_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="^--cache_dir.*file"):
        built(tmp_path, "disk", folder=str(tmp_path / "file"))


def announced(keep: ImageCache, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        keep.announce()
    return caplog.records[-1].message if caplog.records else ""


def test_what_the_images_take_is_announced(tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture) -> None:
    keep = cache(tmp_path, 2 * GIB, images=2000)
    assert announced(keep, caplog) == ""
    half = np.zeros((PAGE * 128 - 64, 1, 1), np.uint8)  # half a MiB with its header
    keep.get(source, "", Counted(half))
    assert announced(keep, caplog) == f"cache: 2,000 images, 0.977 GiB of at most 2 GiB in {tmp_path}"
    tight = cache(tmp_path, GIB // 4, images=2000)
    tight.get(source, "", Counted(half))
    assert (
        announced(tight, caplog) == f"cache: 2,000 images, 0.977 GiB, of which 512 fit into the 0.25 GiB in {tmp_path}"
    )


def test_room_is_made_at_the_cost_of_the_oldest_data_sets(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.pixels").touch()
    for age, name in enumerate(("recent", "old", "oldest")):
        kept[name] = ImageCache(tmp_path, name, 20 * PAGE, 1, "")
        kept[name].get(source, "", Counted(np.zeros((140, 39, 3), np.uint8)))  # 5 pages with the header
        os.utime(kept[name].folder, (10**9 - age, 10**9 - age))
    keep = ImageCache(tmp_path, "new", 20 * PAGE, 4, "")
    for number in range(4):
        keep.get(source, str(number), Counted(np.zeros((PAGE - 64, 1, 1), np.uint8)))
    assert [path.exists() for path in (kept["oldest"].folder, kept["old"].folder)] == [True, True]
    announced(keep, caplog)  # 15 pages of others, 4 of its own
    assert all(each.folder.exists() for each in kept.values())
    keep.images = 10
    announced(keep, caplog)  # 10 pages are needed: one has to go
    assert [name for name, each in kept.items() if each.folder.exists()] == ["recent", "old"]
    for number in range(4, 20):
        keep.get(source, str(number), Counted(np.zeros((PAGE - 64, 1, 1), np.uint8)))
    assert taken(tmp_path) == 20 * PAGE
    assert (tmp_path / "mine" / "x.pixels").exists()


def test_a_folder_full_of_another_data_set_makes_room(tmp_path: Path, source: str) -> None:
    first, second = (ImageCache(tmp_path, name, 8 * PAGE, 8, "") for name in ("first", "second"))
    small = np.zeros((9, 9, 3), np.uint8)
    for number in range(20):
        first.get(source, str(number), Counted(small))
    second.get(source, "0", Counted(small))
    assert {entry.parent for entry in entries(tmp_path)} == {first.folder}
    second.announce()
    for number in range(20):
        second.get(source, str(number), Counted(small))
    assert [entry.parent for entry in entries(tmp_path)] == [second.folder] * 8


def test_a_folder_removed_by_hand_is_made_again(tmp_path: Path, source: str) -> None:
    keep = cache(tmp_path / "cache")
    keep.get(source, "", Counted(noise(4, 4)))
    shutil.rmtree(tmp_path / "cache")
    keep.announce()
    keep.get(source, "", Counted(noise(4, 4)))
    assert len(entries(tmp_path / "cache")) == 1


def test_a_data_set_reads_each_file_once(tmp_path: Path) -> None:
    save(tmp_path / "images" / "x.png", noise(40, 30))
    kept = dataset(tmp_path / "images", "single", cache="disk", cache_dir=str(tmp_path / "cache"))
    first = kept[Key(0, 0)]
    assert isinstance(first, Sample) and first.a is not None and first.a.any()
    (entry,) = entries(tmp_path / "cache")
    assert entry.stat().st_size == 64 + 40 * 30 * 3
    entry.write_bytes(entry.read_bytes()[:64] + bytes(40 * 30 * 3))
    second = kept[Key(0, 0)]
    assert isinstance(second, Sample) and second.a is not None and not second.a.any()
