"""Light for dark: a translation that CycleGAN may settle on, as its cycle turns it back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign
from i2i.watch.doctor.samples import Outputs, grey

INVERTED = -0.4  # correlation of nearly every sample with its input; of photos that are not related it is within 0.3
NEARLY_ALL = 0.75
OPPOSED = -0.1  # mean correlation of inputs and real images; of two sets of photos it is a little above 0
SIZE = 64  # pixels, at which texture does not count


def inversion_signs(outputs: Sequence[Outputs]) -> tuple[list[Sign], dict[str, float]]:
    """Whether outputs are light where their inputs are dark, and true ones not; and the correlations, for the log."""
    signs, figures = [], {}
    for output in outputs:
        if output.inputs is None or output.inputs.shape[2:] != output.images.shape[2:]:
            continue
        correlations = _correlations(output.inputs, output.images)
        inverted = (correlations < INVERTED).float().mean().item() >= NEARLY_ALL
        figures[f"correlation_{output.label}"] = correlations.mean().item()
        finding = _finding(output.label, correlations.mean().item(), output.paired)
        signs.append(Sign(output.label, inverted and not _is_right(output), finding))
    return signs, figures


def _is_right(output: Outputs) -> bool:
    """Return True if real images show the same: the targets, or without pairs any real image beside any input.

    Outputs are compared with the truth itself: it may hardly correlate with inputs that outputs go by alone.
    """
    if output.inputs is None or output.targets is None or output.targets.shape[2:] != output.images.shape[2:]:
        return False
    if output.paired:
        return _correlations(output.images, output.targets).nanmean().item() >= 0
    every = [_correlations(output.inputs, output.targets.roll(shift, 0)) for shift in range(len(output.targets))]
    return torch.cat(every).nanmean().item() < OPPOSED


def _finding(label: str, correlation: float, paired: bool) -> Finding:
    message = f"{label} is light where its input is dark, and dark where it is light (correlation {correlation:.2f})"
    if paired:
        advice = "Look whether --direction and the pairs are right; else more weight on --lambda_L1, or another --seed."
        return Finding("inversion", "warning", correlation, f"{message}, unlike the truth.", advice)
    advice = "Start anew with --identity_warmup 2000 or another --seed; longer training seldom turns it back."
    return Finding(
        "inversion", "warning", correlation, f"{message}: wrong if the translation is to keep light and dark.", advice
    )


def _correlations(images: Tensor, others: Tensor) -> Tensor:
    """Pearson's correlation of the grey values of images in pairs, (N,); not a number for one of a single colour."""
    vectors = [F.adaptive_avg_pool2d(grey(batch)[:, None], SIZE).flatten(1) for batch in (images, others)]
    first, second = (batch - batch.mean(dim=1, keepdim=True) for batch in vectors)
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))
