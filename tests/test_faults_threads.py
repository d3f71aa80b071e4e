"""How the commands let OpenMP's threads wait, and that the library leaves it to its host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AS_COMMAND = """
import os, runpy, sys
sys.argv = [{program!r}, "--help"]
try:
    runpy.run_path({program!r}, run_name="__main__")
except SystemExit:
    pass
print("\\n", os.environ.get("GOMP_SPINCOUNT"))
"""


def last_word(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.mark.parametrize("program", ["train.py", "test.py"])
def test_a_command_limits_spinning_before_torch_is_imported(program: str) -> None:
    assert 0 < int(last_word(AS_COMMAND.format(program=program))) < 300_000  # libgomp's own


@pytest.mark.parametrize(
    ("program", "environment", "left"),
    [("train.py", {"GOMP_SPINCOUNT": "7"}, "7"), ("test.py", {"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_what_the_user_has_set_stays(program: str, environment: dict[str, str], left: str) -> None:
    assert last_word(AS_COMMAND.format(program=program), **environment) == left


def test_importing_the_programs_and_the_library_sets_nothing() -> None:
    code = "import os, train, test, i2i.translate.translator; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert last_word(code) == "None"
