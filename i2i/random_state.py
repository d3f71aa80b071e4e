"""Random number generators: saving, restoring and isolating their states, and drawing without touching them."""

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

# Functions that fill a tensor; those of torch.nn.init reach a TorchFunctionMode before the fill that they call.
_FILLS = ("normal_", "uniform_", "kaiming_uniform_")


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the generators of Python, NumPy, torch and `device`, as tensors and plain values."""
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
    """Restore what `random_states` returned; the state of another kind of device is ignored."""
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
    """Repeat in this context what torch drew after `torch_states` returned `states`; then continue where it was."""
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
    """Restore the generators of Python, NumPy, torch and `device` at the end of this context.

    Not for several threads: another thread would draw the same numbers twice.
    """
    states = random_states(device)
    try:
        yield
    finally:
        restore_random_states(states, device)


class SkipInit(TorchFunctionMode):
    """A context in which functions that fill tensors with random numbers leave them uninitialised.

    Building networks takes almost no time then. Constants, such as the ones of a norm, are set as usual, unlike on
    `torch.device("meta")`, where those that no checkpoint holds would be lost.
    """

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        if function.__name__ in _FILLS:
            return arguments[0] if arguments else (keywords or {})["tensor"]
        if function is torch.linalg.qr:  # which makes orthogonal weights
            return arguments[0], arguments[0]
        return function(*arguments, **keywords or {})


class Drawing(TorchFunctionMode):
    """A context in which this thread draws initial weights and dropout from `generator`.

    On the CPU the numbers equal those of torch's own generator with the same seed.
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
    """Draw a dropout mask for `x`: 0 with probability `p`, else 1 / (1 - p); all 0 if `p` is 1.

    Each of `generators` fills an equal share of the rows, in NCHW order whatever the layout of `x`. On the CPU the
    numbers equal those of torch's own dropout.
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
