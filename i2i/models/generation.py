"""Running a generator without training it: evaluation mode, or statistics and dropout of each image by itself."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i.networks.kernels import is_channels_last
from i2i.networks.locks import locked
from i2i.random_state import dropout_mask


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Turn dropout off, use running statistics, and compute no gradients; restore the mode of every submodule.

    Threads that use the same module wait for each other.
    """
    with locked([module]):
        training = [submodule for submodule in module.modules() if submodule.training]
        if training:
            module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for submodule in training:
                submodule.training = True


@contextmanager
def image_statistics(module: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """For one batch, draw dropout for each image from its seed, and normalise each image by its own statistics.

    The reference translates so unless it is given `--eval`, one image at a time. Running statistics stay as they are.
    """
    device = next(module.parameters()).device
    with evaluation_mode(module), _ByImage([torch.Generator(device).manual_seed(seed) for seed in seeds]):
        yield


class _ByImage(TorchFunctionMode):
    """Replaces dropout and batch norm, in this thread and context, by versions that treat each image separately."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.generators = generators

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        if function is F.dropout:
            return self._dropout(*arguments, **keywords or {})
        if function is F.batch_norm:
            return _normalised_by_image(*arguments, **keywords or {})
        return function(*arguments, **keywords or {})

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * dropout_mask(x, p, self.generators)  # independent of the other images of the batch


def _normalised_by_image(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each image as a batch of its own: an instance norm with weights."""
    if len(x) > 1 and not x.is_cpu:
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if len(x) > 1 and not is_channels_last(x):
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    rows = [F.batch_norm(row, None, None, weight, bias, training=True, eps=eps) for row in x.split(1)]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def ties_images(generator: nn.Module) -> bool:
    """Return whether an image's result depends on the other images of its batch in training mode."""
    return any(isinstance(m, nn.Dropout | nn.modules.batchnorm._BatchNorm) for m in generator.modules())


def generate(
    generator: nn.Module, images: Tensor, paths: Sequence[str], seed: int, running_statistics: bool = False
) -> Tensor:
    """Return the generator's output for each image as if it were alone in its batch, without gradients.

    Dropout is seeded for each image by `seed` and its file name.
    """
    if running_statistics or not ties_images(generator):
        with evaluation_mode(generator):
            return generator(images)
    names = [Path(path).name for path in paths] or [""] * len(images)
    with image_statistics(generator, [zlib.crc32(f"{seed}:{name}".encode()) for name in names]):
        return generator(images)
