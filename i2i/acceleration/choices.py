"""The options of acceleration, and what `auto` means by device, networks and amount of work."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import nn

from i2i.config import check_choice, option
from i2i.errors import UserError

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
SWITCH = ("auto", "on", "off")
COMPILE = ("auto", "on", "reduce-overhead", "off")
KERNELS = ("auto", "plain")
SMALL = 64  # pixels of width and height below which channels_last does not pay
COMPILED_STEPS = 2000  # training steps that win back the time of compiling
COMPILED_IMAGES = 10000  # translated images that do
GRAPHED = 4  # largest batch for which kernel launches, which CUDA graphs save, are the bottleneck
ASKED = "by option"


@dataclasses.dataclass(frozen=True)
class AccelerationConfig:
    """Options of precision, memory layout, compiling and memory.

    `keep_memory`, `cudnn_benchmark` and tf32 are settings of the whole process, which only the commands make, by
    `i2i.process.prepare_process`.
    """

    precision: str = option(
        "auto", "bf16 is faster on hardware that has it; tf32 and fp16 need CUDA", choices=PRECISIONS
    )
    channels_last: str = option("auto", "channels_last memory layout", choices=SWITCH)
    compile: str = option(
        "auto", "compile the generators, which takes about a minute; reduce-overhead adds CUDA graphs", choices=COMPILE
    )
    kernels: str = option(
        "auto", "kernels of norms and convolutions: the fastest for each size, or torch's own", choices=KERNELS
    )
    keep_memory: str = option(
        "auto", "reuse freed memory in this process instead of returning it to the system", choices=SWITCH
    )
    cudnn_benchmark: str = option(
        "auto", "let cuDNN time its convolution algorithms; the choice may differ from run to run", choices=SWITCH
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_choice(field.name, getattr(self, field.name), field.metadata["choices"])


class Work(NamedTuple):
    """The amount of work; `image_size` is (width, height), or None if sizes differ."""

    training: bool
    images: int
    batch_size: int
    image_size: tuple[int, ...] | None
    checkpointed: bool = False  # activations are recomputed in the backward pass
    by_image: bool = False  # dropout or batch norm treats each image separately


@dataclasses.dataclass(frozen=True)
class Choices:
    """Decisions on how to compute; the defaults are plain torch. `reasons` holds why, by field."""

    precision: str = "fp32"
    channels_last: bool = False
    compile: str = "off"  # or "default", "reduce-overhead"
    kernels: str = "auto"
    keep_memory: bool = False
    cudnn_benchmark: bool = False
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return one line for each decision, such as `precision bf16 (by option)`."""
        words = {True: "on", False: "off", "default": "on"}
        values = {name: getattr(self, name) for name in self.reasons}
        return [f"{name} {words.get(value, value)} ({self.reasons[name]})" for name, value in values.items()]


class Decision(NamedTuple):
    """A value and the reason for it."""

    value: Any
    reason: str


def choose(config: AccelerationConfig, device: torch.device, work: Work, networks: Iterable[nn.Module]) -> Choices:
    """Decide what `config` leaves to `auto`.

    Raises:
        UserError: for what the device or this machine cannot do.
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
        return Decision("tf32", "auto: torch's default for convolutions on CUDA")
    if asked == "auto":
        return Decision("fp32", "auto: full precision")
    if asked == "bf16" and device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return Decision(asked, f"{ASKED}; this CPU has no bf16 units, fp32 may be faster")
    return Decision(asked, ASKED)


def _channels_last(
    asked: str, device: torch.device, precision: str, work: Work, networks: Sequence[nn.Module]
) -> Decision:
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if not any(isinstance(m, nn.modules.conv._ConvNd) for network in networks for m in network.modules()):
        return Decision(False, "auto: no convolutions")
    if device.type == "mps":
        return Decision(False, "auto: no gain on mps")
    if device.type == "cuda":
        return Decision(precision != "fp32", "auto: the layout of tensor cores, which fp32 does not use")
    if work.image_size is not None and max(work.image_size) < SMALL:
        return Decision(False, f"auto: images below {SMALL} pixels")
    if precision == "bf16":
        return Decision(True, "auto: the layout of bf16 units")
    return Decision(True, "auto: faster convolutions")


def most_halvings(networks: Iterable[nn.Module]) -> int:
    """Return the largest number of downsampling convolutions in one of the networks."""
    return max(sum(isinstance(m, nn.Conv2d) and max(m.stride) > 1 for m in n.modules()) for n in networks)


def _compile(asked: str, device: torch.device, work: Work) -> Decision:
    missing = _missing_compiler(device)
    if asked == "auto":
        return _compile_if_it_pays(device, work, missing)
    if asked != "off" and missing:
        raise UserError(f"--compile {asked} needs {missing}, which is not installed; use --compile off")
    if asked == "reduce-overhead" and device.type != "cuda":
        raise UserError(f"--compile {asked} needs CUDA, the device is {device.type}; use --compile on")
    return Decision("default" if asked == "on" else asked, ASKED)


def _compile_if_it_pays(device: torch.device, work: Work, missing: str | None) -> Decision:
    unit, count, needed = "images", work.images, COMPILED_IMAGES
    if work.training:
        unit, count, needed = "steps", work.images // work.batch_size, COMPILED_STEPS
    if device.type != "cuda":
        return Decision("off", f"auto: on {device.type} it gains nothing")
    if missing:
        return Decision("off", f"auto: {missing} is not installed")
    if work.checkpointed:
        return Decision("off", "auto: not with --checkpoint_activations")
    if work.by_image:
        return Decision("off", "auto: dropout and batch norm per image cannot be compiled")
    if work.image_size is None:
        return Decision("off", "auto: it would compile again for every image size")
    if count < needed:
        return Decision("off", f"auto: it pays from {needed} {unit} on, this is {count}")
    if work.batch_size <= GRAPHED:
        return Decision("reduce-overhead", f"auto: {count} {unit}, small batches, for which CUDA graphs pay")
    return Decision("default", f"auto: it pays for {count} {unit}")


def _missing_compiler(device: torch.device) -> str | None:
    """Return what torch.compile lacks on this machine, or None."""
    if device.type == "cuda":
        return None if find_spec("triton") else "triton"
    return None if any(map(shutil.which, ("g++", "clang++", "cl"))) else "a C++ compiler (g++ or clang++)"


def _kernels(asked: str) -> Decision:
    return Decision(asked, ASKED if asked != "auto" else "auto: the fastest for each size")


def keeps_memory(asked: str) -> Decision:
    """Decide on `--keep_memory`, which has to be known before the first tensor is made."""
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if sys.platform != "linux":
        return Decision(False, "auto: only for glibc")
    return Decision(True, "auto: fewer page faults")


def _cudnn_benchmark(asked: str, work: Work) -> Decision:
    if asked != "auto":
        return Decision(asked == "on", ASKED)
    if work.image_size is None:
        return Decision(False, "auto: it would time every new size")
    if torch.are_deterministic_algorithms_enabled():
        return Decision(False, "off for --deterministic")
    return Decision(True, "auto: all images have one size")
