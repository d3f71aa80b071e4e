"""A run: its name and folder, its checkpoints, device and seed."""

from __future__ import annotations

import dataclasses
import os
import random
import re
from pathlib import Path

import numpy as np
import torch

from i2i.config import check_range, option
from i2i.errors import UserError, file_errors

NAMED = ("best", "latest")  # checkpoints with a name in place of a number


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The options that name a run and its device."""

    name: str = option("experiment_name", "name of the run and of its folder in --checkpoints_dir")
    checkpoints_dir: str = option("./checkpoints", "folder of all runs", path=True)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...; auto takes the fastest one")
    seed: int = option(0, "seed of all random numbers")
    verbose: bool = option(False, "print the networks, and tracebacks of errors")

    def __post_init__(self) -> None:
        base = Path(self.checkpoints_dir).resolve()
        if base not in (base / self.name).resolve().parents:
            raise UserError(f"--name {self.name!r}: a run's folder lies below --checkpoints_dir; give a plain name")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise UserError(f"--device {self.device}: choose auto, cpu, cuda, cuda:1 (and so on) or mps")
        check_range("seed", self.seed, 0, 2**63 - 1)

    @property
    def folder(self) -> Path:
        """The run's folder; it need not exist."""
        return Path(self.checkpoints_dir) / self.name


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` stands for.

    Raises:
        UserError: if this machine or this build of torch has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, _, number = name.partition(":")
    if not available.get(kind, False) or (kind == "cuda" and number and int(number) >= torch.cuda.device_count()):
        usable = [kind for kind, is_there in available.items() if is_there]
        raise UserError(f"--device {name}: not available here; use auto or {', '.join(usable)}")
    return torch.device(name)


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed torch, NumPy and Python; with `deterministic` allow only algorithms that repeat to the bit."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # the call takes a second even if nothing changes
        torch.use_deterministic_algorithms(deterministic)
    if deterministic:  # read by cuBLAS when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def find_run(run: str, checkpoints_dir: str) -> Path:
    """Return a run's folder: `run` itself if it holds a checkpoint, else the folder of that name in `checkpoints_dir`.

    Raises:
        UserError: if `run` is a file.
    """
    path = Path(run)
    with file_errors("RUN", run):  # the system may refuse the name
        is_file = path.is_file()
    if is_file:
        raise UserError(f"{run} is a file: give the run's folder, and say by --epoch which of its checkpoints")
    return path.resolve() if any(path.glob("*.pt")) else Path(checkpoints_dir) / run


def checkpoint_path(folder: Path, epoch: str) -> Path:
    """Return the path of `latest.pt`, `best.pt` or `epoch_<N>.pt` in a run's folder.

    Raises:
        UserError: if it does not exist; names those that do.
    """
    path = folder / (f"{epoch}.pt" if epoch in NAMED else f"epoch_{epoch}.pt")
    if path.is_file():
        return path
    if not folder.is_dir():
        raise UserError(f"there is no run in {folder}; runs beside it: {_listed(sibling_runs(folder))}")
    raise UserError(f"{path} does not exist; --epoch can be: {_listed(saved_epochs(folder))}")


def saved_epochs(folder: Path) -> list[str]:
    """Return the values that `--epoch` can have: the numbers in order, then best and latest."""
    return [*map(str, epoch_checkpoints(folder)), *(name for name in NAMED if (folder / f"{name}.pt").is_file())]


def epoch_checkpoints(folder: Path) -> dict[int, Path]:
    """Return the files `epoch_<N>.pt` of a run by N, in order."""
    matches = ((re.fullmatch(r"epoch_(\d+)\.pt", path.name), path) for path in folder.glob("epoch_*.pt"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


def sibling_runs(folder: Path) -> list[str]:
    """Return the names of the runs beside `folder` that have a checkpoint."""
    return sorted(path.parent.name for path in folder.parent.glob("*/latest.pt"))


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
