"""How long a start takes: `python benchmarks/startup.py`; --help lists the options.

    import      a process that imports something and ends
    --help      of the programs
    new         a run of pix2pix's unet_256, from the start of the process to the end of the first step
    continued   the same with --continue_train: weights, averages and the optimiser's moments are read
    translated  a whole process that turns one JPEG file of 256 pixels into pictures

beside the textbook's for the last ones (textbook.py, on data in its memory already). Each is a process of its own, and
they take turns, A B C A B C: seconds are medians, and so is what they exceed `import torch` of the same turn by.
With --importtime: what the modules took that are no part of torch, slowest first, those that they import included.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import turns
from turns import Taken, say

ROOT = Path(__file__).resolve().parents[1]
BARE = "import torch"
IMPORTS = (BARE, "import i2i", "import i2i.translate.translator", "import i2i.training")
TITLES = ("start", "s", "beyond torch's import")
SHOWN = 30  # modules

# The process ends with the step: what comes after it is no part of the start.
FIRST_STEP = """
import os
import train
from i2i.training import Trainer

step = Trainer.train_step
Trainer.train_step = lambda trainer: (step(trainer), os._exit(0))
train.train(train.TrainOptions())
raise SystemExit("there was no step")
"""
TEXTBOOK_STEP = """
import sys
sys.path.insert(0, "benchmarks")
import os, torch
from textbook import GENERATORS, Pix2Pix

model = Pix2Pix(GENERATORS["unet_256"])
model.start()
model.step(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
os._exit(0)
"""


def prepare(folder: Path) -> None:
    """Write a pair to learn from, an image to translate, and weights for the textbook."""
    import textbook
    import torch
    from data import write_images
    from PIL import Image

    for place in ("pairs/train", "images"):
        (folder / place).mkdir(parents=True)
    write_images(folder / "images", "jpg", 256, 1, None)
    image = Image.open(next((folder / "images").iterdir()))
    pair = Image.new("RGB", (512, 256))
    pair.paste(image, (0, 0))
    pair.paste(image, (256, 0))
    pair.save(folder / "pairs/train/1.jpg")
    torch.save(textbook.GENERATORS["unet_256"]().state_dict(), folder / "generator.pth")


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """What is started, by name; there is a run `old` in `folder`, made by the way."""
    run = ("--checkpoints_dir", folder, "--name")
    learn = ("--model", "pix2pix", "--dataroot", folder / "pairs", "--num_threads", "0", "--ema", "0.99")
    once = ("--n_epochs", "1", "--n_epochs_decay", "0")
    turns.run([sys.executable, "train.py", *learn, *once, *run, "old"], ROOT)
    textbook = ("unet_256", folder / "generator.pth", folder / "images", folder / "pictures", "256", "cpu")
    programs: dict[str, tuple[str | Path, ...]] = {name: ("-c", name) for name in IMPORTS}
    programs |= {f"{name} --help": (name, "--help") for name in ("train.py", "test.py")}
    programs |= {
        "new, textbook": ("-c", TEXTBOOK_STEP),
        "new": ("-c", FIRST_STEP, *learn, *run, "new", "--overwrite"),
        "continued": ("-c", FIRST_STEP, *run, "old", "--continue_train", "--n_epochs", "2"),
        "translated, textbook": ("benchmarks/textbook.py", *textbook),
        "translated": ("test.py", *run, "old", "--input", folder / "images", "--results_dir", folder),
    }
    return {name: [sys.executable, *words] for name, words in programs.items()}


def table(taken: dict[str, list[Taken]]) -> list[str]:
    """The rows, in order."""
    rows = []
    for name, own in taken.items():
        beyond = statistics.median(turn.seconds - bare.seconds for turn, bare in zip(own, taken[BARE], strict=True))
        rows.append(turns.row((name, f"{turns.median_seconds(own):.2f}", f"{beyond:.2f}" if beyond > 0 else "")))
    return rows


def modules(statement: str) -> list[str]:
    """The slowest of the modules that `statement` imports, as rows."""
    command = [sys.executable, "-X", "importtime", "-c", statement]
    report = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=True).stderr
    lines = re.findall(r"(\d+) \|\s+(\d+) \|\s+(\S+)", report)
    times = sorted(((int(whole), int(own), name) for own, whole, name in lines), reverse=True)
    shown = [line for line in times if not line[2].startswith("torch.")][:SHOWN]
    return [turns.row((name, f"{whole / 1000:.0f}", f"{own / 1000:.0f}")) for whole, own, name in shown]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=turns.positive, default=5)
    parser.add_argument("--importtime", metavar="MODULE", help="what is slow in importing it, such as train")
    arguments = parser.parse_args(argv)
    if arguments.importtime:
        say(turns.head("module", "ms", "its own"))
        say("\n".join(modules(f"import {arguments.importtime}")))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        turns.in_own_process(prepare, folder)
        actions = {name: partial(turns.run, command, ROOT) for name, command in commands(folder).items()}
        say(turns.head(*TITLES))
        say("\n".join(table(turns.take_turns(actions, arguments.turns))))


if __name__ == "__main__":
    main()
