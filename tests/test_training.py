"""The trainer: accumulation, precision, clipping, averages, schedules, frequencies, divergence."""

import copy
import json
import math
from typing import Any

import pytest
import torch

from i2i.acceleration import Choices
from i2i.data import Batch
from i2i.random_state import random_states, restore_random_states
from i2i.training import Diverged, TrainConfig, Trainer
from i2i.training.averaging import MovingAverage
from i2i.training.history import LossHistory
from i2i.training.schedules import SCHEDULES
from i2i.watch.boards import Boards, Progress
from tests import tiny


class Recorder:
    """A board that remembers."""

    def __init__(self) -> None:
        self.numbers: list[tuple[Progress, dict]] = []
        self.pictures: list[tuple[Progress, dict]] = []
        self.closed = False

    def scalars(self, progress: Progress, values: dict) -> None:
        self.numbers.append((progress, values))

    def images(self, progress: Progress, pictures: dict) -> None:
        self.pictures.append((progress, pictures))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan", "hinge", "wgan", "wgangp"])
def test_every_objective_trains_in_half_precision(name: str, gan_mode: str) -> None:
    torch.manual_seed(0)
    trainer = tiny.trainer(tiny.MODELS[name](gan_mode=gan_mode), acceleration=Choices("bf16"))
    for _ in range(2):
        trainer.train_step()
    assert all(math.isfinite(value) for value in trainer.history.means().values())
    trainer.save()  # checks the weights


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_accumulating_four_batches_of_one_equals_a_batch_of_four(name: str) -> None:
    torch.manual_seed(0)
    options = {"norm": "instance", "dropout": False}
    one = tiny.MODELS[name](**options).double()
    other = copy.deepcopy(one)
    whole = tiny.trainer(one, batch_size=4)
    parts = tiny.trainer(other, batch_size=1, accumulate=4)
    for _ in range(3):
        whole.train_step()
        parts.train_step()
    assert whole.images == parts.images == 12
    for (key, expected), got in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, expected, msg=key)
    first, second = whole.history.means(), parts.history.means()
    assert first == pytest.approx(second)


def test_half_precision_trains_in_autocast_and_keeps_weights_in_fp32() -> None:
    torch.manual_seed(0)
    model = tiny.pix2pix()
    seen = []
    model.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer = tiny.trainer(model, acceleration=Choices("bf16"))
    trainer.train_step()
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(math.isfinite(value) for value in trainer.history.means().values())


def test_loss_scaling_changes_nothing_but_the_range() -> None:
    torch.manual_seed(0)
    plain = tiny.pix2pix(dropout=False)
    scaled = copy.deepcopy(plain)
    trainers = [tiny.trainer(model, clip_grad=0.5) for model in (plain, scaled)]
    trainers[1].players.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for trainer in trainers:
        trainer.train_step()
    for expected, got in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(got, expected)
    assert trainers[1].players.scaler.get_scale() == 1024.0


def test_clipping_bounds_the_gradient_of_each_player() -> None:
    norms = {}
    for limit in (None, 1e-3):
        torch.manual_seed(0)
        trainer = tiny.trainer(tiny.pix2pix(), clip_grad=limit)
        for name, optimizer in trainer.players.optimizers.items():

            def record(optimizer: torch.optim.Optimizer, *_: object, key: tuple = (limit, name)) -> None:
                gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
                norms[key] = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])).item()

            optimizer.register_step_pre_hook(record)
        trainer.train_step()
    for player in ("generator", "discriminator"):
        assert norms[None, player] > 2e-3
        assert norms[1e-3, player] == pytest.approx(1e-3, rel=1e-2)


def test_the_average_follows_the_weights_and_is_what_samples_show() -> None:
    torch.manual_seed(0)
    model = tiny.pix2pix()
    average = MovingAverage(model, (model.generator,), decay=0.5)
    start = {key: value.clone() for key, value in average.shadow.items()}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    average.update()  # warm-up: decay 1/10 at the first update
    average.update()  # then 2/11
    for key, _ in model.named_parameters():
        if key.startswith("generator"):
            expected = start[key] + 1 - 0.1 * 2 / 11
            torch.testing.assert_close(average.shadow[key], expected)
    assert not any(key.startswith("discriminator") for key in average.shadow)
    live = {key: p.detach().clone() for key, p in model.named_parameters()}
    averaged = live | {key: value.clone() for key, value in average.shadow.items() if key in live}
    with average.applied():
        assert all(torch.equal(p, averaged[key]) for key, p in model.named_parameters())
    assert all(torch.equal(p, live[key]) for key, p in model.named_parameters())


def test_learning_rates_follow_their_policy() -> None:
    def factors(policy: str, epochs: int) -> list[float]:
        return [SCHEDULES[policy](epoch, 2, 2, 2) for epoch in range(epochs)]

    # worked out by hand from the reference's rule 1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)
    assert factors("linear", 4) == pytest.approx([1, 1, 2 / 3, 1 / 3])
    assert factors("step", 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert factors("cosine", 4) == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert factors("constant", 4) == [1, 1, 1, 1]

    trainer = tiny.trainer(tiny.pix2pix(), batch_size=4, n_epochs=1, n_epochs_decay=1, lr=1.0e-3, lr_D=4.0e-3)
    rates = []
    for _ in range(4):
        trainer.train_step()
        rates.append({name: optimizer.param_groups[0]["lr"] for name, optimizer in trainer.players.optimizers.items()})
    assert [r["generator"] for r in rates] == pytest.approx([1e-3, 1e-3, 0.5e-3, 0.5e-3])
    assert [r["discriminator"] for r in rates] == pytest.approx([4e-3, 4e-3, 2e-3, 2e-3])


def test_plateau_lowers_the_rate_when_its_loss_stops_falling() -> None:
    trainer = tiny.trainer(
        tiny.pix2pix(), batch_size=8, n_epochs=10, n_epochs_decay=0, lr_policy="plateau", plateau_loss="G_L1"
    )
    assert trainer.players.plateau is not None
    rates = []
    for _ in range(9):
        trainer.players.plateau.add(0, {"G_L1": torch.tensor(5.0)})
        trainer.players.plateau.end_epoch()
        rates.append(trainer.players.optimizers["generator"].param_groups[0]["lr"])
    # the first epoch sets the best, five more are waited for (the reference's patience), then a fifth remains
    assert rates == pytest.approx([2e-4] * 6 + [4e-5] * 3)
    unknown = tiny.trainer(tiny.pix2pix(), n_epochs=1, n_epochs_decay=0, lr_policy="plateau", plateau_loss="G_XY")
    with pytest.raises(ValueError, match="--plateau_loss G_XY.*G_GAN, G_L1"):
        unknown.train_step()


def test_frequencies_count_images_and_none_is_skipped_by_a_batch_size(tmp_path) -> None:
    board = Recorder()
    model = tiny.pix2pix()
    samples = tiny.RandomStream(model)()
    trainer = tiny.trainer(
        model,
        batch_size=3,
        epoch=12,
        n_epochs=2,
        n_epochs_decay=0,
        print_freq=4,
        display_freq=10,
        boards=Boards([board]),
        samples=samples,
    )
    assert trainer.fit()
    assert [progress.images for progress, _ in board.numbers] == [6, 9, 12, 18, 21, 24]
    assert [progress.images for progress, _ in board.pictures] == [0, 12, 21, 24]
    assert [progress.epoch for progress, _ in board.numbers] == [1, 1, 2, 2, 2, 2]
    assert list(board.pictures[0][1]) == ["real_A", "fake_B", "real_B"]
    values = board.numbers[0][1]
    assert {"G_GAN", "G_L1", "lr_generator", "seconds_per_image", "data_share"} <= values.keys()
    assert board.closed


def test_showing_samples_does_not_disturb_training() -> None:
    weights = []
    for frequency in (1, 10**6):
        torch.manual_seed(0)
        model = tiny.pix2pix(num_downs=6)
        torch.manual_seed(1)
        samples = tiny.RandomStream(model)()
        tiny.trainer(model, samples=samples, display_freq=frequency, ema=0.9, n_epochs=1, n_epochs_decay=0).fit()
        weights.append(model.state_dict())
    for key, value in weights[0].items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, weights[1][key]), key


def test_history_averages_and_names_the_first_bad_step() -> None:
    history = LossHistory()
    for step, value in enumerate([1.0, 2.0, 6.0], start=1):
        history.add(step, {"a": torch.tensor(value), "b": torch.tensor(-value)})
    assert history.means() == {"a": 3.0, "b": -3.0}
    assert history.means() == {}
    history.add(4, {"a": torch.tensor(1.0), "b": torch.tensor(1.0)})
    history.add(5, {"a": torch.tensor(1.0), "b": torch.tensor(math.inf)})
    history.add(6, {"a": torch.tensor(math.nan), "b": torch.tensor(math.nan)})
    history.fetch()
    assert history.first_bad == (5, ["b"])

    history = LossHistory()
    history.add(1, {"a": torch.tensor(1.0)})
    history.add(2, {"a": torch.tensor(3.0), "lazy": torch.tensor(5.0)})
    assert history.means() == {"a": 2.0, "lazy": 5.0}


class Poisoned(tiny.RandomStream):
    """A stream with a NaN in its third batch."""

    def __call__(self) -> Batch:
        batch = super().__call__()
        if self.position == 3 * self.batch_size:
            batch.a[0, 0, 0, 0] = math.nan
        return batch


def test_nan_stops_training_and_only_clean_states_are_saved(tmp_path) -> None:
    torch.manual_seed(0)
    model = tiny.cyclegan()
    config = TrainConfig(n_epochs=5, n_epochs_decay=0, save_latest_freq=2, print_freq=1000)
    trainer = Trainer(model, Poisoned(model), config, folder=tmp_path)
    with pytest.raises(Diverged, match=r"cycle_A.* step 3.*latest.pt"):
        trainer.fit()
    saved = torch.load(tmp_path / "latest.pt", weights_only=True)
    assert saved["step"] == 2
    assert all(torch.isfinite(v).all() for v in saved["model"].values() if isinstance(v, torch.Tensor))

    trainer = tiny.trainer(tiny.pix2pix(), folder=tmp_path)
    next(trainer.model.generator.parameters()).data.fill_(math.inf)
    with pytest.raises(Diverged, match="weights"):
        trainer.save(epoch=1)
    trainer = tiny.trainer(tiny.pix2pix(), folder=tmp_path)
    trainer.train_step()
    next(iter(trainer.players.optimizers["generator"].state.values()))["exp_avg_sq"].fill_(math.inf)
    with pytest.raises(Diverged, match="moments"):
        trainer.save(epoch=1)
    assert [path.name for path in tmp_path.iterdir()] == ["latest.pt"]
    assert torch.load(tmp_path / "latest.pt", weights_only=True)["step"] == 2


def test_training_config_refuses_what_makes_no_sense() -> None:
    refused = {
        "lr_policy": "x",
        "fused_adam": "x",
        "accumulate": 0,
        "lr": -1.0,
        "ema": 1.5,
        "beta1": 1.0,
        "clip_grad": 0.0,
    }
    for name, value in refused.items():
        with pytest.raises(ValueError, match=f"--{name}"):
            TrainConfig(**{name: value})
    with pytest.raises(ValueError, match="nothing to train"):
        TrainConfig(n_epochs=0, n_epochs_decay=0)
    with pytest.raises(ValueError, match="--overwrite"):
        TrainConfig(continue_train=True, overwrite=True)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "cgan"])
def test_each_model_learns_a_tiny_problem(name: str, tmp_path) -> None:
    """pix2pix and cyclegan: the negative of an image; cgan: dark and light classes."""
    torch.manual_seed(0)
    if name == "pix2pix":
        stream = tiny.image_stream(tiny.write_pairs(tmp_path, 8), 4, dataset_mode="aligned")
        model = tiny.pix2pix(generator_filters=16, dropout=False, norm="instance")
    elif name == "cyclegan":
        stream = tiny.image_stream(tiny.write_domains(tmp_path, 8), 4)
        model = tiny.cyclegan(generator_filters=8, discriminator_filters=8, norm="none", lambda_identity=0.0)
    else:
        stream = tiny.image_stream(tiny.write_classes(tmp_path, 16), 16, 8, dataset_mode="classes", out_channels=1)
        config = tiny.CGAN.Config(generator_filters=16, discriminator_filters=16, noise_dim=8)
        model = tiny.build_model("cgan", config, stream.dataset.spec)
    trainer = Trainer(model, stream, TrainConfig(lr=2e-3, lr_policy="constant"))
    for _ in range(120):
        trainer.train_step()
    batch = stream()
    if name == "pix2pix":
        error = (model.translate(batch) - batch.b).abs().mean()
        assert error < 0.25 * (batch.a - batch.b).abs().mean()
    elif name == "cyclegan":
        assert abs(model.translate(batch).mean() - 0.5) < 0.2  # the mean of the light domain
        assert abs(model.translate(batch, target="a").mean() + 0.5) < 0.2
    else:
        dark, light = (model.translate(Batch(label=torch.full((16,), label))).mean().item() for label in (0, 1))
        assert abs(dark + 0.5) < 0.25 and abs(light - 0.5) < 0.25


USUAL: dict[str, dict[str, Any]] = {
    "mlp": {},
    "resnet": {"gan_mode": "hinge", "spectral_norm": "D"},
    "biggan": {"gan_mode": "hinge", "spectral_norm": "both"},
    "stylegan": {"lambda_r1": 1.0, "r1_every": 4, "mapping_layers": 2},
}


@pytest.mark.parametrize("name", USUAL)
def test_each_network_for_classes_learns_with_its_usual_game(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    stream = tiny.image_stream(tiny.write_classes(tmp_path, 16), 16, 8, dataset_mode="classes", out_channels=1)
    sizes = {"generator": name, "generator_filters": 8, "discriminator_filters": 8, "noise_dim": 8}
    model = tiny.build_model("cgan", tiny.CGAN.Config(**sizes | USUAL[name]), stream.dataset.spec)
    trainer = Trainer(model, stream, TrainConfig(lr=2e-3, beta1=0.0, lr_policy="constant", ema=0.9))
    for _ in range(80):
        trainer.train_step()
    assert trainer.players.average is not None
    with trainer.players.average.applied():
        dark, light = (model.translate(Batch(label=torch.full((16,), label))).mean().item() for label in (0, 1))
    assert abs(dark + 0.5) < 0.3 and abs(light - 0.5) < 0.3


def test_metrics_are_json_lines(tmp_path) -> None:
    from i2i.watch.boards import FileBoard

    model = tiny.cgan()
    samples = tiny.RandomStream(model)()
    trainer = tiny.trainer(
        model, n_epochs=1, n_epochs_decay=0, print_freq=2, boards=Boards([FileBoard(tmp_path)]), samples=samples
    )
    trainer.fit()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [2, 4, 6, 8]
    assert (tmp_path / "web" / "index.html").is_file() and list((tmp_path / "web" / "images").glob("*.png"))


def test_the_random_state_of_another_kind_of_device_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    states = random_states(torch.device("cpu")) | {"device_type": "cuda", "device": torch.zeros(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: pytest.fail("a state of CUDA given to MPS"))
    restore_random_states(states, torch.device("mps"))
