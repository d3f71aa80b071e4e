"""What the doctor says of runs with a fault, and that it keeps quiet about sound ones."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from i2i.acceleration import AccelerationConfig
from i2i.data import DataConfig
from i2i.models import MODELS
from i2i.models.adversarial import AdversarialConfig, AdversarialLoss
from i2i.models.augment import AUGMENTATIONS
from i2i.models.statistics import DECAY, EVERY, DiscriminatorStatistics
from i2i.networks import MINIBATCH
from i2i.run import RunConfig
from i2i.training import TrainConfig
from i2i.training.nonfinite import not_finite
from i2i.translate import config as translation
from i2i.watch.boards.board import Finding, Progress
from i2i.watch.doctor import Doctor
from i2i.watch.doctor.checkerboard import pattern
from i2i.watch.doctor.contest import contest_signs
from i2i.watch.doctor.memorised import memory_signs
from i2i.watch.validation import ValidationConfig
from tests import tiny
from tests.pictures import REAL, needs_data

HEALTHY = DiscriminatorStatistics(0.85, 1.0, 0.5)
PictureStore = dict[str, Tensor]


def at(step: int) -> Progress:
    return Progress(step, step, 1)


def contests(
    states: Iterable[DiscriminatorStatistics], every: int = 100, doctor: Doctor | None = None
) -> list[Finding]:
    """All that is said of a run whose log has such lines, `every` so many steps."""
    doctor = doctor or Doctor()
    found = [doctor.losses(at(every * line), {}, {}, {"adversarial": state}) for line, state in enumerate(states, 1)]
    return [finding for findings in found for finding in findings]


def gradients(norms: Iterable[float]) -> list[Finding]:
    """All that is said of a run whose generator's gradients have such norms."""
    doctor = Doctor()
    found = [doctor.losses(at(100 * line), {"G": 1.0}, {"generator": norm}, {}) for line, norm in enumerate(norms, 1)]
    return [finding for findings in found for finding in findings]


def shown(pictures: PictureStore, times: int = 6, doctor: Doctor | None = None) -> list[Finding]:
    """All that is said where the samples look like that again and again, past the first steps of training."""
    doctor = doctor or Doctor()
    found = [doctor.pictures(at(1000 + 400 * time), pictures) for time in range(times)]
    return [finding for findings in found for finding in findings]


def names(findings: Iterable[Finding]) -> list[str]:
    return [finding.name for finding in findings]


def photos(count: int = 4, size: int = 128, seed: int = 0) -> Tensor:
    """Pictures with as much at every scale as photos have, (count, 3, size, size)."""
    random, images = torch.Generator().manual_seed(seed), torch.zeros(count, 3, size, size)
    for side in (2, 4, 8, 16, 32, size):
        detail = torch.randn(count, 3, side, side, generator=random)
        images += F.interpolate(detail, size=size, mode="bicubic") * 0.5 * side**-0.5
    return images.clamp(-1, 1)


def read(folder: str, count: int, size: int, box: tuple[int, int, int, int] = (0, 0, 256, 256)) -> Tensor:
    """The first photos of a folder of real data."""
    files = sorted((REAL / folder).iterdir())[:count]
    images = [
        Image.open(file).convert("RGB").crop(box).resize((size, size), Image.Resampling.BICUBIC) for file in files
    ]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]).float() / 127.5 - 1


def checks(size: int, period: int = 2) -> Tensor:
    """A checkerboard of -1 and 1 that repeats after `period` pixels."""
    line = (torch.arange(size) // (period // 2) % 2 * 2 - 1).float()
    return line * line[:, None]


# -- the side channel of a game ---------------------------------------------------------------------------------------


def mean_judge(images: Tensor, features: bool = False) -> Tensor:
    return images.flatten(1).mean(dim=1, keepdim=True)


def watched(real: Tensor, fake: Tensor, steps: Iterable[int] = (0,), **options: Any) -> AdversarialLoss:
    game = AdversarialLoss(AdversarialConfig(**{"gan_mode": "vanilla"} | options), (1,))
    for step in steps:
        game.discriminator(mean_judge, real, fake, step)
    return game


def images_of(*values: float) -> Tensor:
    """Images of one pixel, which `mean_judge` gives just such logits."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def test_what_is_observed_is_worked_out_by_hand() -> None:
    # 3 against 1, 0 against 0 (half), -1 against 2: 1.5 of 3 pairs; the six logits have mean 5/6
    state = watched(images_of(3, 0, -1), images_of(1, 0, 2)).read_statistics()
    assert state.separation == pytest.approx(0.5)
    assert state.spread == pytest.approx(float(np.std([3, 0, -1, 1, 0, 2])))
    loss = np.mean(np.logaddexp(0, [-3, 0, 1])) + np.mean(np.logaddexp(0, [1, 0, 2]))
    assert state.relative_loss == pytest.approx(loss / (2 * math.log(2)))


def test_logits_of_other_shapes_are_compared_each_with_each() -> None:
    # 3 is above 1, 2 and 4 but not 5; 0 is above none
    assert watched(images_of(4.5, 0), images_of(1, 2, 4, 5)).read_statistics().separation == pytest.approx(3 / 8)


@pytest.mark.parametrize(
    ("options", "best", "unsure"),
    [
        ({"gan_mode": "vanilla"}, (60.0, -60.0), (0.0, 0.0)),
        ({"gan_mode": "lsgan"}, (1.0, 0.0), (0.5, 0.5)),
        ({"gan_mode": "hinge"}, (1.0, -1.0), (0.0, 0.0)),
        ({"label_smoothing": 0.1, "label_smoothing_fake": 0.2}, (math.log(9), -math.log(4)), (math.log(11 / 9),) * 2),
        ({"gan_mode": "lsgan", "label_smoothing": 0.1}, (0.9, 0.0), (0.45, 0.45)),
    ],
)
def test_a_relative_loss_is_0_at_best_and_1_for_a_guess(
    options: dict[str, Any], best: tuple[float, float], unsure: tuple[float, float]
) -> None:
    for (real, fake), expected in ((best, 0.0), (unsure, 1.0)):
        found = watched(images_of(real), images_of(fake), **options).read_statistics().relative_loss
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("gan_mode", ["wgan", "wgangp", "relativistic", "relativistic_average"])
def test_objectives_without_a_boundary_have_no_relative_loss(gan_mode: str) -> None:
    state = watched(images_of(1, 1), images_of(0, 0), gan_mode=gan_mode, lambda_gp=0.0).read_statistics()
    assert state.relative_loss is None and state.separation == 1


def test_averages_move_and_what_is_not_finite_does_not_move_them() -> None:
    game = watched(images_of(1.0), images_of(0.0))
    assert game.read_statistics().separation == 1
    game.discriminator(mean_judge, images_of(math.nan), images_of(0.0), EVERY)
    game.discriminator(mean_judge, images_of(0.0), images_of(1.0), 1)  # not a step that is looked at
    assert game.read_statistics().separation == 1
    game.discriminator(mean_judge, images_of(0.0), images_of(1.0), EVERY)
    assert game.read_statistics().separation == pytest.approx(DECAY / (1 + DECAY))


def test_looking_on_changes_nothing() -> None:
    """The same losses, gradients and random state at steps that are looked at and at others."""
    image = torch.randn(2, 1, 4, 4)
    results = []
    for step in (0, 1):
        torch.manual_seed(0)
        judge = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
        game = AdversarialLoss(AdversarialConfig(instance_noise=0.1), (1,))
        real, fake, _ = game.discriminator(judge, image, -image, step)
        (real + fake).backward()
        gradients = [parameter.grad.tolist() for parameter in judge.parameters()]
        results.append((real.item(), fake.item(), gradients, torch.rand(()).item()))
        assert not game.state_dict()
    assert results[0] == results[1]


def test_a_game_goes_on_from_what_was_observed() -> None:
    straight = watched(images_of(2.0), images_of(0.5), (0, 8))
    resumed = watched(images_of(2.0), images_of(0.5))
    observations = resumed.statistics.state_dict()
    fresh = watched(images_of(2.0), images_of(0.5), ())
    assert math.isnan(fresh.read_statistics().separation)
    fresh.statistics.load_state_dict(observations)
    fresh.discriminator(mean_judge, images_of(2.0), images_of(0.5), 8)
    assert fresh.read_statistics() == straight.read_statistics()


# -- discriminators ---------------------------------------------------------------------------------------------------


def wandering(lines: int = 200) -> Iterator[DiscriminatorStatistics]:
    """A sound contest: now one side is ahead, now the other."""
    for line in range(lines):
        yield DiscriminatorStatistics(0.78 + 0.17 * math.sin(line / 5), 1.5, 0.6 - 0.3 * math.sin(line / 5))


def test_sound_contests_are_left_in_peace() -> None:
    assert contests(wandering()) == []
    assert (
        contests([DiscriminatorStatistics(1.0, 3.0, 0.01), *[HEALTHY] * 4] * 20) == []
    )  # won now and then, for a moment
    assert (
        contests([DiscriminatorStatistics(1.0, 2e-4, None)] * 50) == []
    )  # a critic is to tell all apart, on a scale of its own
    assert contests([DiscriminatorStatistics(0.5, 0.0, 1.0)] * 4) == []  # at the very beginning
    assert contests([DiscriminatorStatistics(math.nan, math.nan, math.nan)] * 50) == []


def test_a_discriminator_that_has_won_is_named_with_its_figures() -> None:
    (finding,) = contests([*wandering(20), *[DiscriminatorStatistics(0.998, 8.0, 0.004)] * 20])
    assert (finding.name, finding.severity, finding.figure) == ("discriminator_won", "alarm", 0.998)
    assert "99.8%" in finding.message and "0.4%" in finding.message and "--lr_D" in finding.advice


def test_a_discriminator_that_has_died_gives_one_answer() -> None:
    (finding,) = contests([*wandering(20), *[DiscriminatorStatistics(0.5, 1e-5, 1.0)] * 20])
    assert (finding.name, finding.severity) == ("discriminator_died", "alarm")
    (finding,) = contests([DiscriminatorStatistics(1.0, 1e-8, None)] * 20)  # a critic
    assert finding.name == "discriminator_died"


def test_a_discriminator_that_has_never_told_anything_is_given_time() -> None:
    guessing = [DiscriminatorStatistics(0.5 + 0.05 * math.sin(line), 0.2, 0.999) for line in range(40)]
    assert contests(guessing[:20]) == []
    (finding,) = contests(guessing)
    assert (finding.name, finding.severity) == ("discriminator_died", "warning")
    assert finding.figure == pytest.approx(0.55, abs=0.001) and "never" in finding.message and "55%" in finding.message


def test_a_discriminator_whose_generator_has_caught_up_is_left_in_peace() -> None:
    assert contests([*wandering(3), *[DiscriminatorStatistics(0.501, 0.2, 0.999)] * 100]) == []
    assert contests([DiscriminatorStatistics(0.5, 0.2, None)] * 100) == []  # of critics it says nothing


def test_each_discriminator_is_judged_by_itself() -> None:
    signs = contest_signs({"adversarial_a": HEALTHY, "adversarial_b": DiscriminatorStatistics(1.0, 9.0, 0.0)})
    (said,) = [sign.finding.message for sign in signs if sign.present]
    assert said.startswith("The discriminator of B has won")


# -- gradients and losses ---------------------------------------------------------------------------------------------


def test_gradients_explode_where_they_stay_far_above_their_median() -> None:
    usual = [5 * 10 ** math.sin(line) for line in range(60)]  # from 0.5 to 50
    assert gradients(usual) == []
    assert gradients([*usual, 4000, *usual, 9000, 4000, *usual]) == []  # spikes
    (finding,) = gradients([*usual, 2e3, 4e3, 8e3])
    assert (finding.name, finding.severity, finding.figure) == ("exploding_gradients", "alarm", 8e3)
    assert "8e+03" in finding.message and "--clip_grad" in finding.advice


def test_gradients_explode_from_the_start_and_beyond_all_bounds() -> None:
    assert names(gradients([1e7, 1e8, 1e9])) == ["exploding_gradients"]
    assert names(gradients([math.nan, math.inf, math.nan])) == ["exploding_gradients"]
    assert gradients([1e-6] * 20 + [1e-3] * 5) == []  # a thousand times nothing is nothing


def test_losses_that_are_not_finite_are_named() -> None:
    finding = not_finite(["G_L1", "D"], 317)
    assert (finding.name, finding.severity, finding.figure) == ("not_finite", "alarm", 317.0)
    assert "G_L1, D" in finding.message and "317" in finding.message and "--on_nan" in finding.advice


# -- pictures ---------------------------------------------------------------------------------------------------------


def paired(fake: Tensor, inputs: Tensor | None = None, truth: Tensor | None = None) -> PictureStore:
    real = photos(seed=1) if inputs is None else inputs
    return {"real_A": real, "fake_B": fake, "real_B": photos(seed=2) if truth is None else truth}


def unpaired(fake_b: Tensor, fake_a: Tensor | None = None) -> PictureStore:
    a, b = photos(seed=1), photos(seed=2)
    return {
        "real_A": a,
        "fake_B": fake_b,
        "rec_A": a,
        "real_B": b,
        "fake_A": b if fake_a is None else fake_a,
        "rec_B": b,
    }


A, B = photos(seed=1), photos(seed=2)
ONE = B[:1].expand(4, -1, -1, -1)
DISC = (torch.linspace(-1, 1, 128).square() + torch.linspace(-1, 1, 128).square()[:, None] < 0.5).float() - 0.5
BOARD, NOISE = checks(128), torch.randn(B.shape, generator=torch.Generator().manual_seed(0))
PICTURE_FAULTS: dict[str, tuple[PictureStore, list[str]]] = {
    "black": (paired(torch.full_like(B, -1)), ["blank"]),
    "grey with a grain": (unpaired(0.01 * NOISE), ["blank"]),
    "one image": (paired(ONE + 0.02 * NOISE), ["collapse"]),
    "one image, unpaired": (unpaired(ONE), ["collapse"]),
    "both directions": (unpaired(ONE, A[:1].expand(4, -1, -1, -1)), ["collapse", "collapse"]),
    "light for dark": (unpaired(-0.7 * A), ["inversion"]),
    "light for dark, paired": (paired(-A, truth=0.3 * A + B), ["inversion"]),
    "period 2": (paired(B + 0.03 * BOARD), ["checkerboard"]),
    "period 4": (unpaired(A + 0.03 * checks(128, 4)), ["checkerboard"]),
    "where it is light": (paired(B + 0.06 * BOARD * (A > 0)), ["checkerboard"]),
    "columns": (paired(B + 0.03 * BOARD[0]), ["checkerboard"]),
    "one digit": ({"3": photos(8, 28)[:1, :1].expand(8, -1, -1, -1), "4": photos(8, 28)[:, :1]}, ["collapse"]),
    "checks": ({str(seed): photos(8, 64, seed)[:, :1] + 0.03 * checks(64) for seed in (3, 4)}, ["checkerboard"]),
    "black digits": ({"3": torch.full((8, 1, 28, 28), -1.0), "4": torch.full((8, 1, 28, 28), -1.0)}, ["blank"]),
}
SOUND_PICTURES: dict[str, PictureStore] = {
    "the truth": paired(B),
    "blurred": paired(gaussian_blur(B, 7)),
    "noisy": unpaired(A + 0.2 * NOISE, B + 0.2 * NOISE),
    "grey": unpaired(A.mean(dim=1, keepdim=True)),
    "the truth is the negative": paired(-A, truth=-A),
    "the truth is hardly the negative": paired(-A, truth=B - 0.15 * A),
    "opposed sets": {
        "real_A": DISC + 0.3 * A,
        "fake_B": -DISC - 0.3 * A,
        "rec_A": DISC + 0.3 * A,
        "real_B": 0.3 * B - DISC,
    },
    "textures of a class": {"grass": torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.1},
    "the truth is black": paired(torch.full_like(B, -1), truth=torch.full_like(B, -1)),
    "a single sample": paired(B[:1], A[:1], B[:1]),
    "samples that are all alike": paired(ONE, A[:1].expand(4, -1, -1, -1), ONE),
    "checked inputs": paired(B + 0.03 * BOARD, A + 0.03 * BOARD),
    "stripes": paired(
        B + 0.5 * (torch.arange(128) % 9 < 4).float() - 0.3 * (torch.arange(128)[:, None] % 7 < 3).float()
    ),
    "no inputs of b": {name: images for name, images in unpaired(A).items() if name in ("real_A", "fake_B", "rec_A")},
    "two conditions side by side": paired(B, torch.cat([A, A], dim=3)),
    "digits": {str(digit): photos(8, 28, seed=digit)[:, :1] for digit in range(10)},
    "small": paired(B[..., :16, :16], A[..., :16, :16], B[..., :16, :16]),
}


@pytest.mark.parametrize("fault", PICTURE_FAULTS)
def test_a_fault_in_the_pictures_gives_its_finding_and_no_other(fault: str) -> None:
    pictures, expected = PICTURE_FAULTS[fault]
    assert names(shown(pictures)) == expected


@pytest.mark.parametrize("kind", SOUND_PICTURES)
def test_sound_pictures_are_left_in_peace(kind: str) -> None:
    assert shown(SOUND_PICTURES[kind]) == []


def test_an_untrained_generator_is_given_time() -> None:
    doctor = Doctor()
    blank = paired(torch.zeros_like(B))
    assert [doctor.pictures(at(step), blank) for step in range(0, 500, 100)] == [[]] * 5


def test_figures_are_kept_for_the_log() -> None:
    doctor = Doctor()
    shown(unpaired(-A, B + 0.05 * BOARD), doctor=doctor)
    contests([HEALTHY], doctor=doctor)
    figures = doctor.figures
    assert {"doctor_separation", "doctor_spread", "doctor_relative_loss"} <= figures.keys()
    assert figures["doctor_correlation_fake_B"] == pytest.approx(-1)
    assert figures["doctor_diversity_fake_B"] == pytest.approx(1, abs=0.25)
    assert figures["doctor_checkerboard_fake_A"] > 10 > 2 > figures["doctor_checkerboard_fake_B"]


def test_pictures_are_not_looked_at_every_few_steps() -> None:
    doctor = Doctor()
    doctor.pictures(at(1000), paired(B))
    before = doctor.figures
    doctor.pictures(at(1099), paired(A))
    assert doctor.figures == before
    doctor.pictures(at(1100), paired(A))
    assert doctor.figures != before


def test_the_amplitude_of_a_pattern_is_measured() -> None:
    smooth = torch.zeros(4, 3, 128, 128)
    assert pattern(smooth + 0.03 * BOARD)[1] == pytest.approx(0.03, rel=1e-3)
    assert all(map(math.isnan, pattern(smooth[..., :31])))


@pytest.mark.parametrize(("upsample", "expected"), [("deconv", True), ("nearest", False), ("pixelshuffle", False)])
def test_untrained_generators_show_a_checkerboard_where_they_are_known_for_it(upsample: str, expected: bool) -> None:
    torch.manual_seed(0)
    generator = tiny.cyclegan(upsample=upsample, generator_filters=8).generator_a_to_b
    with torch.no_grad():
        strength, _ = pattern(generator(photos()))
    assert (strength > 4) == expected


@needs_data
@pytest.mark.parametrize("size", [64, 128, 256])
def test_real_photos_are_left_in_peace(size: int) -> None:
    horses, zebras = (read(f"horse2zebra/test{domain}", 8, size) for domain in "AB")
    photo, label = (read("facades/val", 8, size, box) for box in ((0, 0, 256, 256), (256, 0, 512, 256)))
    for first in (0, 4):
        part = slice(first, first + 4)
        there, back = gaussian_blur(horses[part], 5), zebras[part] + 0.05 * torch.randn_like(zebras[part])
        cycle = {"real_A": horses[part], "fake_B": there, "rec_A": there}
        assert shown(cycle | {"real_B": zebras[part], "fake_A": back, "rec_B": back}) == []
        assert shown(paired(gaussian_blur(photo[part], 5), label[part], photo[part])) == []


# -- validations ------------------------------------------------------------------------------------------------------


def validations(values: Iterable[tuple[float, float]], metric: str = "l1") -> list[Finding]:
    """All that is said where such values come from held-out and from training images."""
    doctor = Doctor()
    found = [doctor.validated(at(100 * i), {metric: v}, {metric: t}, None) for i, (v, t) in enumerate(values)]
    return [finding for findings in found for finding in findings]


def test_overfitting_is_held_out_images_getting_worse_while_training_images_get_better() -> None:
    learning = [(0.30, 0.30), (0.25, 0.24), (0.22, 0.20), (0.21, 0.18)]
    apart = [(0.225, 0.15), (0.23, 0.13), (0.24, 0.12), (0.25, 0.11)]
    (finding,) = validations(learning + apart)
    assert (finding.name, finding.severity) == ("overfitting", "warning")
    assert finding.figure == pytest.approx(0.12) and "L1 0.24 after 0.21" in finding.message
    (finding,) = validations([(1 / v, 1 / t) for v, t in learning + apart], "psnr")  # more is better
    assert finding.name == "overfitting"


def test_validations_that_waver_or_get_worse_on_both_sides_are_left_in_peace() -> None:
    random = np.random.default_rng(0).normal(0, 0.02, (200, 2))
    assert validations([(0.21 * (1 + v), 0.15 * (1 + t)) for v, t in random]) == []
    assert validations([(0.2, 0.15), *[(0.25, 0.2)] * 10]) == []
    assert validations([(0.2 - 0.001 * i, 0.15 - 0.005 * i) for i in range(20)]) == []
    assert validations([(0.03, 0.03), *[(0.027, 0.035)] * 10], "ssim") == []  # next to nothing
    assert validations([(math.nan, 1.0), (math.inf, 1.0)] * 10, "psnr") == []


def thumbnails(outputs: Tensor, truths: Tensor, training: Tensor) -> Any:
    return SimpleNamespace(outputs=outputs, truths=truths, training=training)


def remembered(outputs: Tensor, truths: Tensor, training: Tensor) -> list[str]:
    doctor = Doctor()
    small = thumbnails(outputs, truths, training)
    return names(finding for step in range(5) for finding in doctor.validated(at(step), {}, {}, small))


def test_outputs_that_are_training_images_are_noticed() -> None:
    training, held_out = photos(60, 32, seed=3), photos(20, 32, seed=4)
    copies = training[:20].roll(1, dims=3) + 0.05 * photos(20, 32, seed=5)
    assert remembered(copies, held_out, training) == ["memorised"]
    signs, figures = memory_signs(thumbnails(torch.cat([copies[:10], held_out[:10]]), held_out, training))
    assert signs[0].present and figures == {"memorised": 0.5}
    assert "50% of the outputs" in signs[0].finding.message


def test_what_most_images_are_like_is_no_copy_of_them() -> None:
    """Masks of which four in ten are empty: empty outputs are a poor generator's, not a training image."""
    random = np.random.default_rng(0)

    def masks(count: int) -> Tensor:
        found = torch.full((count, 3, 32, 32), -1.0)
        for mask in found[: count * 6 // 10]:
            row, column, height, width = (*random.integers(0, 24, 2), *random.integers(2, 8, 2))
            mask[:, row : row + height, column : column + width] = 1
        return found

    training, held_out = masks(200), masks(40)
    assert remembered(torch.full_like(held_out, -1), held_out, training) == []
    assert remembered(masks(40), held_out, training) == []


@needs_data
def test_outputs_that_are_like_real_ones_are_left_in_peace() -> None:
    for train_folder, test_folder in (("horse2zebra/trainB", "horse2zebra/testB"), ("facades/train", "facades/val")):
        training, held_out = read(train_folder, 160, 32), read(test_folder, 30, 32)
        mean = training.mean(dim=0, keepdim=True).expand(30, -1, -1, -1)
        for outputs in (held_out, gaussian_blur(held_out, 5), 0.5 * (held_out + mean), mean):
            assert remembered(outputs, held_out, training) == []
        assert remembered(training[:30], held_out, training) == ["memorised"]


# -- when things are said ---------------------------------------------------------------------------------------------


def test_a_finding_is_made_as_it_begins_and_again_after_it_went_away_or_much_later() -> None:
    won = DiscriminatorStatistics(1.0, 9.0, 0.0)
    assert len(contests([HEALTHY] * 10 + [won] * 80)) == 1  # up to ten times the images
    assert len(contests([HEALTHY] * 10 + [won] * 200)) == 2
    assert len(contests([HEALTHY] * 10 + [won] * 20 + [HEALTHY] * 20 + [won] * 20)) == 2
    assert len(contests([HEALTHY] * 10 + [won] * 20 + [HEALTHY] + [won] * 20)) == 1  # away for a moment


def test_many_lines_of_the_log_within_a_few_steps_prove_nothing() -> None:
    won = DiscriminatorStatistics(1.0, 9.0, 0.0)
    assert contests([won] * 600, every=1, doctor=Doctor()) == []  # 100 steps after the first 500
    assert names(contests([won] * 800, every=1, doctor=Doctor())) == ["discriminator_won"]


def all_events(doctor: Doctor, first: int, last: int) -> list[tuple[int, list[str]]]:
    """What is said between two lines of the log of a run in which everything goes wrong by and by."""
    said = []
    for line in range(first, last):
        progress, late = at(100 * line), line > 20
        norms = {"generator": 1e4 if late else 1.0 + line % 3}
        found = doctor.losses(
            progress, {}, norms, {"adversarial": DiscriminatorStatistics(1.0, 9.0, 0.0) if late else HEALTHY}
        )
        small, alike = photos(size=64), photos(1, 64).expand(4, -1, -1, -1)
        pictures = paired(alike if late else small, small, small)
        found += doctor.pictures(progress, pictures) if line % 2 else []
        value = 0.2 + 0.01 * abs(line - 15)
        found += doctor.validated(progress, {"l1": value}, {"l1": 0.2 - 0.005 * line}, None) if line % 3 == 0 else []
        said.append((line, names(found)))
    return said


@pytest.mark.parametrize("cut", [5, 16, 22, 23, 24, 26])
def test_a_resumed_run_says_the_same_as_a_straight_one(cut: int) -> None:
    straight, before, after = Doctor(), Doctor(), Doctor()
    expected = all_events(straight, 1, 35)
    said = all_events(before, 1, cut)
    after.load_state_dict(torch.load(stored(before.state_dict()), weights_only=True))
    assert said + all_events(after, cut, 35) == expected and after.figures == straight.figures
    assert {name for _, found in expected for name in found} == {
        *("exploding_gradients", "discriminator_won", "collapse", "overfitting")
    }


def stored(state: dict[str, Any]) -> Any:
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_every_flag_that_is_advised_exists() -> None:
    configs: list[Any] = [*(model.Config for model in MODELS.values()), DataConfig, TrainConfig, ValidationConfig]
    configs += [AccelerationConfig, RunConfig, translation.TestConfig]
    options = {field.name for config in configs for field in dataclasses.fields(config)}
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (Path(__file__).parents[1] / "i2i" / "watch" / "doctor").glob("*.py")
    )
    advised = set(re.findall(r"--(\w+)", code))
    assert len(advised) > 15 and advised <= options
    assert {"color", "translation", "cutout"} <= set(AUGMENTATIONS) and "stddev" in MINIBATCH
