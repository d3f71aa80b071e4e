"""When and where checkpoints are written: only clean ones, and only the newest epochs' are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.errors import file_errors
from i2i.run import epoch_checkpoints
from i2i.training import checkpoint
from i2i.training.history import LossHistory


class Diverged(RuntimeError):
    """Training has produced values that are not finite."""


class Saver:
    """Writes `latest.pt` and `epoch_<N>.pt` into `folder`, of the latter the `keep` last; nothing for None."""

    seconds = 600.0  # between saves, at most

    def __init__(self, folder: Path | None, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._saved_at = time.monotonic()
        self._saved: tuple | None = None

    def is_due(self) -> bool:
        """Whether the clock asks for a save."""
        return time.monotonic() - self._saved_at > self.seconds

    @file_errors("--checkpoints_dir")
    def save(self, state: dict[str, Any], epoch: int | None = None, best: bool = False) -> None:
        """Write `state` as the latest, unless it is that already; as the checkpoint of `epoch` or the best if asked.

        Raises:
            Diverged: if anything in it is not finite.
            UserError: if the folder cannot be written or the disk is full; the last checkpoint stays then.
        """
        # Without a step a validation changes the state, and so does a line of the log.
        now = state["step"], state["monitor"]["validated_at"], state["history"]["counts"]
        if now != self._saved:
            self._check_finite(state)
            if self.folder is not None:
                checkpoint.save(state, self.folder / "latest.pt")
                if state["step"]:
                    self._drop_replaced()
            self._saved_at, self._saved = time.monotonic(), now
        if best and self.folder is not None:
            checkpoint.save_as_well(self.folder / "latest.pt", self.folder / "best.pt")
        if epoch is not None and self.folder is not None:
            checkpoint.save_as_well(self.folder / "latest.pt", self.folder / f"epoch_{epoch}.pt")
            epochs = list(epoch_checkpoints(self.folder).values())
            for path in epochs[: max(len(epochs) - self.keep, 0)]:
                path.unlink()

    def _drop_replaced(self) -> None:
        # What --overwrite has put aside is let go of when there is something in its place.
        assert self.folder is not None
        for path in self.folder.glob("*.pt.replaced"):
            path.unlink()

    def check_losses(self, history: LossHistory) -> None:
        """Raise Diverged if a loss was not finite."""
        history.fetch()
        if history.first_bad is not None:
            step, names = history.first_bad
            raise Diverged(f"{', '.join(names)} not finite at step {step}; {self._way_out()}")

    def _check_finite(self, state: dict[str, Any]) -> None:
        for part, name in (("model", "weights"), ("ema", "averaged weights"), ("optimizers", "optimiser's moments")):
            finite = [torch.isfinite(value).all() for value in _tensors(state[part])]
            if finite and not torch.stack(finite).all():
                raise Diverged(f"{name} not finite after step {state['step']}; {self._way_out()}")

    def _way_out(self) -> str:
        latest = self.folder / "latest.pt" if self.folder is not None else None
        saved = f"{latest} is the last clean state" if latest is not None and latest.is_file() else "nothing was saved"
        return f"{saved}; a lower --lr, --clip_grad 1 or --precision fp32 may help"


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested dicts and lists, on whatever device."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
