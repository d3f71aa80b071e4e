"""Faults that are put into toy trainings, and what the doctor tells their boards; sound ones give it nothing to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i.data import Batch, DataConfig, DataSpec, build_dataset
from i2i.data.batch import normalise
from i2i.metrics.config import MetricNetworksConfig
from i2i.models import CGAN, GanModel, build_model
from i2i.training import Diverged, Trainer
from i2i.watch.boards import Board, Boards, Finding, Progress
from i2i.watch.doctor import Doctor, DoctorObserver, doctor
from i2i.watch.validation import ValidationConfig, Validator
from i2i.watch.validation.observer import ValidationObserver
from tests import tiny
from tests.pictures import save
from tests.test_doctor import checks, photos

SIZE, STEPS, PATIENCE = 32, 80, 10
A, B = photos(16, SIZE, seed=1), photos(16, SIZE, seed=2)
PAIRS = Batch(a=A, b=0.6 * A.flip(1) + 0.2)
Change = Callable[[Tensor, Tensor], Tensor]
Run = Callable[..., list[Finding]]


class Told(Board):
    """Keeps the findings, and what there are curves of."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.curves: set[str] = set()

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        self.curves |= values.keys()

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        self.found += findings


class Repeated(tiny.RandomStream):
    """The same few images again and again."""

    images = PAIRS

    def __call__(self) -> Batch:
        a, b = self.images.image("a"), self.images.image("b")
        rows = torch.arange(self.position, self.position + self.batch_size) % len(a)
        self.position += self.batch_size
        return Batch(a=a[rows], b=b[rows], paths_a=tuple(f"{row}.png" for row in rows))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Trains a toy model to the end, on images, with a validator and a fault if given, and gives all that was told."""
    monkeypatch.setattr(doctor, "BETWEEN_PICTURES", 10)

    def run(
        model: GanModel,
        steps: int = STEPS,
        patience: int = PATIENCE,
        images: Batch = PAIRS,
        fault: Callable[[Trainer], None] | None = None,
        validator: Validator | None = None,
        **options: Any,
    ) -> list[Finding]:
        torch.manual_seed(0)
        stream = (tiny.RandomStream if model.spec.classes else Repeated)(model, 2, 8)
        stream.images = images  # type: ignore[attr-defined]
        common = {"n_epochs": steps // 4, "n_epochs_decay": 0, "print_freq": 4, "display_freq": 20}
        told, config = Told(), tiny.TrainConfig(**common | options)
        samples = tiny.RandomStream(model)() if model.spec.classes else images
        observers = tiny.observers(config, Boards([told]), samples)
        if validator is not None:
            observers.append(ValidationObserver(validator, ValidationConfig(val_freq=20), 1, 8))
        next(o for o in observers if isinstance(o, DoctorObserver)).doctor = Doctor(patience)
        trainer = Trainer(model, stream, config, observers=observers)  # type: ignore[arg-type]
        if fault is not None:
            fault(trainer)
        try:
            trainer.fit()
        except Diverged:
            assert told.found
        assert any(name.startswith("doctor_separation") for name in told.curves)
        return told.found

    return run


def pix2pix(**options: Any) -> GanModel:
    """One without a checkerboard of its own."""
    return tiny.pix2pix(**{"upsample": "nearest"} | options)


def cyclegan() -> GanModel:
    """One without a checkerboard of its own."""
    return tiny.cyclegan(upsample="nearest", generator_filters=2)


def names(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings]


# -- faults -----------------------------------------------------------------------------------------------------------


def gradients_times(factor: float, player: str) -> Callable[[Trainer], None]:
    """From the middle of the run on the gradients of a player are so many times as large."""

    def put_in(trainer: Trainer) -> None:
        for parameter in trainer.model.players[player].parameters():
            parameter.register_hook(lambda gradient: gradient * (factor if trainer.step > STEPS // 2 else 1))

    return put_in


def test_gradients_that_are_not_finite(run: Run) -> None:
    (finding,) = run(pix2pix(), patience=40, fault=gradients_times(math.nan, "generator"))
    assert finding.name == "not_finite" and "G_L1" in finding.message


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_gradients_that_explode(run: Run, player: str) -> None:
    (finding,) = run(pix2pix(), patience=40, fault=gradients_times(1e5, player))
    assert finding.name == "exploding_gradients" and player in finding.message and finding.figure > 1e3


def test_a_discriminator_without_an_equal_wins(run: Run) -> None:
    strong: dict[str, Any] = {"discriminator": "n_layers", "n_layers_D": 1, "discriminator_filters": 16}
    (finding,) = run(pix2pix(**strong, norm_D="none"), 300, lr=0.0, lr_D=0.003)
    assert finding.name == "discriminator_won"


def test_a_discriminator_that_gives_one_answer(run: Run) -> None:
    model = tiny.pix2pix()
    for parameter in model.discriminator.parameters():
        parameter.data.zero_()
    (finding,) = run(model, lr=1e-3, lr_D=0.0)
    assert (finding.name, finding.severity) == ("discriminator_died", "alarm") and "the same" in finding.message


def test_a_discriminator_that_does_not_learn(run: Run) -> None:
    (finding,) = run(tiny.pix2pix(), 160, lr=1e-3, lr_D=0.0)
    assert (finding.name, finding.severity) == ("discriminator_died", "warning") and "never" in finding.message


def makes(change: Change, model: GanModel, generator: str = "generator") -> GanModel:
    """The model with a generator that gives `change` of its input and its output instead."""
    getattr(model, generator).register_forward_hook(lambda _, inputs, output: change(inputs[0], output) + 0 * output)
    return model


BROKEN: dict[str, tuple[Callable[[Change], GanModel], Change, str]] = {
    "black": (lambda change: makes(change, pix2pix()), lambda a, b: torch.full_like(b, -1), "blank"),
    "one image": (lambda change: makes(change, pix2pix()), lambda a, b: B[:1].expand_as(b), "collapse"),
    "one zebra": (
        lambda change: makes(change, cyclegan(), "generator_a_to_b"),
        lambda a, b: B[:1].expand_as(b),
        "collapse",
    ),
    "light for dark": (
        lambda change: makes(change, cyclegan(), "generator_b_to_a"),
        lambda b, a: -0.7 * b,
        "inversion",
    ),
    "light for dark, pairs": (lambda change: makes(change, pix2pix()), lambda a, b: -0.7 * a, "inversion"),
    "a pattern": (lambda change: makes(change, pix2pix()), lambda a, b: 0.6 * a + 0.05 * checks(SIZE), "checkerboard"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_generators_that_make_what_is_wrong(run: Run, fault: str) -> None:
    build, change, expected = BROKEN[fault]
    hopeless = {"discriminator_won", "discriminator_died"}  # what cannot learn may well lose
    assert set(names(run(build(change)))) - hopeless == {expected}


def test_noise_that_changes_nothing(run: Run) -> None:
    model: Any = tiny.cgan()
    synthesize = model.generator.synthesize
    model.generator.synthesize = lambda noise, labels: synthesize(noise * 0 + 1, labels)
    (finding,) = run(model, lr=1e-3)
    assert finding.name == "collapse" and "x, y, z" in finding.message


def by_heart(root: Path, count: int) -> Validator:
    """Validates on pairs of which no half says anything of the other: there is nothing to learn but the images."""
    common: dict[str, Any] = {"load_size": (tiny.SIZE,), "crop_size": (tiny.SIZE,), "dataset_mode": "aligned"}
    random = np.random.default_rng(0)
    for phase in ("train", "val"):
        for index in range(count):
            coarse = random.integers(0, 256, (4, 8, 3), np.uint8)
            save(root / phase / f"{index}.png", np.kron(coarse, np.ones((4, 4, 1), np.uint8)))
    config = DataConfig(str(root), **common)
    held_out, training = (build_dataset(config.for_validation(phase)) for phase in ("val", "train"))
    return Validator(held_out, training, ["l1"], MetricNetworksConfig(), best_metric="l1")


def trained_on(validator: Validator) -> Batch:
    parts = [part.batch for part in validator.training.batches("cpu")]
    a, b = (torch.cat([normalise(part.image(domain)) for part in parts]) for domain in "ab")
    return Batch(a=a, b=b)


def test_training_images_that_are_learnt_at_the_cost_of_others(run: Run, tmp_path: Path) -> None:
    validator = by_heart(tmp_path, 4)
    found = run(tiny.pix2pix(generator_filters=16), 240, images=trained_on(validator), validator=validator, lr=1e-3)
    (finding,) = [finding for finding in found if finding.name in ("overfitting", "memorised")]
    assert finding.name == "overfitting" and "L1" in finding.message


def test_training_images_that_come_back(run: Run, tmp_path: Path) -> None:
    validator = by_heart(tmp_path, 20)
    images = trained_on(validator)

    def remembered(a: Tensor, b: Tensor) -> Tensor:
        return images.image("b")[(a[:, 0, 0, 0] * 1000).long() % 20]

    found = run(makes(remembered, tiny.pix2pix()), images=images, validator=validator)
    assert "memorised" in names(found) and "overfitting" not in names(found)


# -- sound runs -------------------------------------------------------------------------------------------------------


def of_classes(*classes: str, **options: Any) -> CGAN:
    config = CGAN.Config(**{"generator_filters": 4, "discriminator_filters": 4, "noise_dim": 4} | options)
    return build_model("cgan", config, DataSpec(3, 1, (8, 8), classes))  # type: ignore[return-value]


GREY = Batch(a=A, b=torch.full_like(A, 0.1))
NEGATIVE = Batch(a=A, b=(-0.2 * A + 0.8 * B).clamp(-1, 1))  # hardly correlates with A, which outputs go by
SOUND: dict[str, tuple[Callable[[], GanModel], Batch]] = {
    "pix2pix": (lambda: tiny.pix2pix(gan_mode="vanilla"), PAIRS),
    "hinge, R1": (lambda: tiny.pix2pix(gan_mode="hinge", lambda_r1=0.01), PAIRS),
    "WGAN": (lambda: tiny.pix2pix(gan_mode="wgan"), PAIRS),
    "relativistic": (lambda: tiny.pix2pix(gan_mode="relativistic"), PAIRS),
    "instance noise": (lambda: tiny.pix2pix(instance_noise=0.1), PAIRS),
    "a grey truth": (tiny.pix2pix, GREY),
    "a faint negative": (tiny.pix2pix, NEGATIVE),
    "CycleGAN": (cyclegan, Batch(a=A, b=B)),
    "equal sets": (cyclegan, Batch(a=A, b=A.roll(5, 0))),
    "classes": (lambda: of_classes("x", "y", "z"), PAIRS),
    "one class": (lambda: of_classes("x"), PAIRS),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_runs_are_left_in_peace(run: Run, kind: str) -> None:
    build, images = SOUND[kind]
    torch.manual_seed(0)
    assert run(build(), 120, 25, images=images, ema=0.99, lr=1e-3) == []
