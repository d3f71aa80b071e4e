"""The memory that training takes, measured once the first steps are done."""

from __future__ import annotations

import logging
import resource
import sys

import torch

from i2i.training.observer import LossReport, Observer, RunView
from i2i.units import shown_bytes

log = logging.getLogger(__name__)


class MemoryObserver(Observer):
    """Logs the peak memory of the process at the first line of the log, and how much of the device that is."""

    def __init__(self) -> None:
        self._told = False

    def report(self, run: RunView, report: LossReport) -> None:
        if not self._told:
            self._told = True
            log.info("%s", peak_memory(run.device))


def peak_memory(device: torch.device) -> str:
    """Return a sentence about the peak memory so far, on CUDA that of the device, else that of the process."""
    if device.type == "cuda":
        peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_properties(device).total_memory
        return f"peak memory of training so far: {shown_bytes(peak)} of {shown_bytes(total)} on {device}"
    unit = 1 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"peak memory of the program so far: {shown_bytes(peak)}"
