"""Options of acceleration."""

from __future__ import annotations

import dataclasses

from i2i.config import check_choice, option

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
SWITCH = ("auto", "on", "off")
COMPILE = ("auto", "on", "reduce-overhead", "off")
KERNELS = ("auto", "plain")


@dataclasses.dataclass(frozen=True)
class AccelerationConfig:
    """How to compute; `auto` decides by device, networks and amount of work, and says why.

    From Python `keep_memory`, `cudnn_benchmark`, and tf32 in place of fp32, do nothing by themselves: they are settings
    of the whole process, which `i2i.process.prepare_process` makes for the commands.
    """

    precision: str = option(
        "auto", "bf16 is faster where there is hardware for it, tf32 and fp16 need CUDA", choices=PRECISIONS
    )
    channels_last: str = option("auto", "lay images out with the channels of a pixel side by side", choices=SWITCH)
    compile: str = option(
        "auto", "compile the generators, which takes a minute; reduce-overhead adds CUDA graphs", choices=COMPILE
    )
    kernels: str = option("auto", "norms and convolutions: the fastest for a size, or torch's own", choices=KERNELS)
    keep_memory: str = option(
        "auto", "this process uses freed memory again instead of giving it back to the system", choices=SWITCH
    )
    cudnn_benchmark: str = option(
        "auto", "try out which of CUDA's convolutions is fastest, which may differ from run to run", choices=SWITCH
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_choice(field.name, getattr(self, field.name), field.metadata["choices"])
