"""How many images a second the data pipeline gives: `python benchmarks/data.py`; --help lists the options.

For JPEG and PNG files of 256 and 1024 pixels, resized to 286, cropped to 256 and mirrored, by 1 and 2 workers:

    reference   PIL and torchvision's transforms in a DataLoader, as the reference implementation does it
    decode      nothing but the fastest decoder of the format, in the same workers: the limit of what files can give
    i2i         this pipeline: float batches in [-1, 1], as a model gets them
    cached      the same out of --cache ram

Columns are measured in turns, A B C D A B C D ..., and are medians; ratios are medians of the ratios of the turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.data import BatchStream, DataConfig, build_dataset
from i2i.data.folder import list_images
from i2i.data.order import EndlessOrder
from i2i.process import keep_freed_memory

LOAD, CROP, BATCH = 286, 256, 16
BACKENDS = (("cpu", "reference"), ("cpu", "light"), ("gpu", "light"), ("cpu", "strong"), ("gpu", "strong"))


class ReferenceFiles(Dataset):
    """What the reference implementation's data sets do with a file (data/base_dataset.py there)."""

    def __init__(self, files: list[str]) -> None:
        from torchvision import transforms

        self.files = files
        steps = [
            transforms.Resize([LOAD, LOAD], transforms.InterpolationMode.BICUBIC),
            transforms.RandomCrop(CROP),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
        self.transform = transforms.Compose(steps)

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:
        return self.transform(Image.open(self.files[key[1]]).convert("RGB"))


class DecodedFiles(Dataset):
    """The pixels of a file and nothing else, none of which leaves the worker."""

    def __init__(self, files: list[str], side: int) -> None:
        self.files, self.side = files, side

    def __getitem__(self, key: tuple[int, int]) -> int:
        content = Path(self.files[key[1]]).read_bytes()
        if self.files[key[1]].endswith(".jpg"):
            import simplejpeg

            return len(simplejpeg.decode_jpeg(content))
        from kornia_rs.io import decode_image_png_u8

        return len(decode_image_png_u8(content, (self.side, self.side), "rgb"))


def write_images(folder: Path, kind: str, side: int, count: int, photos: str | None) -> list[str]:
    """Files of one format and size: photographs, or noise whose spectrum falls as that of photographs does."""
    sources = list_images(photos) if photos else []
    random = np.random.default_rng(0)
    for number in range(count):
        if sources:
            image = Image.open(sources[number % len(sources)]).convert("RGB").resize((side, side))
        else:
            image = Image.fromarray(_clouds(side, random))
        image.save(folder / f"{number}.{kind}", **({"quality": 90} if kind == "jpg" else {}))
    return list_images(folder)


def _clouds(side: int, random: np.random.Generator) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) + 1 / side
    noise = np.fft.rfft2(random.standard_normal((3, side, side))) / frequency**1.2
    clouds = np.fft.irfft2(noise, (side, side)) + random.standard_normal((side, side)) * 2
    low, high = np.percentile(clouds, [1, 99])
    return ((clouds - low) / (high - low) * 255).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def loader(dataset: Dataset, length: int, workers: int) -> Iterator[Any]:
    """Endless batches of a plain DataLoader."""
    return iter(DataLoader(dataset, BATCH, sampler=EndlessOrder(length, 0), num_workers=workers))


def stream(folder: Path, workers: int, **options: Any) -> BatchStream:
    """Endless batches of i2i."""
    keep_freed_memory()  # as train.py does
    config = DataConfig(str(folder), dataset_mode="single", num_threads=workers, batch_size=BATCH, **options)
    return BatchStream(build_dataset(config), BATCH)


def speed(next_batch: Callable[[], Any], seconds: float) -> float:
    """Images a second."""
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next_batch()
        count += BATCH
    return count / elapsed


def measure(sources: dict[str, Callable[[], Callable[[], Any]]], seconds: float, turns: int) -> dict[str, list[float]]:
    """The speed of each source in every turn; only the one that is measured has workers running."""
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(turns):
        for name, start in sources.items():
            next_batch = start()
            speed(next_batch, 0.4 * seconds)  # starting workers, and what they have loaded ahead
            speeds[name].append(speed(next_batch, seconds))
            del next_batch
    return speeds


def next_of(batches: Iterator[Any]) -> Callable[[], Any]:
    """A function that gives the next of `batches`."""
    return lambda: next(batches)


def filled(folder: Path, workers: int, count: int) -> Callable[[], Any]:
    """A stream whose cache holds every image."""
    cached = stream(folder, workers, cache="ram")
    for _ in range(2 * count // BATCH + 2 * workers + 1):
        cached()
    return cached


def ratio(speeds: dict[str, list[float]], name: str, other: str) -> float:
    """The median of the ratios of the turns."""
    return statistics.median(one / two for one, two in zip(speeds[name], speeds[other], strict=True))


def sources(files: list[str], side: int, workers: int) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What is compared for files of one kind: functions that start each."""
    folder = Path(files[0]).parent
    return {
        "reference": lambda: next_of(loader(ReferenceFiles(files), len(files), workers)),
        "decode": lambda: next_of(loader(DecodedFiles(files, side), len(files), workers)),
        "i2i": lambda: stream(folder, workers),
        "cached": lambda: filled(folder, workers, len(files)),
    }


def pipeline_table(root: Path, arguments: argparse.Namespace) -> None:
    """Formats, sizes and workers against the reference and the limit."""
    print("| files | workers | reference | decode | i2i | to reference | of decode | cached | to reference |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [(side, kind) for side in (256, 1024) for kind in ("jpg", "png")]
    for side, kind in tqdm(cases, unit="kind"):
        folder = root / f"{kind}{side}"
        folder.mkdir()
        files = write_images(folder, kind, side, arguments.count * 256 // side, arguments.images)
        for workers in (1, 2):
            speeds = measure(sources(files, side, workers), arguments.seconds, arguments.turns)
            shown = {name: f"{statistics.median(values):,.0f}" for name, values in speeds.items()}
            tqdm.write(
                f"| {kind} {side} | {workers} | {shown['reference']} | {shown['decode']} | {shown['i2i']} | "
                f"{ratio(speeds, 'i2i', 'reference'):.2f} | {ratio(speeds, 'i2i', 'decode'):.0%} | {shown['cached']} | "
                f"{ratio(speeds, 'cached', 'reference'):.1f} |",
                file=sys.stdout,
            )


def augmentation_table(folder: Path, arguments: argparse.Namespace) -> None:
    """What the presets cost on either backend, for JPEG files of 256 pixels and 2 workers, on `--device`."""
    print("\n| preset | in the workers | on the device |\n|---|---|---|")
    started = {
        f"{backend} {preset}": lambda backend=backend, preset=preset: stream(
            folder, 2, augment=backend, augment_preset=preset
        )
        for backend, preset in BACKENDS
    }
    speeds = measure(started, arguments.seconds, arguments.turns)
    for preset in ("reference", "light", "strong"):
        shown = [statistics.median(speeds.get(f"{backend} {preset}", [float("nan")])) for backend in ("cpu", "gpu")]
        print(f"| {preset} | {shown[0]:,.0f} | {'the same' if preset == 'reference' else f'{shown[1]:,.0f}'} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", metavar="FOLDER", help="photographs to make the files of (default: drawn noise)")
    parser.add_argument("--count", type=int, default=320, help="files of 256 pixels, a quarter of them of 1024")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pipeline_table(Path(folder), arguments)
        augmentation_table(Path(folder) / "jpg256", arguments)


if __name__ == "__main__":
    main()
