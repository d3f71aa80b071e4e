"""Activations computed twice instead of kept (Chen et al. 2016, arXiv 1604.06174): less memory for more time."""

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
    """Let the units of the networks keep their inputs alone, and compute the rest again when gradients are taken.

    A unit is a layer of a network's lists, such as a residual block, or another child of it. Values and gradients are
    the same to the bit, double backward included; what is drawn is drawn the same twice, running statistics move once.
    Nothing is kept or computed twice without a gradient. The keys of state dicts stay.

    Raises:
        ValueError: if a network is compiled: the compiler decides by itself what to compute again; and under spectral
            normalisation, whose estimate moves whenever a weight is read.
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
    # What is computed a second time starts from the input, which an activation in front must not have changed.
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
    """Running statistics of the batch norms of `unit` stay as they are, for they have seen the batch; entered often."""

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
