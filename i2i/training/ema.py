"""An exponential moving average of a model's generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Shadow copies of all parameters and buffers of `modules`, kept under their names in the model's state dict.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates; buffers are copied, not averaged.
    """

    def __init__(self, model: nn.Module, modules: tuple[nn.Module, ...], decay: float) -> None:
        self.decay, self.updates = decay, 0
        names = {module: name for name, module in model.named_modules()}
        self._parameters = {f"{names[m]}.{n}": p for m in modules for n, p in m.named_parameters()}
        self._buffers = {f"{names[m]}.{n}": b for m in modules for n, b in m.named_buffers()}
        self.shadow = {name: live.detach().clone() for name, live in (self._parameters | self._buffers).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the current weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadows = [self.shadow[name] for name in self._parameters]
        torch._foreach_lerp_(shadows, list(self._parameters.values()), 1 - decay)
        for name, live in self._buffers.items():
            self.shadow[name].copy_(live)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights; the current ones come back."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in (self._parameters | self._buffers).items():
            kept = live.detach().clone()
            live.copy_(self.shadow[name])
            self.shadow[name] = kept

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """The shadow weights and the number of updates."""
        return {"updates": self.updates, "weights": self.shadow}

    def load_state_dict(self, state: dict) -> None:
        """Take over what `state_dict` gave."""
        self.updates = state["updates"]
        for name, value in state["weights"].items():
            self.shadow[name].copy_(value)
