"""The state of every random generator that a run draws from, and draws that leave those generators alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Those of torch.nn.init that show themselves to a mode do so before the fill that they end in.
_FILLS = ("normal_", "uniform_", "kaiming_uniform_")


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators and of that of `device`, as tensors and plain values."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "device_type": device.type,
        "device": _device_state(device),
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put back what `random_states` gave; what came from another kind of device is left out."""
    torch.set_rng_state(states["torch"])
    if states["device_type"] == device.type:
        _restore_device_state(states["device"], device)
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def torch_states(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the states of torch's generators of the CPU and of `device`."""
    return torch.get_rng_state(), _device_state(device)


@contextmanager
def replayed(states: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Draw in here what torch drew after `torch_states` gave `states`; then the generators go on where they were."""
    now = torch_states(device)
    torch.set_rng_state(states[0])
    _restore_device_state(states[1], device)
    try:
        yield
    finally:
        torch.set_rng_state(now[0])
        _restore_device_state(now[1], device)


@contextmanager
def isolated(device: torch.device) -> Iterator[None]:
    """Put the generators of Python, NumPy, torch and `device` back at the end, whatever is drawn from them meanwhile.

    Other threads of the process would draw the same numbers twice: this is for training, which has its process alone.
    """
    states = random_states(device)
    try:
        yield
    finally:
        restore_random_states(states, device)


class SkipInit(TorchFunctionMode):
    """Within it whatever fills a tensor with random numbers leaves it as memory comes, and draws nothing.

    Building networks then takes next to no time; constants, such as the ones of a norm, are made as ever. On
    `torch.device("meta")` constants that no checkpoint holds would be lost, and its `normal_` imports the compiler.
    """

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        if function.__name__ in _FILLS:
            return arguments[0] if arguments else (keywords or {})["tensor"]
        if function is torch.linalg.qr:  # how orthogonal weights are made of normal ones
            return arguments[0], arguments[0]
        return function(*arguments, **keywords or {})


Undrawn = SkipInit  # the name in earlier versions


class Drawing(TorchFunctionMode):
    """Draw the initial weights and the dropout of networks from `generator`, in this thread, within this context.

    On the CPU the numbers are those that torch's own generator would give from the same seed.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if function is F.dropout:
            return self._dropout(*arguments, **keywords)
        if function.__name__ in _FILLS:
            keywords = keywords | {"generator": self.generator}
        return function(*arguments, **keywords)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * dropout_mask(x, p, [self.generator]) if training else x


def dropout_mask(x: Tensor, p: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw what dropout multiplies `x` by: 0 with probability `p`, else 1 / (1 - p); zeros where `p` is 1.

    Each of `generators` fills an equal share of the rows, in the order of NCHW whatever the layout of `x`. On the CPU
    the numbers are those of torch's own dropout.
    """
    mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    for rows, generator in zip(mask.split(len(x) // len(generators)), generators, strict=True):
        rows.bernoulli_(1 - p, generator=generator)
    return mask.div_(1 - p) if p < 1 else mask


def _device_state(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _restore_device_state(state: Tensor | None, device: torch.device) -> None:
    if state is None:
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
