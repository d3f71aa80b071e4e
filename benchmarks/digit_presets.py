"""What the presets for digits reach, and how soon: `python benchmarks/digit_presets.py`; --help lists the options.

train.py trains each preset in a process of its own, with a checkpoint after every epoch. When all are trained,
i2i.evaluation.digits judges every checkpoint quickly and the last one thoroughly, and test.py draws a grid. What was
measured of a run is a file of JSON; with that it is neither trained nor judged again, unless the numbers of images that
judge it are others; for other training it is refused. Minutes are those from the first
step to the end of an epoch, without the start of the program.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import digits_report
from turns import positive, say

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "options" / "presets"
PRESETS = sorted(path.stem.removeprefix("digits_") for path in FOLDER.glob("digits_*.yaml"))
EVERY_EPOCH = ("--save_epoch_freq", 1, "--keep_checkpoints", 10**6, "--save_latest_freq", 10**12)


class Run(NamedTuple):
    """A preset at a seed, and where its files are."""

    preset: str
    seed: int
    out: Path

    @property
    def name(self) -> str:
        """The run's, and that of its files."""
        return f"{self.preset}_seed{self.seed}"

    @property
    def row(self) -> Path:
        """What was measured of it."""
        return self.out / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What its programs have printed."""
        return self.out / f"{self.name}.log"

    @property
    def folder(self) -> Path:
        """Its checkpoints'."""
        return self.out / "checkpoints" / self.name

    def read(self) -> dict[str, Any]:
        """What was measured so far; nothing before it is trained."""
        return json.loads(self.row.read_text(encoding="utf-8")) if self.row.is_file() else {}

    def add(self, **measured: Any) -> None:
        """Put something with what was measured."""
        temporary = self.row.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.read() | measured, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.row)

    def call(self, *command: Any) -> None:
        """Run a program; what it prints is appended to the run's log. Raises SystemExit, with one line, if it fails."""
        with self.log.open("a", encoding="utf-8") as file:
            done = subprocess.run([sys.executable, *map(str, command)], stdout=file, stderr=subprocess.STDOUT)
        if done.returncode:
            last = self.log.read_text(encoding="utf-8").strip().splitlines()[-1]
            raise SystemExit(f"digit_presets.py: error: {self.name}: {last} (all of it: {self.log})")


def training(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a run learns from and with."""
    preset = hashlib.sha256((FOLDER / f"digits_{run.preset}.yaml").read_bytes()).hexdigest()
    dataroot = str(arguments.dataroot.resolve())
    return {"overrides": arguments.overrides, "dataroot": dataroot, "preset_sha256": preset}


def judging(arguments: argparse.Namespace) -> dict[str, Any]:
    """How many images judge a run."""
    return {"samples": arguments.samples, "curve_samples": arguments.curve_samples}


def differing(row: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what a row was made otherwise; what it does not tell counts as equal."""
    return [name for name, value in wanted.items() if row.get(name, value) != value]


def train(run: Run, arguments: argparse.Namespace) -> None:
    """Train a run from its start, and measure that."""
    say(f"{run.name}: training")
    settings = training(run, arguments) | {name: getattr(arguments, name) for name in ("threads", "jobs", "device")}
    run.row.unlink(missing_ok=True)
    place = ("--name", run.name, "--checkpoints_dir", run.folder.parent, "--overwrite", "--seed", run.seed)
    where = ("--dataroot", arguments.dataroot, "--device", arguments.device)
    run.call(ROOT / "train.py", "--options", f"digits_{run.preset}", *place, *where, *EVERY_EPOCH, *arguments.overrides)
    run.add(preset=run.preset, seed=run.seed, **settings, **trained(run.folder))


def trained(folder: Path) -> dict[str, Any]:
    """Parameters, steps and the minutes at the end of every epoch, from the files of a run."""
    from i2i.run import epoch_checkpoints
    from i2i.training import checkpoint
    from i2i.translate.translator import load_model

    state = checkpoint.load(folder / "latest.pt")
    players = load_model(state, ema=False).players
    start = (folder / "options.yaml").stat().st_mtime  # written ahead of the first step
    minutes = {epoch: (path.stat().st_mtime - start) / 60 for epoch, path in epoch_checkpoints(folder).items()}
    sizes = {name: sum(parameter.numel() for parameter in player.parameters()) for name, player in players.items()}
    return {"parameters": sizes, "steps": state["step"], "images": state["images"], "minutes": minutes}


def judge(run: Run, arguments: argparse.Namespace) -> None:
    """Judge every checkpoint of a run quickly, the last one thoroughly, and draw a grid."""
    say(f"{run.name}: judging")
    pictures = run.out / "pictures"
    evaluate = ("-m", "i2i.evaluation.digits", run.folder, "--dataroot", arguments.dataroot)
    where = ("--results_dir", pictures, "--device", arguments.device)
    curve, final = (run.out / f"{run.name}_{name}.json" for name in ("curve", "final"))
    quick = ("--epoch", "all", "--samples", arguments.curve_samples, "--json", curve)
    run.call(*evaluate, *where, *quick)
    run.call(*evaluate, *where, "--samples", arguments.samples, "--json", final)
    grid = ("--name", run.name, "--checkpoints_dir", run.folder.parent, "--num_per_class", 10, *where)
    run.call(ROOT / "test.py", *grid)
    shutil.copyfile(pictures / run.name / "test_latest" / "grid.png", run.out / f"{run.name}.png")
    found = {path.stem.removeprefix(f"{run.name}_"): json.loads(path.read_text()) for path in (curve, final)}
    run.add(**judging(arguments), **found)


def each(work: Callable[[Run, argparse.Namespace], None], runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    """Do a work for every run, several of them beside each other. Raises SystemExit if one of them fails."""
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: work(run, arguments), runs))


def default_dataroot() -> Path:
    """MNIST where the tests have it, else where datasets/prepare.py puts it."""
    data = os.environ.get("I2I_TEST_DATA")
    return Path(data) / "data" / "mnist" if data else Path("datasets") / "mnist"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--presets", nargs="+", choices=PRESETS, default=PRESETS, metavar="NAME", help=", ".join(PRESETS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--best_seeds", type=positive, help="of the preset of the best GAN-train take so many seeds too"
    )
    parser.add_argument("--dataroot", type=Path, default=default_dataroot(), help="MNIST (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/bench_digits"), help="where all files go")
    parser.add_argument("--threads", type=positive, default=2, help="of every process (default: 2)")
    parser.add_argument("--jobs", type=positive, default=1, help="runs beside each other (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    parser.add_argument("--samples", type=positive, default=10000, help="images that judge the last checkpoint")
    parser.add_argument("--curve_samples", type=positive, default=2000, help="images that judge each of the others")
    parser.add_argument("--overwrite", action="store_true", help="train and judge again what has been measured")
    parser.add_argument("--judge_only", action="store_true", help="judge again what has been trained; train nothing")
    parser.add_argument("--overrides", nargs=argparse.REMAINDER, default=[], help="all that follows goes to train.py")
    arguments = parser.parse_args(argv)
    if not arguments.dataroot.is_dir():
        way_out = "`python datasets/prepare.py mnist` makes datasets/mnist"
        parser.exit(2, f"digit_presets.py: error: --dataroot {arguments.dataroot}: no such folder; {way_out}\n")
    return arguments


def measured(runs: Sequence[Run], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train and judge what has not been, and give what was measured of each.

    Raises:
        SystemExit: if a run that was trained otherwise is there, or there is none and none is to be trained.
    """
    if not arguments.judge_only:
        missing = [run for run in runs if arguments.overwrite or not run.read()]
        for run in runs:
            if run not in missing and (names := differing(run.read(), training(run, arguments))):
                what = ", ".join(f"{name} {run.read()[name]}" for name in names)
                way_out = "--overwrite it, or give another --out"
                raise SystemExit(f"digit_presets.py: error: {run.row} was trained with the {what}; {way_out}")
        each(train, missing, arguments)
    runs = [run for run in runs if run.read()]
    if not runs:
        raise SystemExit(f"digit_presets.py: error: --judge_only: nothing has been trained in {arguments.out}")
    each(judge, [run for run in runs if arguments.judge_only or not is_judged(run.read(), arguments)], arguments)
    return [run.read() for run in runs]


def is_judged(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Whether a run has been judged as it is to be."""
    return "final" in row and not differing(row, judging(arguments))


def best(rows: Sequence[dict[str, Any]]) -> str:
    """The preset of the best GAN-train accuracy. Raises SystemExit if no run has one: none is class-conditional."""
    scores = {digits_report.gan_train(row["final"]).get("generated", 0): row["preset"] for row in rows}
    if not any(scores):
        raise SystemExit("digit_presets.py: error: --best_seeds: no run has a GAN-train accuracy")
    return scores[max(scores)]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what has not been measured, and print the table."""
    arguments = parse(argv)
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs = [Run(preset, seed, arguments.out) for preset, seed in product(arguments.presets, arguments.seeds)]
    rows = measured(runs, arguments)
    if arguments.best_seeds:
        preset = best(rows)
        more = {Run(preset, seed, arguments.out) for seed in range(arguments.best_seeds)}.difference(runs)
        rows += measured(sorted(more), arguments) if more else []
    digits_report.plot(rows, arguments.out / "curve.png")
    table = f"{digits_report.table(rows)}\n\n{digits_report.conditions(rows)}"
    (arguments.out / "table.md").write_text(table + "\n", encoding="utf-8")
    say(table)


if __name__ == "__main__":
    main()
