"""The same batches whatever the workers, the ranks, the cache and the device; and how they travel."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.data import Batch, BatchStream, ImageError, Sample, collate, loader
from i2i.data.batch import normalise
from i2i.data.order import MIXED, EndlessOrder
from i2i.data.prefetch import SideStream, prefetched
from i2i.data.transport import BUFFERS, known_buffers
from i2i.errors import UserError
from tests.pictures import coordinates, dataset, equal, noise, numbered, numbers, save

RANDOM: dict[str, Any] = {"preprocess": "resize_and_crop", "load_size": (12, 10), "crop_size": (8,), "flip": True}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Seven pairs, side by side; and five and three unpaired images."""
    for number in range(7):
        save(tmp_path / "pairs" / "train" / f"{number}.png", noise(28, 11, seed=number))
    for domain, count in (("A", 5), ("B", 3)):
        for number in range(count):
            save(tmp_path / "pairs" / f"train{domain}" / f"{number}.png", noise(14, 11, seed=ord(domain) + number))
    return tmp_path / "pairs"


def stream(
    root: Path,
    batch_size: int = 2,
    *,
    mode: str = "aligned",
    device: str = "cpu",
    position: int = 0,
    rank: int = 0,
    ranks: int = 1,
    **options: Any,
) -> BatchStream:
    data = dataset(root, mode, seed=3, **(RANDOM | options))
    return BatchStream(data, batch_size, 3, device, position=position, rank=rank, ranks=ranks)


def images(batches: list[Batch]) -> list[tuple[str, bytes]]:
    """File and pixels of every pair."""
    found = []
    for batch in batches:
        assert batch.a is not None and batch.b is not None
        for row, path in enumerate(batch.paths_a):
            found.append((path, torch.cat([batch.a[row], batch.b[row]]).numpy().tobytes()))
    return found


@pytest.fixture(params=["none", "ram", "disk"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"cache": request.param, "cache_dir": str(tmp_path / "kept")}


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
@pytest.mark.parametrize(("workers", "mode"), [(0, "aligned"), (1, "unaligned"), (2, "unaligned"), (3, "aligned")])
def test_workers_and_cache_change_nothing(pairs: Path, kept: dict[str, Any], workers: int, mode: str) -> None:
    plain, other = stream(pairs, mode=mode), stream(pairs, mode=mode, num_threads=workers, **kept)
    for _ in range(9):  # over two epochs
        assert equal(plain(), other())


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_one_order(pairs: Path, ranks: int) -> None:
    plain = stream(pairs, batch_size=1)
    each = [stream(pairs, rank=rank, ranks=ranks) for rank in range(ranks)]
    for _ in range(4):
        together = [images([following()]) for following in each]
        wanted = images([plain() for _ in range(2 * ranks)])
        assert [together[place % ranks][place // ranks] for place in range(2 * ranks)] == wanted
        assert {following.position for following in each} == {plain.position}


@pytest.mark.parametrize("mode", ["aligned", "unaligned"])
@pytest.mark.parametrize(("workers", "ranks"), [(0, 1), (2, 1), (0, 3)])
def test_a_stream_resumes_within_an_epoch(pairs: Path, workers: int, ranks: int, mode: str) -> None:
    options: dict[str, Any] = {"mode": mode, "rank": ranks - 1, "ranks": ranks, "cache": "ram" if workers else "none"}
    straight = stream(pairs, **options)
    batches = [straight() for _ in range(8)]
    for done in (1, 5):
        position = done * 2 * ranks
        resumed, sought = stream(pairs, num_threads=workers, position=position, **options), stream(pairs, **options)
        sought()
        sought.seek(position)
        for batch in batches[done:]:
            assert equal(resumed(), batch) and equal(sought(), batch)
        assert resumed.position == sought.position == straight.position


def test_a_change_of_ranks_goes_on_with_the_same_order(pairs: Path) -> None:
    plain = stream(pairs, batch_size=1)
    wanted = images([plain() for _ in range(12)])
    first = [stream(pairs, rank=rank, ranks=3) for rank in range(3)]
    done = [images([following()]) for following in first]
    then = stream(pairs, batch_size=6)
    then.seek(first[0].position)
    assert sorted(itertools.chain(*done, images([then()]))) == sorted(wanted)


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_workers_that_inherit_nothing_share_the_cache(pairs: Path, kind: str, tmp_path: Path) -> None:
    alone = stream(pairs)
    previous = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        together = stream(pairs, num_threads=2, cache=kind, cache_dir=str(tmp_path / "kept"))
        for _ in range(4):
            assert equal(alone(), together())
    finally:
        multiprocessing.set_start_method(previous, force=True)


def test_the_cache_is_announced_once(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    following = stream(pairs, cache="ram", cache_limit=0.5)
    following()
    following.seek(0)
    following()
    (message,) = (record.message for record in caplog.records if record.name == "i2i.data.cache")
    assert all(part in message for part in ("7 images", "28 KiB", "0.5 GiB", "memory"))


@pytest.mark.parametrize("groups", [[4, 4, 4], [1, 5, 3, 7, 2, 6, 4, 8, 1]])
def test_groups_are_read_one_after_the_other(groups: list[int]) -> None:
    order = EndlessOrder(sum(groups), seed=1, groups=groups)
    owner = np.repeat(np.arange(len(groups)), groups)
    orders = [order.order(epoch) for epoch in range(3)]
    for indices in orders:
        assert sorted(indices) == list(range(sum(groups)))
        seen: list[int] = []
        for index in indices:
            if owner[index] not in seen:
                seen.append(owner[index])
            else:  # it has not been left for long
                assert seen.index(owner[index]) // MIXED == (len(seen) - 1) // MIXED
    assert len({tuple(indices) for indices in orders}) == 3


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_an_order_of_groups(ranks: int) -> None:
    groups = [3, 4, 5, 2, 6]
    whole = list(itertools.islice(EndlessOrder(20, 1, groups=groups), 60))
    parts = [iter(EndlessOrder(20, 1, start=6, rank=rank, ranks=ranks, groups=groups)) for rank in range(ranks)]
    assert [next(parts[place % ranks]) for place in range(54)] == whole[6:]


def sample(dtype: type = np.uint8, channels: int = 3, **fields: Any) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, channels)).astype(dtype)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    return Sample(a=image, path_a="a.png", **fields)


def test_a_batch_has_all_that_its_samples_have() -> None:
    changes = [np.arange(4.0) + number for number in range(2)]
    extras = [{"mask": torch.ones(1, 6, 5), "text": torch.full((5,), float(number))} for number in range(2)]
    image = torch.arange(30, dtype=torch.uint8).view(1, 6, 5)
    batch = collate(
        [
            sample(b=image, path_b="b.png", label=7, changes={"a": changes[0]}, extras=extras[0], kind="uint8"),
            sample(b=image + 1, path_b="c.png", label=8, changes={"a": changes[1]}, extras=extras[1], kind="uint16"),
        ]
    )
    assert isinstance(batch, Batch) and batch.a is not None and batch.b is not None
    assert torch.equal(batch.a, torch.stack([sample().a] * 2))  # type: ignore[list-item]
    assert torch.equal(batch.b, torch.stack([image, image + 1]))
    assert torch.equal(batch.labels(), torch.tensor([7, 8]))
    assert batch.changes.keys() == {"a"} and np.array_equal(batch.changes["a"], changes)
    assert {name: tuple(extra.shape) for name, extra in batch.extras.items()} == {"mask": (2, 1, 6, 5), "text": (2, 5)}
    assert batch.extra("text")[:, 0].tolist() == [0, 1]
    with pytest.raises(UserError, match="'depth'"):
        batch.extra("depth")
    assert (batch.paths_b, batch.kinds, batch.skipped) == (("b.png", "c.png"), ("uint8", "uint16"), ((), ()))


def test_images_lie_in_a_batch_as_in_files() -> None:
    batch = collate([sample(), sample()])
    assert isinstance(batch, Batch) and batch.a is not None
    assert batch.a.is_contiguous(memory_format=torch.channels_last) and not batch.a.is_contiguous()
    moved = batch.to("cpu")
    assert moved.a is not None and moved.a.is_contiguous()
    assert torch.equal(moved.a, normalise(batch.a))


def test_bytes_and_floats_meet_in_one_batch() -> None:
    floats = Sample(a=torch.linspace(-1, 1, 90).view(3, 6, 5), path_a="f.tif")
    batch = collate([sample(), floats])
    assert isinstance(batch, Batch) and batch.a is not None
    assert torch.equal(batch.a[0], normalise(sample().a))  # type: ignore[arg-type]
    assert torch.equal(batch.a[1], floats.a)  # type: ignore[arg-type]
    assert torch.equal(batch.to("cpu").a, batch.a)  # type: ignore[arg-type]


def test_a_worker_sends_its_batches_through_the_same_few_pieces_of_memory(tmp_path: Path) -> None:
    numbered(tmp_path, 4)
    batches = iter(BatchStream(dataset(tmp_path, "single", num_threads=1, serial_batches=True), 2)._loader())
    places = []
    for number in range(20):
        batch = next(batches)
        assert batch.a.is_shared() and numbers(batch.a) == [2 * number % 4, 2 * number % 4 + 1]
        places.append(batch.a.data_ptr())
    assert len(set(places)) == BUFFERS
    assert all(len(set(places[start : start + BUFFERS])) == BUFFERS for start in range(16))


@pytest.mark.parametrize(("mode", "deep"), [("single", False), ("aligned", True), ("classes", True)])
def test_what_a_stream_gives_stays_as_it_is(tmp_path: Path, mode: str, deep: bool) -> None:
    folders = {"single": ["."], "aligned": ["trainA", "trainB"], "classes": ["train/x", "train/y"]}[mode]
    for folder in folders:
        for number in range(6):
            grey = np.full((8, 8), number, np.uint8)
            save(tmp_path / folder / f"{number}.png", grey.astype(np.uint16) * 257 if deep else grey)
    options: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "augment": "gpu", "augment_preset": "light"}
    kept = {}
    for workers in (0, 2):
        following = BatchStream(dataset(tmp_path, mode, num_threads=workers, **options), 2)
        kept[workers] = [following() for _ in range(6 * BUFFERS)]
    for first, second in zip(kept[0], kept[2], strict=True):
        assert equal(first, second) and first.tensors().keys() == second.tensors().keys()
        assert all(torch.equal(value, second.tensors()[name]) for name, value in first.tensors().items())


def test_memory_grows_with_the_images(tmp_path: Path) -> None:
    for number, side in enumerate((4, 40, 8, 80, 12, 120, 16, 4, 200, 9)):
        save(tmp_path / f"{number}.png", noise(side, side + 1, number))
    streams = [BatchStream(dataset(tmp_path, "single", num_threads=workers), 1) for workers in (0, 1, 3)]
    for _ in range(30):
        alone, one, three = (stream() for stream in streams)
        assert equal(alone, one) and equal(alone, three)
    assert known_buffers and all(len(buffers) <= 3 * BUFFERS for buffers in known_buffers.values())


@pytest.mark.parametrize("mode", ["aligned", "unaligned"])
def test_the_device_does_what_a_worker_would(tmp_path: Path, mode: str) -> None:
    smooth = np.stack([coordinates(48, 48)[:, :, number % 2] * 5 for number in range(3)], axis=2)
    for number in range(4):
        for domain in "AB":
            save(tmp_path / f"train{domain}" / f"{number}.png", smooth + number)
    streams = {
        backend: BatchStream(dataset(tmp_path, mode, augment=backend, augment_preset=preset), 4)
        for backend, preset in (("cpu", "strong"), ("gpu", "strong"), ("auto", "reference"))
    }
    for _ in range(2):
        worker, device, plain = (stream() for stream in streams.values())
        assert not worker.changes and set(device.changes) == {"a", "b"}
        for domain in "ab":
            expected, found, untouched = (batch.image(domain) for batch in (worker, device, plain))
            assert (found - expected).abs().mean() < 0.02 < (untouched - expected).abs().mean()


def named(*names: str) -> Iterator[Batch | ImageError]:
    return iter([Batch(paths_a=(name,)) for name in names])


def test_the_next_batch_begins_once_one_has_arrived() -> None:
    done: list[str] = []

    def noted(step: str) -> Callable[[Batch], Batch]:
        return lambda batch: done.append(f"{step} {batch.paths_a[0]}") or batch  # type: ignore[func-returns-value]

    following = prefetched(named("0", "1", "2"), noted("begin"), noted("finish"))
    assert [batch.paths_a for batch in itertools.islice(following, 2)] == [("0",), ("1",)]  # type: ignore[union-attr]
    assert done == ["begin 0", "finish 0", "begin 1", "finish 1", "begin 2"]


def test_an_error_ahead_keeps_its_place() -> None:
    error = ImageError("bad")

    def batches() -> Iterator[Batch | ImageError]:
        yield from named("0")
        yield error
        yield from named("1")
        raise RuntimeError("DataLoader worker (pid 1) is killed")

    following = prefetched(batches(), lambda batch: batch, lambda batch: batch)
    assert [next(following) is error for _ in range(3)] == [False, True, False]
    with pytest.raises(RuntimeError, match="killed"):
        next(following)


class CpuStream:
    """A SideStream without CUDA."""

    def __init__(self, move: Callable[[Batch], Batch], device: torch.device) -> None:
        self.begin = move

    def finish(self, batch: Batch) -> Batch:
        return batch


@pytest.mark.parametrize("workers", [0, 1])
def test_prefetched_batches_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    numbered(tmp_path, 6)
    (tmp_path / "4.png").write_bytes(b"no image")
    monkeypatch.setattr(loader, "SideStream", CpuStream)
    monkeypatch.setattr(Batch, "to", lambda batch, device, dtype: batch)
    monkeypatch.setattr(Batch, "pin_memory", lambda batch: batch)
    data = dataset(tmp_path, "single", num_threads=workers, serial_batches=True)
    following = BatchStream(data, 2, device="cuda")
    assert [numbers(following().a) for _ in range(2)] == [[0, 1], [2, 3]]
    assert following.position == 4
    with pytest.raises(ImageError, match=r"4\.png"):
        following()
    assert following.position == 4
    following.seek(2)
    assert numbers(following().a) == [2, 3]
    following.seek(0)  # the workers end here, and not when the error is forgotten


class Stream:
    """Stands for a CUDA stream."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log, self.device = name, log, "cuda"

    def wait_stream(self, other: "Stream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")


def test_the_current_stream_waits_for_the_side_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    side, main = Stream("side", log), Stream("main", log)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: side)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(log.append(f"on {stream.name}")))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: log.append(f"used by {stream.name}"))
    transfer = SideStream(lambda batch: log.append("work") or batch, torch.device("cuda"))  # type: ignore[func-returns-value]
    batch = transfer.begin(Batch(a=torch.ones(1), label=torch.ones(1)))
    transfer.finish(batch)
    assert log == ["on side", "work", "main waits for side", "used by main", "used by main"]


@needs_cuda
@pytest.mark.parametrize("workers", [0, 2])
def test_a_gpu_gets_the_same(pairs: Path, workers: int) -> None:
    alone, there = stream(pairs), stream(pairs, num_threads=workers, device="cuda")
    for _ in range(8):
        batch, other = alone(), there()
        assert other.image("a").is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(other.image("a").cpu(), batch.image("a"), atol=1e-6, rtol=0)
        torch.testing.assert_close(other.image("b").cpu(), batch.image("b"), atol=1e-6, rtol=0)
        assert other.paths_a == batch.paths_a
    assert there.position == alone.position


def test_batches_may_go_to_devices_of_any_kind() -> None:
    batch = collate([sample(label=1), sample(label=2)])
    assert isinstance(batch, Batch)
    moved = batch.to("meta")
    assert moved.a is not None and moved.a.device.type == "meta" and moved.a.dtype == torch.float32
