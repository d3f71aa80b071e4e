"""Mode collapse on purpose, and what helps against it: `python benchmarks/modes.py`; --help lists the options.

    ring      points of the plane from 8 Gaussians on a circle, which are images of 1x1 pixel and 2 channels
    stacked   three digits of MNIST as the channels of an image: 1000 modes, told apart by a classifier of digits

An unconditional GAN learns each with settings under which it collapses, "plain", and then with one remedy at a time. A
mode is covered if a sample is of it. On the ring a sample is of a mode, and good, if it lies within three standard
deviations of its centre; a stack is of the mode that the classifier reads in it, and good if that is at least 90 % sure
of each digit. KL is the divergence of the samples' modes from all modes alike, in nats.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from digit_presets import default_dataroot
from torch import Tensor
from turns import head, positive, row, say

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.data import Batch, DataSpec
from i2i.models import build_model
from i2i.models.cgan import CGAN
from i2i.training import TrainConfig, Trainer

RADIUS, SPREAD, GAUSSIANS = 0.7, 0.02, 8
BATCH, SURE = 64, 0.9
EPOCHS = 10  # over the second half of which learning rates fall, as usual
SNAPSHOTS = 4  # pictures on the way from the first step to the last

Settings = dict[str, dict[str, Any]]  # by name: options of CGAN.Config and of TrainConfig


class Found(NamedTuple):
    """What samples cover: which mode each is of, -1 for none, whether it is good, and how many modes there are."""

    mode: Tensor
    good: Tensor
    modes: int

    @property
    def covered(self) -> int:
        """How many modes have a sample."""
        return self.mode[self.mode >= 0].unique().numel()

    @property
    def divergence(self) -> float:
        """Kullback-Leibler divergence of the modes' shares from equal ones; log(number of modes) for a single one."""
        counts = self.mode[self.mode >= 0].bincount(minlength=self.modes).double()
        shares = counts / counts.sum()
        return torch.special.xlogy(shares, shares * self.modes).sum().item() if counts.any() else math.nan


class Case(NamedTuple):
    """A distribution of modes, and how a GAN is to learn it."""

    spec: DataSpec
    draw: Callable[[int, torch.Generator], Tensor]  # real images
    find: Callable[[Tensor], Found]
    show: Callable[[Any, Tensor], None]  # on the axes of a plot
    networks: dict[str, Any]
    steps: int
    seeds: int
    samples: int


# The discriminator learns so much faster that the generator runs from it, all of it to one place.
RATES = {"lr": 1e-3, "lr_D": 5e-3}
RING: Settings = {
    "plain": RATES,
    "equal learning rates": {"lr": 1e-3},
    "minibatch discrimination": RATES | {"minibatch": "discrimination"},
    "minibatch std. dev.": RATES | {"minibatch": "stddev"},
    "instance noise": RATES | {"instance_noise": 0.2, "instance_noise_steps": 2000},
    "R1": RATES | {"lambda_r1": 0.02},
    "spectral norm, hinge": RATES | {"spectral_norm": "D", "gan_mode": "hinge"},
    "WGAN-GP": RATES | {"gan_mode": "wgangp", "lambda_gp": 0.1},
}
STACKED: Settings = {
    "plain": {},
    "no batch norm": {"norm_D": "none"},  # which goes with each of the last three
    "minibatch discrimination": {"minibatch": "discrimination"},
    "minibatch std. dev.": {"minibatch": "stddev"},
    "instance noise": {"instance_noise": 0.3},
    "R1": {"lambda_r1": 1.0},
    "spectral norm, hinge": {"spectral_norm": "D", "gan_mode": "hinge"},
    "WGAN-GP": {"gan_mode": "wgangp"},
}
SETTINGS = {"ring": RING, "stacked": STACKED}


def ring(mnist: Path) -> Case:
    """8 Gaussians; needs no files."""
    angles = torch.arange(GAUSSIANS) * (2 * math.pi / GAUSSIANS)
    centres = RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        chosen = centres[torch.randint(GAUSSIANS, (count,), generator=generator)]
        return (chosen + SPREAD * torch.randn(count, 2, generator=generator)).view(count, 2, 1, 1)

    def find(images: Tensor) -> Found:
        distance, nearest = torch.cdist(images.flatten(1), centres).min(dim=1)
        good = distance < 3 * SPREAD
        return Found(torch.where(good, nearest, -1), good, GAUSSIANS)

    def show(axes: Any, images: Tensor) -> None:
        axes.scatter(*centres.T.numpy(), s=120, facecolors="none", edgecolors="0.7")
        axes.scatter(*images[:500].flatten(1).T.numpy(), s=2)
        axes.set(xlim=(-1, 1), ylim=(-1, 1))

    filters = {"generator_filters": 8, "discriminator_filters": 8}
    networks = {"generator": "mlp", **filters, "noise_dim": 16, "norm": "none", "init_type": "xavier"}
    return Case(DataSpec(3, 2, (1, 1)), draw, find, show, networks, steps=3000, seeds=3, samples=2000)


def stacked(mnist: Path) -> Case:
    """Digits in three channels. Raises ValueError if there are none in `mnist`."""
    from i2i.data.images.sheets import to_uint8
    from i2i.tools.digits import classify, load_or_train_classifier, read_real

    real = read_real(mnist, 28, 1)
    classifier = load_or_train_classifier(real, device="cpu").network
    digits = real.train.images.squeeze(1)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        chosen = digits[torch.randint(len(digits), (count, 3), generator=generator)]
        return chosen.float() / 127.5 - 1

    def find(images: Tensor) -> Found:
        logits, _ = classify(classifier, images.reshape(-1, 1, 28, 28))
        sure, read = logits.softmax(dim=1).max(dim=1)
        mode = read.view(-1, 3) @ torch.tensor([100, 10, 1])
        return Found(mode, (sure.view(-1, 3) >= SURE).all(dim=1), 1000)

    def show(axes: Any, images: Tensor) -> None:
        sheet = to_uint8(images[:36]).unflatten(0, (6, 6)).permute(0, 3, 1, 4, 2).reshape(6 * 28, 6 * 28, 3)
        axes.imshow(sheet.numpy())

    networks = {"generator": "dcgan", "generator_filters": 16, "discriminator_filters": 4, "noise_dim": 64}
    return Case(DataSpec(3, 3, (28, 28)), draw, find, show, networks, steps=1500, seeds=1, samples=10000)


CASES: dict[str, Callable[[Path], Case]] = {"ring": ring, "stacked": stacked}


class Draws:
    """An endless stream of real images, without files."""

    device, waited = torch.device("cpu"), 0.0

    def __init__(self, case: Case, steps: int, seed: int) -> None:
        self.case, self.position, self.epoch = case, 0, max(1, steps // EPOCHS)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.epoch * BATCH

    def __call__(self) -> Batch:
        self.position += BATCH
        return Batch(b=self.case.draw(BATCH, self.generator))


def train(case: Case, setting: dict[str, Any], steps: int, seed: int) -> list[Tensor]:
    """Samples at each of SNAPSHOTS equal parts of the training."""
    torch.manual_seed(seed)
    rates = {name: setting[name] for name in setting if name in ("lr", "lr_D")}
    options = {name: value for name, value in setting.items() if name not in rates}
    model = build_model("cgan", CGAN.Config(unconditional=True, **case.networks | options), case.spec)
    config = TrainConfig(n_epochs=EPOCHS // 2, n_epochs_decay=EPOCHS // 2, **rates)
    trainer = Trainer(model, Draws(case, steps, seed), config)  # type: ignore[arg-type]
    snapshots = []
    for part in range(SNAPSHOTS):
        for _ in range(steps * part // SNAPSHOTS, steps * (part + 1) // SNAPSHOTS):
            trainer.train_step()
        latents = model.latents(range(case.samples), None)
        snapshots.append(torch.cat([model.images(rows, None) for rows in latents.split(1000)]))
    return snapshots


def table_row(name: str, found: Sequence[Found], seconds: float | None = None) -> str:
    """The modes of each seed, and the means of the rest."""
    good = statistics.mean(seed.good.double().mean().item() for seed in found)
    divergence = statistics.mean(seed.divergence for seed in found)
    modes = " ".join(str(seed.covered) for seed in found)
    return row([name, modes, f"{good:.0%}", f"{divergence:.2f}", "" if seconds is None else f"{seconds:.0f}"])


def picture(case: Case, rows: dict[str, list[Tensor]], path: Path) -> None:
    """Draw a row for each setting, from left to right in the course of its training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * SNAPSHOTS + 0.3, 2 * len(rows)), dpi=80, layout="constrained")
    grid = figure.subplots(len(rows), SNAPSHOTS, squeeze=False)
    for cells, (name, snapshots) in zip(grid, rows.items(), strict=True):
        cells[0].set_ylabel(name)
        for axes, images in zip(cells, snapshots, strict=True):
            case.show(axes, images)
            axes.set(xticks=[], yticks=[], aspect="equal")
    figure.savefig(path)


def run(name: str, case: Case, arguments: argparse.Namespace) -> None:
    """Train the settings of a case, print its table, and draw its picture from the first seed."""
    steps, seeds = arguments.steps or case.steps, range(arguments.seeds or case.seeds)
    real = case.find(case.draw(case.samples, torch.Generator().manual_seed(0)))
    say(head(f"{name}, {steps} steps", f"modes of {real.modes}, by seed", "good", "KL", "s a run"))
    say(table_row("real", [real]))
    pictures = {}
    for setting in arguments.settings or SETTINGS[name]:
        start = time.perf_counter()
        runs = [train(case, SETTINGS[name][setting], steps, seed) for seed in seeds]
        seconds = (time.perf_counter() - start) / len(seeds)
        say(table_row(setting, [case.find(snapshots[-1]) for snapshots in runs], seconds))
        pictures[setting] = runs[0]
        arguments.out.mkdir(parents=True, exist_ok=True)
        picture(case, pictures, arguments.out / f"modes_{name}.png")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=(*CASES, "all"), default="all")
    parser.add_argument("--settings", nargs="+", metavar="SETTING", help="some rows of the table (default: all)")
    parser.add_argument("--steps", type=positive, help="of the generator (default: the case's own)")
    parser.add_argument("--seeds", type=positive, help="runs of each setting (default: ring 3, stacked 1)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where the pictures go")
    parser.add_argument("--mnist", type=Path, default=default_dataroot(), help="its folder (default: %(default)s)")
    arguments = parser.parse_args(argv)
    for name in (names := [*CASES] if arguments.case == "all" else [arguments.case]):
        if unknown := sorted({*(arguments.settings or ())} - SETTINGS[name].keys()):
            parser.error(f"--settings {unknown[0]}: those of {name} are {', '.join(SETTINGS[name])}")
    try:
        cases = {name: CASES[name](arguments.mnist) for name in names}  # before minutes of training
    except ValueError as error:
        parser.error(str(error))
    for name, case in cases.items():
        run(name, case, arguments)


if __name__ == "__main__":
    main()
