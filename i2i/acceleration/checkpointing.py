"""Activation checkpointing: recompute activations in the backward pass (Chen et al. 2016, arXiv 1604.06174)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from i2i.errors import UserError


def checkpoint_activations(networks: Iterable[nn.Module]) -> None:
    """Store only the inputs of each unit of the networks, and recompute the rest for the backward pass.

    A unit is an entry of a ModuleList, such as a residual block, or another child of the network. Values and gradients
    stay the same to the bit, also of gradient penalties; random numbers repeat, and running statistics move once. State
    dict keys stay.

    Raises:
        UserError: if a network is compiled, or has spectral normalisation, whose estimate changes at every read.
    """
    for network in networks:
        if any(is_parametrized(module) for module in network.modules()):
            raise UserError("--checkpoint_activations does not go with --spectral_norm; leave one of them out")
        if network._compiled_call_impl is not None:
            raise UserError(
                "--checkpoint_activations does not go with a compiled network; use --compile off, or leave it out"
            )
        for unit in _units(network):
            _leave_input_alone(unit)
            unit.forward = partial(_recomputed, unit, _StillStatistics(unit))


def _units(network: nn.Module) -> Iterator[nn.Module]:
    for child in network.children():
        yield from child if isinstance(child, nn.ModuleList) else [child]


def _leave_input_alone(unit: nn.Module) -> None:
    # The input is needed again: an activation at the start must not change it in place.
    layers = (module for module in unit.modules() if not isinstance(module, nn.Sequential | nn.Identity))
    first = next(layers, unit)
    if getattr(first, "inplace", False):
        first.inplace = False  # type: ignore[assignment]


def _recomputed(unit: nn.Module, still: _StillStatistics, *inputs: Any, **keywords: Any) -> Any:
    forward = partial(type(unit).forward, unit, **keywords)
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), still))


class _StillStatistics:
    """A context in which batch norms of `unit` keep their running statistics, as they have seen the batch before."""

    def __init__(self, unit: nn.Module) -> None:
        self.norms = [module for module in unit.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self.kept: list[tuple[float | None, Tensor | None]] = []

    def __enter__(self) -> None:
        self.kept = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, batches) in zip(self.norms, self.kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
