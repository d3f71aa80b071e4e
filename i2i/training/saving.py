"""When and where checkpoints are written: only finite ones, and only those of the newest epochs are kept."""

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
from i2i.training.nonfinite import Diverged


class Saver:
    """Writes `latest.pt`, `best.pt` and the `keep` newest `epoch_<N>.pt` into `folder`; nothing if that is None."""

    seconds = 600.0  # between saves, at most

    def __init__(self, folder: Path | None, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._saved_at = time.monotonic()
        self._saved: Any = None

    def is_due(self) -> bool:
        """Return whether the last save is more than `seconds` ago."""
        return time.monotonic() - self._saved_at > self.seconds

    @file_errors("--checkpoints_dir")
    def save(self, state: dict[str, Any], epoch: int | None = None, best: bool = False) -> None:
        """Write `state` to `latest.pt` unless it is there already, and to `epoch_<epoch>.pt` or `best.pt` if asked.

        Raises:
            Diverged: if a value in it is not finite.
            UserError: if the folder cannot be written or the disk is full; the last checkpoint stays then.
        """
        # Without a step a validation or a line of the log changes the state too.
        version = state["step"], state["history"]["counts"], state.get("validation")
        if version != self._saved:
            self._check_finite(state)
            if self.folder is not None:
                checkpoint.save(state, self.folder / "latest.pt")
                if state["step"]:
                    self._delete_replaced()
            self._saved_at, self._saved = time.monotonic(), version
        if self.folder is None:
            return
        if best:
            checkpoint.save_as_well(self.folder / "latest.pt", self.folder / "best.pt")
        if epoch is not None:
            checkpoint.save_as_well(self.folder / "latest.pt", self.folder / f"epoch_{epoch}.pt")
            epochs = list(epoch_checkpoints(self.folder).values())
            for path in epochs[: max(len(epochs) - self.keep, 0)]:
                path.unlink()

    def _delete_replaced(self) -> None:
        # The checkpoints of an overwritten run go once there is something in their place.
        assert self.folder is not None
        for path in self.folder.glob("*.pt.replaced"):
            path.unlink()

    def _check_finite(self, state: dict[str, Any]) -> None:
        for part, name in (("model", "weights"), ("ema", "averaged weights"), ("optimizers", "optimiser's moments")):
            finite = [torch.isfinite(value).all() for value in _tensors(state[part])]
            if finite and not torch.stack(finite).all():
                raise Diverged(f"{name} not finite after step {state['step']}; {self.way_out()}")

    def way_out(self) -> str:
        """Return what to do about a run that has diverged."""
        latest = self.folder / "latest.pt" if self.folder is not None else None
        saved = f"{latest} is the last finite state" if latest is not None and latest.is_file() else "nothing was saved"
        return f"{saved}; a lower --lr, --clip_grad 1 or --precision fp32 may help"


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested dicts and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
