"""Whole training steps: their order, what they keep in memory, and steps that are left out."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.models import GanModel, Phase
from i2i.training import Trainer
from tests import tiny
from tests.live_bytes import LiveBytes

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import textbook  # noqa: E402

# Buffers and draws of every kind: BatchNorm, dropout, spectral norm, noise.
RESNET: dict[str, Any] = {"generator": "resnet", "num_blocks": 1, "num_downs": None}  # small U-Nets have no dropout
MODELS: dict[str, Callable[[], GanModel]] = {
    "pix2pix": lambda: tiny.pix2pix(**RESNET, norm="batch", dropout=True, d_steps=2),
    "pix2pix, spectral": lambda: tiny.pix2pix(**RESNET, norm="batch", dropout=True, spectral_norm="both"),
    "cyclegan": lambda: tiny.cyclegan(norm="batch", dropout=True, pool_size=3),
    "cgan": lambda: tiny.cgan(conditioning="cbn", ada=0.6, d_steps=2),
    "stylegan": lambda: tiny.cgan(generator="stylegan", gan_mode="vanilla", lambda_r1=1.0),
}


def built(name: str, **options: Any) -> Trainer:
    torch.manual_seed(0)
    return tiny.trainer(MODELS[name]().double(), n_epochs=100, **options)


def same(one: Any, other: Any) -> bool:
    """Whether nested containers hold equal values."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


# The order of a step


def test_cyclegan_with_batch_norm_calls_its_networks_in_the_reference_s_order() -> None:
    model = tiny.cyclegan(norm="batch", generator="resnet", discriminator="n_layers", n_layers_D=2).double()
    trainer = tiny.trainer(model, lr=0.01)
    theirs = textbook.CycleGAN(lambda: nn.Identity(), 2, lr=0.01)
    ours = {name: model.get_submodule(own) for name, own in model.reference_names.items()}
    theirs.networks = {name: copy.deepcopy(network) for name, network in ours.items()}
    theirs.start()
    stream = tiny.RandomStream(model)
    for _ in range(4):
        batch = stream()
        trainer.train_step()
        theirs.step(batch.image("a"), batch.image("b"))
    for name, network in ours.items():
        final = network.state_dict()
        assert any("running_var" in key for key in final)
        for key, expected in theirs.networks[name].state_dict().items():
            torch.testing.assert_close(final[key], expected, rtol=1e-9, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}")


# Accumulation


@pytest.mark.parametrize("name", MODELS)
def test_a_step_over_several_batches_is_that_of_one_forward_pass(name: str) -> None:
    """Passes that are made twice draw the same, and move buffers once."""
    states = []
    for twice in (False, True):
        trainer = built(name, accumulate=3, ema=0.9)
        assert trainer.model.accumulates
        trainer.model.accumulates = twice
        for _ in range(2):
            trainer.train_step()
        states.append(trainer.state_dict())
    kept, repeated = states
    assert torch.equal(kept["random"]["torch"], repeated["random"]["torch"])
    for part in ("model", "ema", "optimizers"):
        for ours, theirs in zip(tensors(repeated[part]), tensors(kept[part]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)


WIDE: dict[str, Callable[[], GanModel]] = {
    "pix2pix": lambda: tiny.pix2pix(generator_filters=16, discriminator_filters=8, norm="batch", dropout=True),
    "cyclegan": lambda: tiny.cyclegan(generator_filters=16, discriminator_filters=8),
    "cgan": lambda: tiny.cgan(generator_filters=16, discriminator_filters=8),
}


def activations(name: str, parts: int) -> int:
    """The bytes that a step of `parts` batches needs at most, beside weights, moments, gradients and batches."""
    torch.manual_seed(0)
    trainer = tiny.trainer(WIDE[name](), batch_size=8, epoch=640, accumulate=parts, n_epochs=100)
    for _ in range(2):  # moments are made in the first; the pool is as good as full
        trainer.train_step()
    batches = [trainer.stream() for _ in range(parts * trainer.model.config.d_steps)]
    trainer.stream = Kept(batches, trainer.stream)  # type: ignore[assignment]
    with LiveBytes() as live:
        trainer.train_step()
    gradients = sum(parameter.nbytes for parameter in trainer.model.parameters())
    return live.peak - gradients


class Kept:
    """Batches that are there already, in turn."""

    def __init__(self, batches: list, stream: Any) -> None:
        self.batches, self.stream = list(batches), stream
        self.position, self.waited, self.device, self.batch_size = stream.position, 0.0, stream.device, 8

    def __len__(self) -> int:
        return len(self.stream)

    def __call__(self) -> Any:
        return self.batches.pop(0)


@pytest.mark.parametrize("name", WIDE)
def test_parts_of_a_step_need_the_memory_of_one(name: str) -> None:
    assert activations(name, 8) <= 1.25 * activations(name, 1)


UNET: dict[str, Any] = {"num_downs": 2, "generator_filters": 4, "norm": "batch"}
PLAIN: dict[str, Callable[[], GanModel]] = {
    "pix2pix": lambda: tiny.pix2pix(**UNET, d_steps=2),
    "pix2pix, spectral": lambda: tiny.pix2pix(**UNET, spectral_norm="both"),
    "cgan": lambda: tiny.cgan(d_steps=2),
}


@pytest.mark.parametrize("name", PLAIN)
def test_parts_leave_nothing_in_memory_for_the_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither losses nor generated images nor graphs; without a gradient there is nothing else that may add up."""
    monkeypatch.setitem(WIDE, name, PLAIN[name])
    assert activations(name, 8) <= 1.1 * activations(name, 2)  # the noise of each part is kept


def test_losses_that_wait_for_the_log_hold_their_own_bytes_alone() -> None:
    """The mean of torch's squared error lies in memory as large as the map that it is of."""
    trainer = tiny.trainer(tiny.cyclegan(), accumulate=2)
    parts = [trainer.model.training_step(trainer.stream, 0) for _ in range(2)]
    values: dict[str, list[Tensor]] = {}
    while trainer._run_phase(parts, values) is not None:
        pass
    for many in values.values():
        assert all(value.untyped_storage().nbytes() == value.nbytes for value in many)


# Steps that are left out


class Spoiled:
    """Makes the losses of one phase of one step not finite."""

    def __init__(self, model: GanModel, step: int, phase: int) -> None:
        self.at, self.phase, self.training_step = step, phase, model.training_step

    def __call__(self, next_batch: Any, step: int) -> Iterator[Phase]:
        for number, phase in enumerate(self.training_step(next_batch, step)):
            if (step, number) == (self.at, self.phase):
                losses = {name: value * float("nan") for name, value in phase.losses.items()}
                phase = phase._replace(losses=losses)
            yield phase


def phases(name: str) -> int:
    trainer = built(name)
    return len([None for phase in trainer.model.training_step(trainer.stream, 0)])


CASES = [(name, phase) for name in MODELS for phase in range(phases(name))]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("name", "phase"), CASES)
def test_a_skipped_step_leaves_nothing_behind(name: str, phase: int, accumulate: int) -> None:
    trainer = built(name, on_nan="skip", ema=0.9, accumulate=accumulate)
    trainer.model.training_step = Spoiled(trainer.model, 2, phase)  # type: ignore[method-assign]
    for _ in range(2):
        trainer.train_step()
    before = copy.deepcopy(trainer.state_dict())
    trainer.train_step()
    after = trainer.state_dict()
    assert after["skipped"]["skipped"] == 1
    for part in ("model", "ema", "optimizers", "norms", "statistics", "history"):
        assert same(before[part], after[part]), part
    trainer.train_step()
    assert not same(before["model"], trainer.state_dict()["model"])


def test_a_step_that_is_skipped_at_the_very_start_leaves_no_moments() -> None:
    trainer = built("cyclegan", on_nan="skip", ema=0.9)
    last = phases("cyclegan") - 1
    trainer.model.training_step = Spoiled(trainer.model, 0, last)  # type: ignore[method-assign]
    before = copy.deepcopy(trainer.state_dict())
    trainer.train_step()
    after = trainer.state_dict()
    assert all(same(before[part], after[part]) for part in ("model", "ema", "optimizers", "norms", "statistics"))


def test_after_a_skipped_step_training_goes_on_as_if_its_batch_had_not_been_there() -> None:
    ends = []
    for spoiled in (False, True):
        torch.manual_seed(0)
        trainer = tiny.trainer(tiny.cyclegan(pool_size=0), on_nan="skip", n_epochs=100)
        trainer.train_step()
        if spoiled:
            trainer.model.training_step = Spoiled(trainer.model, 1, 4)  # type: ignore[method-assign]
            trainer.train_step()
        else:
            trainer.stream.seek(trainer.stream.position + trainer.stream.batch_size)
        trainer.train_step()
        ends.append(trainer.state_dict())
    assert ends[1]["skipped"]["skipped"] == 1
    assert same(ends[0]["model"], ends[1]["model"]) and same(ends[0]["optimizers"], ends[1]["optimizers"])
