"""What looking on costs: `python benchmarks/monitoring.py --dataroot FACADES`; --help lists the options.

Measures a training step, and once each what train.py does beside it at default frequencies: a line of the log with the
doctor's look at it, sample pictures, a validation, the report page. Prints seconds, how often it happens, and the
share of training time that it takes. The processor's time of this process is counted, so that other programs hardly
matter; on CUDA it is the clock's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.training import Observer, Trainer
from options.train_options import TrainOptions
from train import build_trainer


class Part(NamedTuple):
    """Something beside the steps: the seconds that it takes, and the images from one time to the next."""

    name: str
    seconds: float
    images: float


def seconds(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """The median of the seconds that `work` takes."""

    def now() -> float:
        if device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(device)
        return time.perf_counter()

    found = []
    for _ in range(times):
        started = now()
        work()
        found.append(now() - started)
    return statistics.median(found)


def parts(trainer: Trainer, steps: int, times: int) -> tuple[float, list[Part]]:
    """The seconds of a step, and the parts beside it."""
    device, config = trainer.stream.device, trainer.config
    trainer.model.train()
    trainer.train_step()
    step = seconds(trainer.train_step, steps, device)

    def line() -> None:
        trainer.train_step()
        trainer.report()

    found = [Part("log and doctor", max(0.0, seconds(line, times, device) - step), config.print_freq)]
    for observer in trainer.observers:
        if observer.every is not None:
            observed(trainer, observer)  # the first time reads the images
            cost = seconds(lambda observer=observer: observed(trainer, observer), times, device) - step
            found.append(Part(type(observer).__name__, cost, observer.every))
    return step, found


def observed(trainer: Trainer, observer: Observer) -> None:
    """Let an observer look at weights that have moved since the last time."""
    trainer.train_step()
    trainer.ask(observer.observe)


def table(step: float, batch_size: int, found: Sequence[Part]) -> str:
    """The parts with their shares of the time of training."""
    image = step / batch_size
    lines = [f"a step takes {step:.3f} s, an image {image:.3f} s", f"{'':20}{'s':>8}{'every':>10}{'share':>8}"]
    shares = [part.seconds / part.images / image for part in found]
    for part, share in zip(found, shares, strict=True):
        lines.append(f"{part.name:20}{part.seconds:8.3f}{part.images:10,.0f}{share:8.2%}")
    return "\n".join([*lines, f"{'together':38}{sum(shares):8.2%}"])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataroot", required=True, help="a data set with a part called val")
    parser.add_argument("--steps", type=int, default=7, help="of which a step's median is taken")
    parser.add_argument("--times", type=int, default=3, help="that each part is measured")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of train.py, behind --")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        place = ["--name", "monitored", "--checkpoints_dir", folder, "--dataroot", given.dataroot]
        options = TrainOptions([*place, *(word for word in given.options if word != "--")])
        trainer = build_trainer(options)
        step, found = parts(trainer, given.steps, given.times)
        for observer in trainer.observers:
            observer.close()
    print(table(step, options.data.batch_size, found))


if __name__ == "__main__":
    main()
