"""Choices put to work on networks: layouts, kernels, compiling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from i2i.acceleration.choices import Choices

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def accelerate(
    networks: Iterable[nn.Module],
    choices: Choices,
    device: torch.device,
    compiled: Iterable[nn.Module] | None = None,
) -> None:
    """Prepare `networks`, which lie on `device`, in place and once; of `compiled` (default: all) the code is compiled.

    Compiling happens at the first call; it suits generators, whereas a compiled discriminator would compute the
    gradients of its weights in the generator's phases too. Names of parameters stay as they are. The networks alone are
    changed; the settings of the process belong to the program, see `i2i.process`.
    """
    networks = list(networks)
    for network in networks:
        for module in network.modules():
            if hasattr(module, "kernels"):
                module.kernels = choices.kernels  # type: ignore[assignment]
        if choices.channels_last:
            _lay_out(network, device)
    if choices.compile != "off":
        for network in networks if compiled is None else compiled:
            network.compile(mode=None if choices.compile == "default" else choices.compile)


def _lay_out(network: nn.Module, device: torch.device) -> None:
    # On the CPU weights stay as they are: their gradients and the optimiser would be converted back and forth.
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    network.register_forward_pre_hook(_channels_last)


def _channels_last(network: nn.Module, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    def laid_out(x: Tensor | None) -> Tensor | None:
        return x.contiguous(memory_format=torch.channels_last) if x is not None and x.dim() == 4 else x

    return tuple(map(laid_out, inputs))


def uncompile(networks: Iterable[nn.Module]) -> None:
    """Take the compiling of `accelerate` back."""
    for network in networks:
        network._compiled_call_impl = None


def autocast(choices: Choices, device: torch.device) -> AbstractContextManager:
    """The context in which networks compute in half precision, if that was chosen."""
    dtype = HALF.get(choices.precision)
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


@contextmanager
def eagerly(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Run compiled `networks` uncompiled, for calls that they would have to be compiled for once more."""
    compiled = [(network, network._compiled_call_impl) for network in networks]
    uncompile(network for network, _ in compiled)
    try:
        yield
    finally:
        for network, call in compiled:
            network._compiled_call_impl = call


def mark_step(choices: Choices) -> None:
    """Tell CUDA graphs that a step begins: what networks gave in the last one may be overwritten."""
    if choices.compile == "reduce-overhead":
        torch.compiler.cudagraph_mark_step_begin()
