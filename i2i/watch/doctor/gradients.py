"""Losses that are not finite, and gradients on their way there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign

REMEMBERED, ENOUGH = 50, 10  # norms that the median is taken of, and the fewest that make one
JUMP = 100.0  # times the median; within a healthy GAN norms differ tenfold from step to step
HARMLESS = 10.0  # a norm below is none that explodes, however small the others were
CEILING = 1e6  # which no healthy run comes near, even under weights of 100 on a loss


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
