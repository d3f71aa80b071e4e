"""A generator's output that one phase judges without a gradient, and a later one learns from with its graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.random_state import replayed, torch_states


class Forward:
    """Compute `network(*inputs)` for two phases: without a graph for the first, with one for the second.

    With `twice` the pass is made again for the second phase, with the same random draws and the same buffers, which
    move once: so no graph is kept between the phases, where a step over several batches has one for each of them.
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
        self._buffers = _copied(self.network)
        with torch.no_grad():
            return self.network(*self.inputs)

    def attached(self) -> Tensor:
        """Return the same output with its graph, which is not kept here any longer; to be called once."""
        if self._output is not None:
            output, self._output = self._output, None
            return output
        now = _copied(self.network)
        try:
            _write(self._buffers, self.network)
            with replayed(self._random, self.device):
                return self.network(*self.inputs)
        finally:
            _write(now, self.network)
            del self._buffers


def _copied(network: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in network.buffers()]


def _write(values: list[Tensor], network: nn.Module) -> None:
    # In place: CUDA graphs read buffers from where they lie, and would be recorded again for others. Through `data`:
    # the graph of a batch norm holds its running statistics, which training does not read, and would refuse a change.
    for buffer, value in zip(network.buffers(), values, strict=True):
        buffer.data.copy_(value)
