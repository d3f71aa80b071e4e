"""An exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages of the parameters of `modules`, and copies of their buffers, by their names in the model's state dict.

    After n updates the decay is min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, model: nn.Module, modules: tuple[nn.Module, ...], decay: float) -> None:
        self.decay, self.updates = decay, 0
        names = {module: name for name, module in model.named_modules()}
        self._parameters = {f"{names[m]}.{n}": p for m in modules for n, p in m.named_parameters()}
        self._buffers = {f"{names[m]}.{n}": b for m in modules for n, b in m.named_buffers()}
        self.shadow = {name: live.detach().clone() for name, live in (self._parameters | self._buffers).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the current weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadows = [self.shadow[name] for name in self._parameters]
        torch._foreach_lerp_(shadows, list(self._parameters.values()), 1 - decay)
        for name, live in self._buffers.items():
            self.shadow[name].copy_(live)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model, and the current ones back at the end."""
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
        """Return the averages and the number of updates."""
        return {"updates": self.updates, "weights": self.shadow}

    def load_state_dict(self, state: dict) -> None:
        """Continue from what `state_dict` returned."""
        self.updates = state["updates"]
        for name, value in state["weights"].items():
            self.shadow[name].copy_(value)
