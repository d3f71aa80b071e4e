"""Running a generator without training it: which statistics, which dropout, and nothing left changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from i2i.networks.kernels import is_channels_last
from i2i.random_state import isolated


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Dropout off and running statistics used, without a gradient; every submodule's mode is put back."""
    with _modes_restored(module), torch.no_grad():
        module.eval()
        yield


@contextmanager
def image_statistics(module: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """Dropout on, drawn for each image from its seed, and BatchNorm by each image's own statistics, for one batch.

    How the reference translates unless it is given `--eval`, one image after the other; its running statistics move on
    the way, ours do not. Nothing is left changed.
    """
    device = next(module.parameters()).device
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    with _modes_restored(module), torch.no_grad(), isolated(device), ExitStack() as replaced:
        torch.manual_seed(seeds[0])  # for whatever else may draw
        module.train()
        for layer in module.modules():
            if isinstance(layer, ParametrizationList):
                layer.eval()  # no power iteration of a spectral norm
            elif isinstance(layer, nn.Dropout):
                replaced.enter_context(_forward(layer, partial(_dropout, layer.p, generators)))
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                replaced.enter_context(_forward(layer, partial(_normalised_by_image, layer)))
        yield


@contextmanager
def _forward(layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    own = vars(layer).get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward
        if own is not None:
            layer.forward = own


def _dropout(p: float, generators: Sequence[torch.Generator], x: Tensor) -> Tensor:
    # Row by row and in the order of NCHW whatever the layout: an image's numbers do not depend on its company. On the
    # CPU they are those of torch's own dropout after `torch.manual_seed`.
    noise = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    for row, generator in zip(noise.split(1), generators, strict=True):
        row.bernoulli_(1 - p, generator=generator)
    return x * noise.div_(1 - p)


def _normalised_by_image(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """Batch norm with a batch of each image: instance norm with the weights of `norm`, by the kernel for the layout."""
    scale, shift, eps = norm.weight, norm.bias, norm.eps
    if len(x) > 1 and not x.is_cpu:
        return F.instance_norm(x, weight=scale, bias=shift, eps=eps)
    if len(x) > 1 and not is_channels_last(x):
        return F.group_norm(x, x.shape[1], scale, shift, eps)
    rows = [F.batch_norm(row, None, None, scale, shift, training=True, eps=eps) for row in x.split(1)]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


@contextmanager
def _modes_restored(module: nn.Module) -> Iterator[None]:
    modes = [(m, m.training) for m in module.modules()]
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


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
