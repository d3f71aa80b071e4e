"""Running a generator without training it: which statistics, which dropout, and nothing left changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from i2i.random_state import isolated


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Dropout off and running statistics used, without a gradient; every submodule's mode is put back."""
    with _modes_restored(module), torch.no_grad():
        module.eval()
        yield


@contextmanager
def image_statistics(module: nn.Module, seed: int) -> Iterator[None]:
    """Dropout on, drawn from `seed`, and normalisation by the image's own statistics; nothing is left changed.

    How the reference translates unless it is given `--eval`; its running statistics move on the way, ours do not.
    """
    tracking = [m for m in module.modules() if getattr(m, "track_running_stats", False)]
    device = next(module.parameters()).device
    with _modes_restored(module), torch.no_grad(), isolated(device):
        torch.manual_seed(seed)
        module.train()
        for norm in tracking:
            norm.track_running_stats = False  # type: ignore[assignment]
        try:
            yield
        finally:
            for norm in tracking:
                norm.track_running_stats = True  # type: ignore[assignment]


@contextmanager
def _modes_restored(module: nn.Module) -> Iterator[None]:
    modes = [(m, m.training) for m in module.modules()]
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


def generate(
    generator: nn.Module, images: Tensor, paths: Sequence[str], seed: int, running_statistics: bool = False
) -> Tensor:
    """The generator's output without a gradient, image by image where dropout or BatchNorm would tie them together.

    The seed of an image's dropout comes from `seed` and its file name, so that it is the same in any batch.
    """
    tied = any(isinstance(m, nn.Dropout | nn.modules.batchnorm._BatchNorm) for m in generator.modules())
    if running_statistics or not tied:
        with evaluation_mode(generator):
            return generator(images)
    outputs = []
    names = [Path(path).name for path in paths] or [""] * len(images)
    for image, name in zip(images.split(1), names, strict=True):
        with image_statistics(generator, zlib.crc32(f"{seed}:{name}".encode())):
            outputs.append(generator(image))
    return torch.cat(outputs)
