"""Inference settings: chosen once, by device and amount of work, and the same for every call."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from i2i.acceleration import AccelerationConfig, Choices, Work, accelerate, autocast, choose, mark_step, uncompile
from i2i.acceleration.apply import HALF
from i2i.networks.locks import locked

log = logging.getLogger(__name__)

SINGLE = Work(training=False, images=1, batch_size=1, image_size=None)
Results = TypeVar("Results", Tensor, dict[str, Tensor])


class Inference:
    """Runs work on `networks`, which lie on `device`, as `config` says, for one thread at a time.

    The networks are changed for the sake of speed, and nothing else of the process; a command that has the process to
    itself sets `set_up`, which gets the choices once they are made. `by_image` says that dropout or batch norm treats
    each image of a batch by itself.
    """

    def __init__(
        self, networks: Sequence[nn.Module], device: torch.device, config: AccelerationConfig, by_image: bool = False
    ) -> None:
        self.networks, self.device, self.config, self.by_image = networks, device, config, by_image
        self.choices: Choices | None = None
        self.set_up: Callable[[Choices, torch.device], None] | None = None

    def prepare(self, work: Work = SINGLE) -> Choices:
        """Decide how to compute, which depends on how much `work` there is, and make the networks so; only once.

        Raises:
            ValueError: for what this device cannot do.
        """
        with locked(self.networks):
            if self.choices is None:
                work = work._replace(by_image=self.by_image)
                self.choices = choose(self.config, self.device, work, self.networks)
                for line in self.choices.lines():
                    log.info("%s", line)
                accelerate(self.networks, self.choices, self.device)
                self._halve_weights(self.choices.precision)
                self._lay_out_weights(self.choices.channels_last)
                if self.set_up is not None:
                    self.set_up(self.choices, self.device)
            return self.choices

    def _halve_weights(self, precision: str) -> None:
        # Once, in place of at every image by autocast. The few weights of norms stay, as their results do, in fp32.
        for network in self.networks if precision in HALF else ():
            for module in network.modules():
                if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                    module.to(HALF[precision])
                elif isinstance(module, nn.Tanh):
                    module.register_forward_pre_hook(_in_fp32)

    def _lay_out_weights(self, channels_last: bool) -> None:
        # Without gradients this pays on the CPU too, save for small maps, which are behind convolutions with a stride.
        for network in self.networks if channels_last else ():
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and max(module.stride) == 1:
                    module.to(memory_format=torch.channels_last)

    def __call__(self, work: Callable[[], Results]) -> Results:
        """Return the result of `work`; computed without compiling if that fails."""
        with locked(self.networks):  # what they are prepared by, and CUDA graphs, are for one thread at a time
            choices = self.prepare()
            mark_step(choices)
            with autocast(choices, self.device):
                results = self._compiled_or_not(work, choices)
            # Tensors of a CUDA graph are overwritten by the next call.
            return _copied(results) if choices.compile == "reduce-overhead" else results

    def _compiled_or_not(self, work: Callable[[], Results], choices: Choices) -> Results:
        try:
            return work()
        except Exception as error:
            if choices.compile == "off":
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("compiled networks fail, the translation goes on without compiling: %s", reason)
            uncompile(self.networks)
            self.choices = dataclasses.replace(choices, compile="off")
            return work()


def _in_fp32(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    # In half precision tanh is 1 from 3 on, and of several likely classes the likeliest could not be told.
    return (inputs[0].float(),)


def _copied(results: Results) -> Results:
    if isinstance(results, Tensor):
        return results.clone()
    return {label: images.clone() for label, images in results.items()}
