"""Settings of the whole process: the commands set them, each in its `main`; the library never does."""

from __future__ import annotations

import torch

from i2i.acceleration.choices import Choices
from i2i.data.memory import keep_freed_memory


def prepare_process(choices: Choices, device: torch.device) -> None:
    """Set the allocator as `choices` say and, if `device` is a CUDA device, TF32 and the choice of algorithms."""
    if choices.keep_memory:
        keep_freed_memory()
    if device.type == "cuda":
        # Not the newer `fp32_precision`: once that is set, reading these flags raises, and torch's compiler reads them.
        torch.backends.cudnn.allow_tf32 = choices.precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = False  # torch's own default; products are a small part of the work
        torch.backends.cudnn.benchmark = choices.cudnn_benchmark


def judge_in_full_precision() -> None:
    """Compute convolutions on CUDA without TF32 from here on, so that LPIPS and Inception give exact figures."""
    torch.backends.cudnn.allow_tf32 = False
