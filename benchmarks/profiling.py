"""Where the time of a step goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

LONGEST = 15
# Kind of work -> what is in the names of its operations; the first that fits. One that fits none is its caller's.
LAYOUT = ("aten::copy_", "aten::clone", "aten::cat", "aten::fill_", "aten::zero_", "Mem", "im2col", "col2im")
KINDS = {
    "optimiser": ("Optimizer.",),
    "copies, layout": LAYOUT,
    "norm": ("batch_norm", "instance_norm", "group_norm", "bn_fw", "bn_bw", "BatchNorm", "InstanceNorm"),
    "convolution backward": ("convolution_backward", "ConvolutionBackward", "dgrad", "wgrad"),
    "padding": ("pad",),
    "convolution forward": ("convolution", "conv2d", "conv_transpose", "fprop"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::matmul", "gemm"),
    "activation": ("relu", "threshold", "tanh", "dropout", "bernoulli"),
    "compiled": ("fused", "CompiledFunction", "Torch-Compiled"),
}


def profile_step(step: Callable[[], Any], device: str) -> dict[str, Any]:
    """The milliseconds of one step by kind, and the longest operations: name, shapes, calls, milliseconds.

    On a GPU these are the times of its kernels; what it waits for is not among them.
    """
    cuda = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, record_shapes=True) as profiled:
        step()
    kinds: dict[str, float] = defaultdict(float)
    for event in called(profiled.events()):
        kinds[kind_of(event)] += own_time(event, cuda)
    rows = called(profiled.key_averages(group_by_input_shape=True))
    rows.sort(key=lambda row: -own_time(row, cuda))
    longest = [(row.key, shapes(row.input_shapes), row.count, own_time(row, cuda)) for row in rows[:LONGEST]]
    return {"kinds": dict(sorted(kinds.items(), key=lambda kind: -kind[1])), "longest": longest}


def called(events: Iterable[Any]) -> list[Any]:
    """What was called; the kernels that this started on a GPU count as its own time."""
    return [event for event in events if event.device_type == DeviceType.CPU]


def own_time(event: Any, cuda: bool) -> float:
    """Milliseconds of an operation without those that it calls."""
    return (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1000


def kind_of(event: Any) -> str:
    """The kind of an operation, or of the nearest that calls it; all within an optimiser is the optimiser's."""
    names, caller = [], event
    while caller is not None:
        names.append(caller.name)
        caller = caller.cpu_parent
    if any(name.startswith(KINDS["optimiser"]) for name in names):
        return "optimiser"
    found = (kind for name in names for kind, parts in KINDS.items() if any(part in name for part in parts))
    return next(found, "the rest")


def shapes(inputs: list[list[int]]) -> str:
    """The shapes of an operation's tensors in short."""
    return " ".join("x".join(map(str, shape)) for shape in inputs if shape and isinstance(shape[0], int))
