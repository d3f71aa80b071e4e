"""How the threads of this process wait for each other; libgomp reads these settings when torch is first imported."""

import os

SPIN_COUNT = "10000"  # turns that a waiting thread spins before it sleeps; docs/benchmarks.md has the measurements
DECIDED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def limit_spinning() -> None:
    """Let OpenMP's waiting threads sleep soon, unless the environment decides; to be called before torch is imported.

    By default they spin for long, which takes the cores from loader workers and from everything else on the machine.
    """
    if not any(name in os.environ for name in DECIDED):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
