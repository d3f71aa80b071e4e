"""Losses of the last steps, kept on the device until their means are asked for."""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST = 5000  # values kept on the device at most


class LossHistory:
    """Collects the losses of all steps without synchronising with the device; `fetch` synchronises once for all.

    `first_bad` is the first step with losses that are not finite and their names, or None.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, str, Tensor]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self.first_bad: tuple[int, list[str]] | None = None

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Add the losses of one step; not every loss need be there in every step."""
        if len(self._kept) >= LONGEST:
            self.fetch()
        self._kept += [(step, name, value.detach()) for name, value in losses.items()]

    def fetch(self) -> None:
        """Copy the values from the device to the host."""
        if not self._kept:
            return
        values = torch.stack([value for _, _, value in self._kept]).cpu().double()
        for (_, name, _), value in zip(self._kept, values.tolist(), strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        bad = [self._kept[row][:2] for row in (~torch.isfinite(values)).nonzero().flatten().tolist()]
        if self.first_bad is None and bad:
            self.first_bad = (bad[0][0], [name for step, name in bad if step == bad[0][0]])
        self._kept = []

    def means(self) -> dict[str, float]:
        """Return the mean of each loss since the last call."""
        self.fetch()
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, dict]:
        """Return what was collected since the last `means`, as plain values."""
        self.fetch()
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Continue from what `state_dict` returned."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
