"""Running a generator without training it: which statistics, which dropout, and nothing left changed."""

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
    """Dropout off and running statistics used, without a gradient; every submodule's mode is put back.

    Threads that ask for the same module wait for each other.
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
    """Dropout on, drawn for each image from its seed, and BatchNorm by each image's own statistics, for one batch.

    How the reference translates unless it is given `--eval`, one image after the other; its running statistics move on
    the way, ours do not. Apart from the modes of a module in training nothing is changed, not even for the time.
    """
    device = next(module.parameters()).device
    with evaluation_mode(module), _ByImage([torch.Generator(device).manual_seed(seed) for seed in seeds]):
        yield


class _ByImage(TorchFunctionMode):
    """Replace dropout and batch norm, in this thread and context, by versions that treat each image by itself."""

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
        return x * dropout_mask(x, p, self.generators)  # an image's numbers do not depend on its company


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
    """Batch norm with a batch of each image: instance norm with weights, by the kernel for the layout."""
    if len(x) > 1 and not x.is_cpu:
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if len(x) > 1 and not is_channels_last(x):
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    rows = [F.batch_norm(row, None, None, weight, bias, training=True, eps=eps) for row in x.split(1)]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def ties_images(generator: nn.Module) -> bool:
    """Whether an image's result would depend on the others of its batch in training mode."""
    return any(isinstance(m, nn.Dropout | nn.modules.batchnorm._BatchNorm) for m in generator.modules())


def generate(
    generator: nn.Module, images: Tensor, paths: Sequence[str], seed: int, running_statistics: bool = False
) -> Tensor:
    """The generator's output without a gradient, for each image as if it were alone.

    The seed of an image's dropout comes from `seed` and its file name, so that it is the same in any batch.
    """
    if running_statistics or not ties_images(generator):
        with evaluation_mode(generator):
            return generator(images)
    names = [Path(path).name for path in paths] or [""] * len(images)
    with image_statistics(generator, [zlib.crc32(f"{seed}:{name}".encode()) for name in names]):
        return generator(images)
