"""The state of every random generator that a run draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


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
    """Whatever is drawn in here from Python's, NumPy's, torch's generators and that of `device`: they are put back."""
    states = random_states(device)
    try:
        yield
    finally:
        restore_random_states(states, device)


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
