"""Losses that are not finite, and gradients on their way there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign

REMEMBERED, ENOUGH = 50, 10  # norms that the median is taken of, and the fewest that make one
JUMP = 100.0  # times the median; within a healthy GAN norms differ tenfold from step to step
HARMLESS = 10.0  # a norm below is none that explodes, however small the others were
CEILING = 1e6  # which no healthy run comes near, even under weights of 100 on a loss


def not_finite(names: Sequence[str], step: int) -> Finding:
    """What is to be said of losses `names` that were infinite or not a number at `step`, the finding's figure."""
    verb = "is" if len(names) == 1 else "are"
    message = f"At step {step} {', '.join(names)} {verb} not finite: whatever learns from that is lost."
    advice = (
        "Go on from the last save with a lower --lr, with --clip_grad 1, or with --precision fp32 if it was a half; "
        "--on_nan skip leaves such steps out, --on_nan rollback goes back by itself."
    )
    return Finding("not_finite", "alarm", float(step), message, advice)


class GradientWatch:
    """Remembers the norms of each player's gradients, to see one that has left the others far behind."""

    def __init__(self) -> None:
        self.norms: dict[str, list[float]] = {}

    def look(self, norms: Mapping[str, float]) -> list[Sign]:
        """One sign for each player; what is not finite counts as infinite."""
        return [self._sign(player, norm if math.isfinite(norm) else math.inf) for player, norm in norms.items()]

    def _sign(self, player: str, norm: float) -> Sign:
        earlier = self.norms.setdefault(player, [])
        median = statistics.median(earlier) if len(earlier) >= ENOUGH else math.inf
        present = norm > CEILING or norm > max(JUMP * median, HARMLESS)
        if math.isfinite(norm):
            self.norms[player] = [*earlier, norm][-REMEMBERED:]
        usual = f", {norm / median:.3g} times its median of late" if 0 < median < math.inf else ""
        message = f"The gradient of the {player} explodes: its norm is {norm:.3g}{usual}."
        advice = "Try --clip_grad 1, a lower --lr (or --lr_D), --spectral_norm D, or --precision fp32 if it is a half."
        return Sign(player, present, Finding("exploding_gradients", "alarm", norm, message, advice))
