"""Apply decisions on layout, kernels and compiling to networks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from i2i.acceleration.choices import Choices

log = logging.getLogger(__name__)

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def accelerate(
    networks: Iterable[nn.Module],
    choices: Choices,
    device: torch.device,
    compiled: Iterable[nn.Module] | None = None,
) -> None:
    """Prepare `networks` on `device` in place, once; compile those in `compiled` (default: all) at their first call.

    A compiled discriminator would compute the gradients of its weights in the generator's phases too, so training
    compiles the generators alone. Parameter names do not change. A network that cannot be compiled runs uncompiled.
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
            _compile(network, None if choices.compile == "default" else choices.compile)


def _compile(network: nn.Module, mode: str | None) -> None:
    network.compile(mode=mode)
    compiled: Any = network._compiled_call_impl

    def call(*inputs: Any, **keywords: Any) -> Any:
        try:
            return compiled(*inputs, **keywords)
        except Exception as error:  # compilers fail in many ways; an error of the network itself occurs again below
            uncompile([network])
            results = network(*inputs, **keywords)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("compiling failed, continuing without it: %s", reason)
            return results

    network._compiled_call_impl = call


def _lay_out(network: nn.Module, device: torch.device) -> None:
    # On the CPU weights keep their layout, or their gradients would be converted in every step.
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    network.register_forward_pre_hook(_channels_last)


def _channels_last(network: nn.Module, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    def laid_out(x: Tensor | None) -> Tensor | None:
        return x.contiguous(memory_format=torch.channels_last) if x is not None and x.dim() == 4 else x

    return tuple(map(laid_out, inputs))


def uncompile(networks: Iterable[nn.Module]) -> None:
    """Undo the compiling of `accelerate`."""
    for network in networks:
        network._compiled_call_impl = None


def autocast(choices: Choices, device: torch.device) -> AbstractContextManager:
    """Return the context in which networks compute in half precision, if that was chosen."""
    dtype = HALF.get(choices.precision)
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


@contextmanager
def eagerly(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Run compiled `networks` uncompiled, for calls with other shapes or modes."""
    compiled = [(network, network._compiled_call_impl) for network in networks]
    uncompile(network for network, _ in compiled)
    try:
        yield
    finally:
        for network, call in compiled:
            network._compiled_call_impl = call


def mark_step(choices: Choices) -> None:
    """Tell CUDA graphs that a step begins; they may overwrite the outputs of the last one."""
    if choices.compile == "reduce-overhead":
        torch.compiler.cudagraph_mark_step_begin()
