"""The command line: `python -m i2i.evaluation.digits RUN --dataroot FOLDER`; --help lists the options."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

from i2i.config import OptionParser, check_range, expanded_path, from_values, option
from i2i.errors import UserError, file_errors
from i2i.process import keep_freed_memory
from i2i.run import epoch_checkpoints, find_run
from i2i.tools.digits.candidate import read_checkpoint
from i2i.tools.digits.judging import SAMPLES, check_counts, curve, judge
from i2i.tools.digits.pictures import draw_curve
from i2i.tools.digits.real_data import RealData


@dataclasses.dataclass(frozen=True)
class DigitsConfig:
    """Options of what to evaluate, against which images, and where to write the results."""

    dataroot: str = option("", "the real images, laid out as for --dataset_mode classes", path=True)
    epoch: str = option("latest", "which checkpoint: latest, a number, or all for the curve over those kept")
    samples: int = option(SAMPLES, "images to generate")
    truncation: float | None = option(None, "as test.py takes it")
    gan_train: bool = option(True, "train a classifier on generated images and test it on real ones")
    gan_train_samples: int | None = option(None, "on so many (default: as many as there are real ones)")
    seed: int = option(0, "of the first image; the others count up from it")
    classifier: str | None = option(
        None, "the classifier's file, made if it is missing (default: in the user's cache)", path=True
    )
    json: str | None = option(None, "write the figures to this file too", path=True)
    checkpoints_dir: str = option("./checkpoints", "where a RUN that is no run's folder is looked for", path=True)
    results_dir: str = option("./results", "where figures and pictures go, below the run's name", path=True)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")

    def __post_init__(self) -> None:
        if not self.dataroot:
            raise UserError("--dataroot is missing: the real images to compare with")
        if self.json and not Path(self.json).absolute().parent.is_dir():  # not when all is judged
            raise UserError(f"--json {self.json}: there is no such folder")
        for name in ("samples", "gan_train_samples"):
            check_range(name, getattr(self, name), 1)
        for name in ("seed", "truncation"):
            check_range(name, getattr(self, name), 0)

    @property
    def others(self) -> int | None:
        """Images to generate for GAN-train: None for as many as there are real ones, 0 for none."""
        return self.gan_train_samples if self.gan_train else 0

    def folder(self, run: Path) -> Path:
        """The folder of a run's results, one for each truncation."""
        truncated = "" if self.truncation is None else f"_truncation{self.truncation:g}"
        return Path(self.results_dir) / run.name / f"digits_{self.epoch}{truncated}"


def main() -> int:
    """Judge, print, write, and give the exit code: 0, or 2 for what is wrong with the options."""
    parser = _parser()
    with parser.one_line():
        given = parser.given(sys.argv[1:])
        config: DigitsConfig = from_values(DigitsConfig, parser.defaults | given)
        print(report(find_run(given["run"], config.checkpoints_dir), config))
    return 0


def report(run: Path, config: DigitsConfig) -> str:
    """Judge a run as `config` says and write all that there is to keep; gives what is to be read."""
    real_data = _real_data(run, config)
    folder = config.folder(run)
    common: dict[str, Any] = {"truncation": config.truncation, "seed": config.seed, "device": config.device}
    if config.epoch == "all":
        points = list(curve(run, real_data, samples=config.samples, **common))
        _write([point._asdict() for point in points], folder / "curve.json", config)
        with file_errors("--results_dir", folder):
            draw_curve(points, folder / "curve.png")
        return "\n".join([*map(str, points), str(folder)])
    found = judge(
        run,
        real_data,
        epoch=config.epoch,
        samples=config.samples,
        gan_train_samples=config.others,
        folder=folder,
        **common,
    )
    _write(found.as_dict(), folder / "report.json", config)
    return f"{found.text()}\n{folder}"


def _real_data(run: Path, config: DigitsConfig) -> RealData:
    """The real images, read as the run makes them, and their classifier.

    Raises:
        ValueError: before that is trained, if there is no such run, or too few images are asked for.
    """
    epoch = next(map(str, epoch_checkpoints(run)), "latest") if config.epoch == "all" else config.epoch
    spec = read_checkpoint(run, epoch)["spec"]
    check_counts(len(spec["classes"]), config.samples, config.others)
    file = Path(config.classifier) if config.classifier else None
    size, channels = spec["image_size"][0], spec["out_channels"]
    return RealData.load(config.dataroot, size, channels, classifier_file=file, device=config.device)


def _write(values: Any, path: Path, config: DigitsConfig) -> None:
    text = json.dumps(values, indent=1) + "\n"
    with file_errors("--results_dir", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if config.json:
        with file_errors("--json", config.json):
            Path(config.json).write_text(text, encoding="utf-8")


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m i2i.evaluation.digits",
        description="Judges what a class-conditional run generates, by a classifier trained on real images.",
    )
    parser.usage = "%(prog)s RUN --dataroot FOLDER [options]"
    parser.add_argument(
        "run", type=expanded_path, metavar="RUN", help="a run's folder, or its name below --checkpoints_dir"
    )
    parser.add_options("judging", DigitsConfig)
    return parser


def run_command() -> int:
    """Run as a process of its own: settings of the process, then `main`."""
    logging.basicConfig(format="%(message)s")
    keep_freed_memory()
    logging.getLogger("i2i.tools.digits").setLevel(logging.INFO)
    return main()


if __name__ == "__main__":
    raise SystemExit(run_command())
