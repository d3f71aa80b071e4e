"""Optimisers by name, warm-up, starting from weights, and frozen parts."""

from __future__ import annotations

import copy
import html
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import train
from i2i.errors import UserError
from i2i.networks.reference_weights import Architecture, build, save_reference
from i2i.training import Trainer
from i2i.training.config import TrainConfig
from i2i.training.optimizers import OPTIMIZERS
from i2i.training.start import freeze, load_fitting_weights
from tests import tiny

KINDS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_trains_and_resumes_exactly(name: str) -> None:
    torch.manual_seed(0)
    straight = tiny.trainer(tiny.pix2pix(), optimizer=name, weight_decay=0.01, lr=1e-3, options={"optimizer": name})
    assert type(straight.players.optimizers["generator"]) is KINDS[name]
    straight.train_step()
    saved = copy.deepcopy(straight.state_dict())
    resumed = tiny.trainer(tiny.pix2pix(), optimizer=name, weight_decay=0.01, lr=1e-3)
    resumed.load_state_dict(saved)
    before = weights(resumed)
    for trainer in (straight, resumed):
        trainer.train_step()
    assert all(torch.equal(value, weights(resumed)[key]) for key, value in weights(straight).items())
    assert any(not torch.equal(value, before[key]) for key, value in weights(resumed).items())


def test_a_discriminator_may_have_its_own_optimiser() -> None:
    trainer = tiny.trainer(tiny.cyclegan(), optimizer="adamw", optimizer_D="rmsprop")
    kinds = {player: type(optimizer) for player, optimizer in trainer.players.optimizers.items()}
    assert kinds == {"generator": torch.optim.AdamW, "discriminator": torch.optim.RMSprop}


def test_another_optimiser_than_the_saved_one_starts_without_moments() -> None:
    saved = tiny.trainer(tiny.pix2pix(), options={"optimizer": "adam"})
    saved.train_step()
    trainer = tiny.trainer(tiny.pix2pix(), optimizer="sgd")
    trainer.load_state_dict(saved.state_dict())
    assert not trainer.players.optimizers["generator"].state
    trainer.train_step()


def test_an_optimiser_from_outside_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def sign_descent(parameters: Any, lr: float, *_: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr, momentum=0.0)

    monkeypatch.setitem(OPTIMIZERS, "sign", sign_descent)
    assert tiny.trainer(tiny.pix2pix(), optimizer="adam").players.optimizers  # the registry is read when it is used


def test_the_rate_rises_over_the_warm_up() -> None:
    trainer = tiny.trainer(tiny.pix2pix(), lr=1.0e-3, lr_policy="constant", warmup_steps=4)
    rates = []
    for _ in range(6):
        trainer.train_step()
        rates.append(trainer.players.optimizers["generator"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3])
    assert TrainConfig(lr_policy="plateau", warmup_steps=2, lr=1.0).learning_rate("generator", 0, 0) == 0.5


# --- Weights to start from.


def run_of(folder: Path, **options: Any) -> Trainer:
    torch.manual_seed(1)
    trainer = tiny.trainer(tiny.pix2pix(), folder=folder, **options)
    trainer.train_step()
    folder.mkdir(parents=True)
    trainer.save()
    return trainer


@pytest.mark.parametrize("how", ["folder", "name", "file"])
def test_a_run_gives_its_weights_to_another(how: str, tmp_path: Path) -> None:
    trained = run_of(tmp_path / "runs" / "first")
    torch.manual_seed(2)
    model = tiny.pix2pix()
    path = tmp_path / "runs" / "first"
    where = {"folder": str(path), "name": "first", "file": str(path / "latest.pt")}[how]
    loaded = load_fitting_weights(model, where, str(tmp_path / "runs"))
    assert loaded.missing == () and loaded.loaded == len(list(model.parameters()))
    assert all(torch.equal(value, trained.model.state_dict()[name]) for name, value in model.named_parameters())


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    trained = run_of(tmp_path / "run", ema=0.5)
    model = tiny.pix2pix()
    load_fitting_weights(model, str(tmp_path / "run"), "")
    assert trained.players.average is not None
    shadow = trained.players.average.shadow
    assert all(torch.equal(value, shadow[f"generator.{name}"]) for name, value in model.generator.named_parameters())


def test_what_does_not_fit_is_named_and_starts_anew(tmp_path: Path) -> None:
    run_of(tmp_path / "run")
    other = tiny.pix2pix(discriminator_filters=6)
    loaded = load_fitting_weights(other, str(tmp_path / "run"), "")
    assert loaded.missing and all(name.startswith("discriminator.") for name in loaded.missing)
    assert loaded.missing[0] in str(loaded)
    with pytest.raises(UserError, match="--init_from"):
        load_fitting_weights(tiny.cyclegan(generator_filters=5), str(tmp_path / "run"), "")
    with pytest.raises(UserError, match="--init_from nowhere"):
        load_fitting_weights(other, "nowhere", str(tmp_path))


def test_a_generator_of_the_reference_is_a_start(tmp_path: Path) -> None:
    small = Architecture("generator", "resnet_6blocks", dict(in_channels=3, out_channels=3, filters=4, norm="instance"))
    network = build(small)
    for name in ("G", "G_B"):
        save_reference(tmp_path, "latest", name, network.state_dict(), small)
    model = tiny.cyclegan(generator="resnet_6blocks", num_blocks=None)
    loaded = load_fitting_weights(model, str(tmp_path / "latest_net_G_B.pth"), "")
    assert all(name.split(".")[0] != "generator_b_to_a" for name in loaded.missing)
    for name, value in network.named_parameters():
        assert torch.equal(model.generator_b_to_a.state_dict()[name], value)
    single = tiny.pix2pix(generator="resnet_6blocks", num_downs=None, norm="instance")
    load_fitting_weights(single, str(tmp_path / "latest_net_G.pth"), "")
    assert all(torch.equal(single.generator.state_dict()[name], value) for name, value in network.named_parameters())


# --- Frozen parts.


def moved(model: Any, parts: list[str]) -> set[str]:
    """The networks and layers whose weights a step moves, by the first two parts of their names."""
    freeze(model, parts)
    trainer = tiny.trainer(model, lr=0.1)
    before = weights(trainer)
    trainer.train_step()
    after = weights(trainer)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_layers_of_a_discriminator_are_frozen_as_freezed_does() -> None:
    model = tiny.pix2pix(discriminator="n_layers", n_layers_D=1)
    found = moved(model, ["discriminator.0"])
    assert not any(name.startswith("discriminator.layers.0.") for name in found)
    assert any(name.startswith("discriminator.layers.1.") for name in found)
    assert any(name.startswith("generator.") for name in found)


@pytest.mark.parametrize(
    ("parts", "frozen"),
    [
        (["generator.encoder"], "generator.down."),
        (["generator.down.1"], "generator.down.1."),
        (["generator.0-1"], "generator.down."),
    ],
)
def test_parts_of_a_generator_are_frozen(parts: list[str], frozen: str) -> None:
    model = tiny.pix2pix(num_downs=2)
    found = moved(model, parts)
    assert found and not any(name.startswith(frozen) for name in found)


def test_one_generator_of_a_cyclegan_is_frozen() -> None:
    found = moved(tiny.cyclegan(), ["generator_a_to_b"])
    assert {name.split(".")[0] for name in found} == {"generator_b_to_a", "discriminator_a", "discriminator_b"}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("judge", "--freeze judge.*discriminator"),
        ("generator.encodr", "--freeze generator.encodr.*down"),
        ("discriminator.7", "--freeze discriminator.7.*from 0 to"),
        ("generator", "--freeze generator: the generator has nothing left"),
    ],
)
def test_parts_that_there_are_not(part: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        freeze(tiny.pix2pix(), [part])


def test_a_frozen_run_resumes_exactly(tmp_path: Path) -> None:
    def made() -> Trainer:
        torch.manual_seed(0)
        model = tiny.pix2pix()
        freeze(model, ["generator.encoder"])
        return tiny.trainer(model)

    straight, resumed = made(), made()
    straight.train_step()
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for trainer in (straight, resumed):
        trainer.train_step()
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(straight).items())
    thawed = tiny.trainer(tiny.pix2pix())
    with pytest.raises(UserError, match="--freeze"):
        thawed.load_state_dict(straight.state_dict())


def test_a_run_from_weights_with_frozen_parts_says_so_in_its_record_and_report(tmp_path: Path) -> None:
    data = tiny.write_pairs(tmp_path / "data", 4)
    common = "--model pix2pix --netG unet --num_downs 2 --netD pixel --ngf 2 --ndf 2 --load_size 16 --crop_size 16"
    common += f" --num_threads 0 --device cpu --n_epochs 1 --n_epochs_decay 0 --checkpoints_dir {tmp_path}"
    words = [*common.split(), "--dataroot", str(data)]
    assert train.main([*words, "--name", "first"]) == 0
    tuned = ["--name", "tuned", "--init_from", "first", "--freeze", "generator.encoder"]
    assert train.main([*words, *tuned]) == 0
    first, second = (torch.load(tmp_path / name / "latest.pt", weights_only=True) for name in ("first", "tuned"))
    kept = {name for name, value in first["model"].items() if torch.equal(value, second["model"][name])}
    assert {"generator.down.0.conv.weight", "generator.down.1.conv.weight"} <= kept
    assert "generator.head.conv.weight" not in kept
    assert second["options"]["init_from"] == "first" and second["options"]["freeze"] == ["generator.encoder"]
    notes = json.loads((tmp_path / "tuned" / "run.json").read_text())["notes"]
    page = html.unescape((tmp_path / "tuned" / "report.html").read_text())
    assert len(notes) >= 2 and all(note in page for note in notes)
    assert (
        train.main(["--name", "tuned", "--checkpoints_dir", str(tmp_path), "--continue_train", "--n_epochs", "2"]) == 0
    )
    third = torch.load(tmp_path / "tuned" / "latest.pt", weights_only=True)
    assert all(torch.equal(third["model"][name], first["model"][name]) for name in kept if ".down." in name)
