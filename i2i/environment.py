"""Describe the software versions and the machine of a run or a measurement."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import i2i

LIBRARIES = ("torchvision", "numpy", "pillow", "torchmetrics", "torch-fidelity")


def environment(device: torch.device | str) -> dict[str, str]:
    """Versions of i2i, of its checkout if it is one, of Python and of libraries; the system, and what `device` is."""
    commit = {"commit": found} if (found := _commit(Path(__file__).resolve().parents[1])) else {}
    libraries = {name: found for name in LIBRARIES if (found := _version(name))}
    return {
        "i2i": i2i.__version__,
        **commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **libraries,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": _device_name(torch.device(device)),
    }


def _version(name: str) -> str:
    try:
        return version(name)  # of the installed files: to import them all would take seconds
    except PackageNotFoundError:
        return ""


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _commit(root: Path) -> str:
    """The commit of a git checkout, with -dirty where files differ from it; nothing for any other folder."""
    if not (root / ".git").exists():
        return ""
    words = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=2)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
