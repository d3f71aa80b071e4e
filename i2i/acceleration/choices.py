"""What `auto` means: from the device, the networks and the work to plain choices, each with its reason."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import nn

from i2i.acceleration.config import AccelerationConfig
from i2i.errors import UserError

SMALL = 64  # pixels: below this width and height that is so from the start
COMPILED_STEPS = 2000  # of training, in which the minute that compiling takes is won back
COMPILED_IMAGES = 10000  # of translation
GRAPHED = 4  # images a batch up to which a GPU waits for the launch of its kernels, which CUDA graphs spare
ASKED = "by option"


class Work(NamedTuple):
    """What is to be done: `image_size` is width and height, None where sizes differ."""

    training: bool
    images: int
    batch_size: int
    image_size: tuple[int, ...] | None
    checkpointed: bool = False  # whether activations are computed twice
    by_image: bool = False  # whether dropout or batch norm treats each image of a batch by itself


@dataclasses.dataclass(frozen=True)
class Choices:
    """How to compute, decided; plain unless something is said. `reasons` holds why, by field, of what was chosen."""

    precision: str = "fp32"
    channels_last: bool = False
    compile: str = "off"  # or "default", "reduce-overhead"
    kernels: str = "auto"
    keep_memory: bool = False
    cudnn_benchmark: bool = False
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[str]:
        """One line a choice, such as `precision bf16 (by option)`."""
        words = {True: "on", False: "off", "default": "on"}
        values = {name: getattr(self, name) for name in self.reasons}
        return [f"{name} {words.get(value, value)} ({self.reasons[name]})" for name, value in values.items()]


class Decision(NamedTuple):
    """A value and why."""

    value: Any
    reason: str


def choose(config: AccelerationConfig, device: torch.device, work: Work, networks: Iterable[nn.Module]) -> Choices:
    """Decide what `config` leaves open.

    Raises:
        ValueError: for what the device or this machine cannot do.
    """
    networks = list(networks)
    precision = _precision(config.precision, device)
    decisions = {
        "precision": precision,
        "channels_last": _channels_last(config.channels_last, device, precision.value, work, networks),
        "compile": _compile(config.compile, device, work),
        "kernels": _kernels(config.kernels),
        "keep_memory": keeps_memory(config.keep_memory),
    }
    if device.type == "cuda":
        decisions["cudnn_benchmark"] = _cudnn_benchmark(config.cudnn_benchmark, work)
    values = {name: decision.value for name, decision in decisions.items()}
    return Choices(**values, reasons={name: decision.reason for name, decision in decisions.items()})


def _precision(asked: str, device: torch.device) -> Decision:
    if asked in ("tf32", "fp16") and device.type != "cuda":
        raise UserError(f"--precision {asked} needs CUDA, the device is {device.type}; use bf16 or fp32")
    if asked == "auto" and device.type == "cuda":
        return Decision("tf32", "auto: torch's own default for convolutions on CUDA")
    if asked == "auto":
        return Decision("fp32", "auto: nothing is rounded further unless asked for")
    if asked == "bf16" and device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return Decision(asked, f"{ASKED}; this CPU shows no bf16 units, fp32 may be faster")
    return Decision(asked, ASKED)


def _channels_last(
    asked: str, device: torch.device, precision: str, work: Work, networks: Sequence[nn.Module]
) -> Decision:
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if not any(isinstance(m, nn.modules.conv._ConvNd) for network in networks for m in network.modules()):
        return Decision(False, "auto: the networks do not convolve")
    if device.type == "mps":
        return Decision(False, "auto: no gain on mps")
    if device.type == "cuda":
        return Decision(precision != "fp32", "auto: what tensor cores read; there are none for fp32")
    if work.image_size is not None and max(work.image_size) < SMALL:
        return Decision(False, f"auto: images below {SMALL} pixels")
    if precision == "bf16":
        return Decision(True, "auto: what bf16 units read")
    return Decision(True, "auto: faster convolutions")


def most_halvings(networks: Iterable[nn.Module]) -> int:
    """How many convolutions of one of the networks make the map smaller, at most."""
    return max(sum(isinstance(m, nn.Conv2d) and max(m.stride) > 1 for m in n.modules()) for n in networks)


def _compile(asked: str, device: torch.device, work: Work) -> Decision:
    missing = _missing_compiler(device)
    if asked == "auto":
        return _compile_if_it_pays(device, work, missing)
    if asked != "off" and missing:
        raise UserError(f"--compile {asked} needs {missing}, which is not installed; use --compile off")
    if asked == "reduce-overhead" and device.type != "cuda":
        raise UserError(f"--compile {asked} is about CUDA graphs, the device is {device.type}; use --compile on")
    return Decision("default" if asked == "on" else asked, ASKED)


def _compile_if_it_pays(device: torch.device, work: Work, missing: str | None) -> Decision:
    unit, count, needed = "images", work.images, COMPILED_IMAGES
    if work.training:
        unit, count, needed = "steps", work.images // work.batch_size, COMPILED_STEPS
    if device.type != "cuda":
        return Decision("off", f"auto: on {device.type} the kernels here are about as fast, without the wait")
    if missing:
        return Decision("off", f"auto: {missing} is not installed")
    if work.checkpointed:
        return Decision("off", "auto: it does not go with --checkpoint_activations")
    if work.by_image:
        return Decision("off", "auto: dropout and batch norm of each image by itself cannot be compiled in one piece")
    if work.image_size is None:
        return Decision("off", "auto: images of many sizes would be compiled for again and again")
    if count < needed:
        return Decision("off", f"auto: it pays from {needed} {unit} on, these are {count}")
    if work.batch_size <= GRAPHED:
        return Decision("reduce-overhead", f"auto: {count} {unit}; small batches wait for launches but for CUDA graphs")
    return Decision("default", f"auto: {count} {unit} pay for it")


def _missing_compiler(device: torch.device) -> str | None:
    """What torch.compile lacks here, None if nothing."""
    if device.type == "cuda":
        return None if find_spec("triton") else "triton"
    return None if any(map(shutil.which, ("g++", "clang++", "cl"))) else "a C++ compiler (g++ or clang++)"


def _kernels(asked: str) -> Decision:
    return Decision(asked, ASKED if asked != "auto" else "auto: the fastest for layout and size, at each call")


def keeps_memory(asked: str) -> Decision:
    """What `--keep_memory` means, which a program needs to know before it makes its first tensor."""
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if sys.platform != "linux":
        return Decision(False, "auto: only glibc takes such advice")
    return Decision(True, "auto: memory that comes back from the system costs page faults")


def _cudnn_benchmark(asked: str, work: Work) -> Decision:
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if work.image_size is None:
        return Decision(False, "auto: every new size would be tried out anew")
    if torch.are_deterministic_algorithms_enabled():
        return Decision(False, "--deterministic: the fastest algorithm is not always the same")
    return Decision(True, "auto: one size, whose fastest algorithms are tried out once")
