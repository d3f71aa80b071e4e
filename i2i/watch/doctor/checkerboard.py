"""Checkerboards: what upsampling leaves behind (Odena et al. 2016, https://distill.pub/2016/deconv-checkerboard)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign
from i2i.watch.doctor.samples import Outputs, grey

TILE = 32  # pixels; a pattern that comes and goes within an image is whole in some tile
TILES = 16  # of fewer the spectrum is too rough
BESIDE = (-3, -2, 2, 3)  # bins, as a Hann window widens a peak by 1
STRONG = 4.0  # times the spectrum beside it; of four photos at a time it is at most 3.5, at 64 pixels and more
BEYOND_REAL = 2.0  # times as strong as in inputs and real images, which JPEG gives some of it
VISIBLE = 0.0075  # amplitude of values in [-1, 1], nearly a grey level, which is seen in smooth places
ADVICE = "It may fade as training goes on; else start anew with --upsample nearest, bilinear or pixelshuffle."


def checkerboard_signs(outputs: Sequence[Outputs]) -> tuple[list[Sign], dict[str, float]]:
    """Whether outputs have patterns of 2 or 4 pixels that inputs and real images have not; their strengths, to log."""
    signs, figures = [], {}
    for output in outputs:
        strength, amplitude = pattern(output.images)
        others = [pattern(images)[0] for images in (output.inputs, output.targets) if images is not None]
        usual = max([1.0, *(other for other in others if math.isfinite(other))])
        figures[f"checkerboard_{output.label}".strip("_")] = strength
        present = strength > max(STRONG, BEYOND_REAL * usual) and amplitude > VISIBLE
        what = output.label or "What the generator makes"
        message = (
            f"{what} shows a checkerboard: its spectrum at periods of 2 and 4 pixels, where upsampling leaves traces, "
            f"is {strength:.1f} times that beside them (inputs and real images: {usual:.1f})."
        )
        signs.append(Sign(output.label, present, Finding("checkerboard", "warning", strength, message, ADVICE)))
    return signs, figures


def pattern(images: Tensor) -> tuple[float, float]:
    """Return how much the spectrum exceeds its surroundings at periods of 2 and 4 pixels, and that amplitude.

    The spectrum is the mean over tiles under a Hann window (Welch 1967, https://doi.org/10.1109/TAU.1967.1161901); a
    peak is compared with what lies to both sides of it in the same row and in the same column of the spectrum, so that
    straight lines in the image are none. Both are nan where there are not tiles enough.
    """
    window = torch.hann_window(TILE)
    tiles = grey(images).unfold(1, min(TILE, images.shape[2]), TILE).unfold(2, min(TILE, images.shape[3]), TILE)
    if tiles.shape[3:] != (TILE, TILE) or tiles[..., 0, 0].numel() < TILES:
        return math.nan, math.nan
    spectrum = torch.fft.rfft2((tiles - tiles.mean(dim=(3, 4), keepdim=True)) * window * window[:, None])
    half = spectrum.abs().square().mean(dim=(0, 1, 2))
    power = torch.cat([half, half[:, 1:-1].roll(-1, dims=0).flip(0, 1)], dim=1)  # that of real values is symmetric
    spots = range(0, TILE, TILE // 4)
    places = [(row, column) for row in spots for column in spots][1:]  # without the mean
    peaks = torch.stack([power[place] for place in places])
    beside = torch.stack([_beside(power, *place) for place in places])
    amplitude = (peaks - beside).clamp(min=0).sum().sqrt() / window.sum().square()
    return (peaks / beside).max().item(), amplitude.item()


def _beside(power: Tensor, row: int, column: int) -> Tensor:
    across = [power[row, (column + step) % TILE] for step in BESIDE]
    along = [power[(row + step) % TILE, column] for step in BESIDE]
    return torch.maximum(torch.stack(across).mean(), torch.stack(along).mean())
