"""Measure what libgomp's spinning costs: `python benchmarks/spinning.py`; --help lists the options.

An OpenMP thread that waits for the others of its team may spin, which is fastest on a quiet machine and takes time from
everybody else on a busy one. Each cell is a whole process of train.py (two loader workers) or test.py, on a quiet
machine or beside one process that never sleeps, with another `GOMP_SPINCOUNT` in each column. Columns take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from turns import Taken, head, in_own_process, median_seconds, positive, row, run, say, speed_ratio, take_turns

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("300000", "0", "1000", "10000", "30000")  # the first is libgomp's own
COUNT = 40  # images of an epoch
TRANSLATED = 20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=positive, default=3)
    parser.add_argument("--settings", nargs="+", default=SETTINGS, help="values of GOMP_SPINCOUNT")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        in_own_process(_write_pairs, Path(folder) / "data", COUNT)
        _command(SETTINGS[0], Path(folder), "train", "--name=translated", "--n_epochs=1", "--max_dataset_size=4")()
        works = {
            "train": ("train", "--n_epochs=1", "--overwrite"),
            "translate": ("test", "--name=translated", f"--num_test={TRANSLATED}"),
        }
        say(head("work", "neighbour", *(f"{setting}, s (speed to the first)" for setting in arguments.settings)))
        for name, words in works.items():
            for busy in (False, True):
                actions = {s: partial(_measured, _command(s, Path(folder), *words), busy) for s in arguments.settings}
                taken = take_turns(actions, arguments.turns)
                base = taken[arguments.settings[0]]
                cells = [f"{median_seconds(t):.1f} ({speed_ratio(t, base):.2f})" for t in taken.values()]
                say(row([name, "busy" if busy else "none", *cells]))


def _measured(command: partial[Taken], busy: bool) -> Taken:
    with _neighbour(busy):
        return command()


@contextmanager
def _neighbour(busy: bool) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _command(setting: str, folder: Path, program: str, *words: str) -> partial[Taken]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    common = [f"--dataroot={folder / 'data'}", f"--checkpoints_dir={folder / 'runs'}", "--device=cpu"]
    model = ["--model=pix2pix", "--netG=unet_128", "--load_size=128", "--crop_size=128", "--batch_size=4"]
    model += ["--n_epochs_decay=0", "--num_threads=2", "--val_freq=0"]
    results = [f"--results_dir={folder / 'results'}", "--num_threads=0", "--batch_size=1"]
    more = model if program == "train" else results
    command = [sys.executable, str(ROOT / f"{program}.py"), *common, *more, *words]
    return partial(run, command, folder, environment | {"GOMP_SPINCOUNT": setting})


def _write_pairs(root: Path, count: int) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for phase in ("train", "test"):
        (root / phase).mkdir(parents=True)
        for index in range(count):
            blocks = random.integers(0, 255, (16, 32, 3), np.uint8)
            Image.fromarray(blocks).resize((512, 256)).save(root / phase / f"{index}.jpg")


if __name__ == "__main__":
    main()
