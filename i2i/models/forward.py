"""A generator's output that one phase judges without a gradient, and a later one learns from with its graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.random_state import replayed, torch_states


class Forward:
    """The output of `network` for `inputs`, whose graph is alive in one phase only if `twice` is set.

    A step over several batches has all of them between two phases at the same time. With `twice` the first pass is
    made without a graph, and repeated with one where that is asked for: with the same random draws and the same
    buffers, which move once. Without, there is a single pass, whose graph stays.
    """

    def __init__(self, network: nn.Module, *inputs: Tensor | None, twice: bool) -> None:
        self.network, self.inputs = network, inputs
        self._output = None if twice else network(*inputs)

    def detached(self) -> Tensor:
        """Return the output without a graph; to be called once, before `attached`."""
        if self._output is not None:
            return self._output.detach()
        self.device = next(self.network.parameters()).device
        self._random = torch_states(self.device)
        self._buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with torch.no_grad():
            return self.network(*self.inputs)

    def attached(self) -> Tensor:
        """Return the same output with its graph."""
        if self._output is not None:
            return self._output
        with replayed(self._random, self.device):
            return torch.func.functional_call(self.network, self._buffers, self.inputs)
