"""How networks compute that are only used: decided once, by device and amount of work, and the same for every call."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from i2i.acceleration import AccelerationConfig, Choices, Work, accelerate, autocast, choose, mark_step, uncompile
from i2i.acceleration.apply import HALF

log = logging.getLogger(__name__)

SINGLE = Work(training=False, images=1, batch_size=1, image_size=None)
T = TypeVar("T")


class Inference:
    """Runs work on `networks`, which lie on `device` and are its own, as `config` says."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device, config: AccelerationConfig) -> None:
        self.networks, self.device, self.config = networks, device, config
        self.choices: Choices | None = None

    def prepare(self, work: Work = SINGLE) -> Choices:
        """Decide how to compute, which depends on how much `work` there is, and make the networks so; only once.

        Raises:
            ValueError: for what this device cannot do.
        """
        if self.choices is None:
            self.choices = choose(self.config, self.device, work, self.networks)
            for line in self.choices.lines():
                log.info("%s", line)
            accelerate(self.networks, self.choices, self.device)
            self._halve_weights(self.choices.precision)
            self._lay_out_weights(self.choices.channels_last)
        return self.choices

    def _halve_weights(self, precision: str) -> None:
        # Once, in place of at every image by autocast. The few weights of norms stay, as their results do, in fp32.
        for network in self.networks if precision in HALF else ():
            for module in network.modules():
                if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                    module.to(HALF[precision])

    def _lay_out_weights(self, channels_last: bool) -> None:
        # Without gradients this pays on the CPU too, save for small maps, which are behind convolutions with a stride.
        for network in self.networks if channels_last else ():
            for module in network.modules():
                if isinstance(module, nn.Conv2d) and max(module.stride) == 1:
                    module.to(memory_format=torch.channels_last)

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` gives; without compiling if that fails. CUDA graphs overwrite it at the next call."""
        choices = self.prepare()
        mark_step(choices)
        with autocast(choices, self.device):
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
