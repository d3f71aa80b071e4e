"""The doctor: examines a run while it trains, and names in plain sentences problems and remedies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from i2i.models.statistics import DiscriminatorStatistics as GameState
from i2i.watch.boards.board import Finding, Progress
from i2i.watch.doctor.checkerboard import checkerboard_signs
from i2i.watch.doctor.collapse import collapse_signs
from i2i.watch.doctor.contest import GuessWatch, contest_figures, contest_signs
from i2i.watch.doctor.gradients import GradientWatch
from i2i.watch.doctor.inversion import inversion_signs
from i2i.watch.doctor.memorised import ValidationThumbnails, memory_signs
from i2i.watch.doctor.overfitting import GapWatch
from i2i.watch.doctor.record import FindingLog, Sign
from i2i.watch.doctor.samples import outputs_of

PATIENCE = 250  # steps: contests swing, and generators begin with one grey for everything
GUESSING = 8  # times as long is a discriminator given that has not begun to learn, as --instance_noise may fade
LOOKS = 3  # in a row, as one may be chance
BETWEEN_PICTURES = 100  # steps, as a look at them takes as long as a step of the smallest networks


class Doctor:
    """Watches a run through what it is told; never touches the run.

    A finding is made when its sign has lasted for `patience` steps and several looks, and of contests and pictures not
    before twice as many steps; it is made again if it went away in between, or at ten times the images.
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        self.patience = patience
        self._record, self._gradients, self._guesses, self._gaps = (
            FindingLog(),
            GradientWatch(),
            GuessWatch(),
            GapWatch(),
        )
        self._figures: dict[str, float] = {}
        self._seen_at: int | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The latest figures of the detectors, under names that begin with `doctor_`."""
        return dict(self._figures)

    def losses(
        self,
        progress: Progress,
        means: Mapping[str, float],
        norms: Mapping[str, float],
        games: Mapping[str, GameState],
    ) -> list[Finding]:
        """Examine gradient norms by player, and discriminator statistics by adversarial loss."""
        self._note(contest_figures(games))
        exploding = self._record.judge(progress, self._gradients.look(norms), LOOKS)
        guessing = self._record.judge(progress, self._guesses.look(games), LOOKS, GUESSING * self.patience)
        return exploding + self._once_settled(progress, contest_signs(games)) + guessing

    def pictures(self, progress: Progress, pictures: Mapping[str, Tensor]) -> list[Finding]:
        """Examine samples: batches (N, C, H, W) in [-1, 1] on the CPU, by the labels of `visuals`."""
        if self._seen_at is not None and progress.step < self._seen_at + BETWEEN_PICTURES:
            return []
        self._seen_at = progress.step
        outputs = outputs_of(pictures)
        found: list[Finding] = []
        for look in (collapse_signs, inversion_signs, checkerboard_signs):
            signs, figures = look(outputs)
            self._note(figures)
            found += self._once_settled(progress, signs)
        return found

    def validated(
        self,
        progress: Progress,
        figures: Mapping[str, float],
        train_figures: Mapping[str, float],
        thumbnails: ValidationThumbnails | None,
    ) -> list[Finding]:
        """Examine a validation: metrics on held-out and on training images, and thumbnails if there are any."""
        signs, gaps = self._gaps.look(figures, train_figures)
        remembered, shares = memory_signs(thumbnails) if thumbnails is not None else ([], {})
        self._note(gaps | shares)
        return self._record.judge(progress, signs + remembered, LOOKS)

    def _once_settled(self, progress: Progress, signs: Iterable[Sign]) -> list[Finding]:
        if progress.step < 2 * self.patience:
            return []
        return self._record.judge(progress, signs, LOOKS, self.patience)

    def _note(self, figures: Mapping[str, float]) -> None:
        self._figures |= {f"doctor_{name}": value for name, value in figures.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """All that the next findings depend on, as plain values."""
        return {
            "record": self._record.state_dict(),
            "norms": {player: list(norms) for player, norms in self._gradients.norms.items()},
            "told": dict(self._guesses.best),
            "gaps": self._gaps.state_dict(),
            "figures": self.figures,
            "seen_at": self._seen_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._record.load_state_dict(state["record"])
        self._gradients.norms = {player: list(norms) for player, norms in state["norms"].items()}
        self._guesses.best = dict(state["told"])
        self._gaps.load_state_dict(state["gaps"])
        self._figures, self._seen_at = dict(state["figures"]), state["seen_at"]
