"""Losses of the last steps, kept on the device until somebody looks."""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST = 1000  # steps kept on the device before they are fetched even though nobody has asked


class LossHistory:
    """Collects every loss of every step without a synchronisation; fetching them takes one for all.

    `first_bad` is the first step with a loss that is not finite and the names of those losses, or None.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[Tensor]] = {}
        self._steps: list[int] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self.first_bad: tuple[int, list[str]] | None = None

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """The losses of one step."""
        if len(self._steps) >= LONGEST:
            self.fetch()
        self._steps.append(step)
        for name, value in losses.items():
            self._kept.setdefault(name, []).append(value.detach())

    def fetch(self) -> None:
        """Bring what is on the device to the host: one synchronisation."""
        if not self._steps:
            return
        names = list(self._kept)
        values = torch.stack([torch.stack(self._kept[name]) for name in names]).cpu().double()
        for name, row in zip(names, values, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + float(row.sum())
            self._counts[name] = self._counts.get(name, 0) + len(row)
        bad = ~torch.isfinite(values)
        if self.first_bad is None and bad.any():
            column = int(bad.any(0).nonzero()[0])
            self.first_bad = (self._steps[column], [n for n, row in zip(names, bad, strict=True) if row[column]])
        self._kept, self._steps = {}, []

    def means(self) -> dict[str, float]:
        """The mean of every loss since the last call."""
        self.fetch()
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, dict]:
        """What has been collected since the last `means`, as plain values."""
        self.fetch()
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Go on from what `state_dict` gave."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
