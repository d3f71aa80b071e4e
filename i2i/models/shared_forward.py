"""One generator pass for two phases: the discriminator judges its output, then the generator learns from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.random_state import replayed, torch_states


class SharedForward:
    """Compute `network(*inputs)` for two phases: without a graph for the first, with its graph for the second.

    With `twice` the pass is repeated for the second phase, with the same random draws and the same buffers, which move
    once. Then no graph is kept between the phases; in a step over several batches there would be one for each batch.
    """

    def __init__(self, network: nn.Module, *inputs: Tensor | None, twice: bool) -> None:
        self.network, self.inputs = network, inputs
        self._output = None if twice else network(*inputs)

    def detached(self) -> Tensor:
        """Return the output without a graph; call this once, before `attached`."""
        if self._output is not None:
            return self._output.detach()
        self.device = next(self.network.parameters()).device
        self._random = torch_states(self.device)
        self._buffers = [buffer.clone() for buffer in self.network.buffers()]
        with torch.no_grad():
            return self.network(*self.inputs)

    def attached(self) -> Tensor:
        """Return the same output with its graph, and forget it; call this once."""
        if self._output is not None:
            output, self._output = self._output, None
            return output
        now = [buffer.clone() for buffer in self.network.buffers()]
        try:
            self._write_buffers(self._buffers)
            with replayed(self._random, self.device):
                return self.network(*self.inputs)
        finally:
            self._write_buffers(now)
            del self._buffers

    def _write_buffers(self, values: list[Tensor]) -> None:
        # In place, because CUDA graphs read buffers at their addresses. Through `data`, because the graph of a batch
        # norm holds its running statistics and would refuse a change, although training does not read them.
        for buffer, value in zip(self.network.buffers(), values, strict=True):
            buffer.data.copy_(value)
