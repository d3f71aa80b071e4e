"""Tiny models and data that several tests train."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from i2i.data import Batch, BatchStream, DataConfig, DataSpec, build_dataset
from i2i.models import GanModel, build_model
from i2i.models.cgan import CGAN
from i2i.models.cyclegan import CycleGAN
from i2i.models.pix2pix import Pix2Pix
from i2i.training import Observer, TrainConfig, Trainer
from i2i.watch.boards import Boards
from i2i.watch.boards.observer import BoardsObserver
from i2i.watch.doctor import DoctorObserver
from i2i.watch.samples import SampleObserver

SIZE = 16
TRANSLATION: dict[str, Any] = {"generator_filters": 4, "discriminator_filters": 4, "discriminator": "pixel"}


def pix2pix(**options: Any) -> Pix2Pix:
    """A U-Net of 3 levels for 16x16."""
    config = Pix2Pix.Config(**TRANSLATION | {"generator": "unet", "num_downs": 3} | options)
    return build_model("pix2pix", config, DataSpec())  # type: ignore[return-value]


def cyclegan(**options: Any) -> CycleGAN:
    """ResNets of one block."""
    config = CycleGAN.Config(**TRANSLATION | {"generator": "resnet", "num_blocks": 1} | options)
    return build_model("cyclegan", config, DataSpec())  # type: ignore[return-value]


def cgan(**options: Any) -> CGAN:
    """A DCGAN for 8x8 grey images of three classes."""
    config = CGAN.Config(**{"generator_filters": 4, "discriminator_filters": 4, "noise_dim": 4} | options)
    return build_model("cgan", config, DataSpec(3, 1, (8, 8), ("x", "y", "z")))  # type: ignore[return-value]


MODELS = {"pix2pix": pix2pix, "cyclegan": cyclegan, "cgan": cgan}


def heed_signals() -> None:
    """Take signals as a shell's command does, whatever the tests were started with: nohup and `&` have some ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


class RandomStream:
    """Batches of noise for any of the models, as endless and as resumable as the real stream."""

    def __init__(self, model: GanModel, batch_size: int = 2, epoch: int = 8) -> None:
        self.model, self.batch_size, self.epoch = model, batch_size, epoch
        self.device, self.position, self.waited = torch.device("cpu"), 0, 0.0

    def __len__(self) -> int:
        return self.epoch

    def seek(self, position: int) -> None:
        self.position = position

    def __call__(self) -> Batch:
        rows = range(self.position, self.position + self.batch_size)
        self.position += self.batch_size
        draws = [torch.Generator().manual_seed(row) for row in rows]
        spec, dtype = self.model.spec, next(self.model.parameters()).dtype
        size = spec.image_size if spec.classes else (SIZE, SIZE)

        def images(channels: int) -> torch.Tensor:
            return torch.stack([torch.rand(channels, *size, generator=g, dtype=dtype) * 2 - 1 for g in draws])

        b = images(spec.out_channels)
        if spec.classes:
            return Batch(b=b, label=torch.tensor([row % len(spec.classes) for row in rows]))
        return Batch(a=images(spec.in_channels), b=b, paths_a=tuple(f"{row}.png" for row in rows))


def observers(config: TrainConfig, boards: Boards | None = None, samples: Batch | None = None) -> list[Observer]:
    """The observers of a run in the order of train.py, those for which there is something to watch."""
    watching: list[Observer] = [DoctorObserver()] if config.doctor else []
    if samples is not None:
        watching.append(SampleObserver(samples, config.display_freq))
    return watching + ([BoardsObserver(boards)] if boards is not None else [])


def trainer(model: GanModel, batch_size: int = 2, epoch: int = 8, **options: Any) -> Trainer:
    """A trainer on noise, without files."""
    keywords = {name: options.pop(name) for name in ("folder", "acceleration", "options") if name in options}
    watched = {name: options.pop(name) for name in ("boards", "samples") if name in options}
    config, stream = TrainConfig(**options), RandomStream(model, batch_size, epoch)
    return Trainer(model, stream, config, observers=observers(config, **watched), **keywords)  # type: ignore[arg-type]


def write_pairs(folder: Path, count: int = 6, size: int = SIZE, phase: str = "train", seed: int = 0) -> Path:
    """Side-by-side pairs in which B is the negative of A; gives the data root."""
    (folder / phase).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for index in range(count):
        a = np.kron(random.integers(0, 255, (4, 4, 3)), np.ones((size // 4, size // 4, 1))).astype(np.uint8)
        Image.fromarray(np.concatenate([a, 255 - a], 1)).save(folder / phase / f"{index}.png")
    return folder


def write_domains(folder: Path, count: int = 6, size: int = SIZE, phase: str = "train") -> Path:
    """Unpaired folders: dark images in A, light ones in B; gives the data root."""
    random = np.random.default_rng(0)
    for domain, low in (("A", 0), ("B", 128)):
        (folder / f"{phase}{domain}").mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = random.integers(low, low + 127, (size, size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{phase}{domain}" / f"{index}.png")
    return folder


def write_classes(folder: Path, count: int = 6, size: int = 8) -> Path:
    """Two classes of grey images, dark and light; gives the data root."""
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (folder / "train" / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = random.integers(low, low + 127, (size, size)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{index}.png")
    return folder


def image_stream(root: Path, batch_size: int = 2, size: int = SIZE, **options: Any) -> BatchStream:
    """A stream over files, at their own size, in the main process."""
    common: dict[str, Any] = {"load_size": (size,), "crop_size": (size,), "num_threads": 0}
    return BatchStream(build_dataset(DataConfig(dataroot=str(root), **common | options)), batch_size)
