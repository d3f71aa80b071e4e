"""When a sign becomes a finding: not at first sight, and not over and over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from i2i.watch.boards.board import Finding, Progress

AGAIN = 10  # what goes on is said again once a run has seen so many times the images


class Sign(NamedTuple):
    """The result of one look of a detector: whether something is wrong with `subject`, and the message if it is."""

    subject: str  # fake_B, generator ...; empty where there is but one
    present: bool
    finding: Finding


class FindingLog:
    """Signs seen so far, and the findings already reported.

    A sign has begun when it was there at `looks` looks in a row, over at least `steps` steps, and has gone when it was
    away for as long.
    """

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {}

    def judge(self, progress: Progress, signs: Iterable[Sign], looks: int, steps: int = 0) -> list[Finding]:
        """Take note of `signs` and give the findings that are to be said now."""
        return [sign.finding for sign in signs if self._is_to_be_said(progress, sign, looks, steps)]

    def _is_to_be_said(self, progress: Progress, sign: Sign, looks: int, steps: int) -> bool:
        new = {"holds": False, "looks": 0, "since": 0, "said": 0}
        entry = self._entries.setdefault(f"{sign.finding.name} {sign.subject}".strip(), new)
        if sign.present == entry["holds"]:
            entry["looks"] = 0
        else:
            entry["since"] = progress.step if entry["looks"] == 0 else entry["since"]
            entry["looks"] += 1
            if entry["looks"] < looks or progress.step - entry["since"] < steps:
                return False
            entry |= {"holds": sign.present, "looks": 0, "said": 0}
        if not entry["holds"] or (entry["said"] and progress.images < AGAIN * entry["said"]):
            return False
        entry["said"] = progress.images
        return True

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {key: dict(entry) for key, entry in self._entries.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._entries = {key: dict(entry) for key, entry in state.items()}
