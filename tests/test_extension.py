"""The extension contract: things added from outside the package, each in one file and one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.networks import DISCRIMINATORS
from i2i.networks.blocks import DiscriminatorOutput
from i2i.training import LossReport, Observation, Observer, RunView, Trainer
from i2i.training.config import TrainConfig
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]

# --- A model, an optimiser and an observer, in a program of a user.

PROGRAM = '''
"""A contrastive model on features of its generator, an optimiser, an observer: each with one line in a registry."""

import dataclasses
import sys

import torch
import torch.nn.functional as F
from torch import nn

from i2i.config import option
from i2i.data import Batch
from i2i.models import MODELS
from i2i.models.adversarial import AdversarialLoss, named
from i2i.models.base import GanModel, Phase, Player, TranslationConfig
from i2i.models.generation import generate
from i2i.training import Observation, Observer
from i2i.training.optimizers import OPTIMIZERS
from i2i.watch.build import OBSERVERS, ObserverKind


class Contrastive(GanModel):
    @dataclasses.dataclass(frozen=True)
    class Config(TranslationConfig):
        """Its options."""

        temperature: float = option(0.07, "temperature of the contrastive loss")
        feature_layers: tuple[int, ...] = option((0, 1), "layers whose features are compared")

    layouts = ("unaligned",)
    defaults = {"dataset_mode": "unaligned"}

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.generator = config.build_generator(spec.in_channels, spec.out_channels)
        self.discriminator = config.build_discriminator(spec.out_channels)
        self.heads = nn.ModuleList(nn.LazyLinear(4) for _ in config.feature_layers)
        with torch.no_grad():
            _, maps = self.generator(torch.zeros(1, spec.in_channels, 16, 16), features=config.feature_layers)
            for head, features in zip(self.heads, maps):
                head(features.flatten(2).transpose(1, 2))
        self.adversarial = AdversarialLoss(config, (spec.out_channels,))
        self.players = {
            "discriminator": Player((self.discriminator,)),
            "generator": Player((self.generator, self.heads), ema=True),
        }

    def contrast(self, fake, real):
        layers, losses = self.config.feature_layers, []
        (_, queries), (_, keys) = self.generator(fake, features=layers), self.generator(real, features=layers)
        for head, query, key in zip(self.heads, queries, keys):
            q, k = (F.normalize(head(x.flatten(2).transpose(1, 2)), dim=2) for x in (query, key.detach()))
            similarity = q @ k.transpose(1, 2) / self.config.temperature
            losses.append(F.cross_entropy(similarity.flatten(0, 1), torch.arange(q.shape[1]).repeat(len(q))))
        return torch.stack(losses).mean()

    def training_step(self, next_batch, step):
        batch = next_batch()
        a, b = batch.image("a"), batch.image("b")
        fake = self.generator(a)
        real_loss, fake_loss, terms = self.adversarial.discriminator(self.discriminator, b, fake.detach(), step)
        yield Phase("discriminator", {"D": real_loss + fake_loss} | named("D", terms))
        losses = named("G", self.adversarial.generator(self.discriminator, fake, b, step))
        yield Phase("generator", losses | {"NCE": self.contrast(fake, a)})

    def translate(self, batch, *, target="b", seed=0, running_statistics=False):
        return generate(self.generator, batch.image("a"), batch.paths_a, seed, running_statistics)

    def visuals(self, batch, *, seed=0, running_statistics=False):
        return {"real_A": batch.image("a"), "fake_B": self.translate(batch)}


class SignDescent(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())


@dataclasses.dataclass(frozen=True)
class CounterConfig:
    count_every: int = option(4, "images between counts")


class Counter(Observer):
    name = "counter"

    def __init__(self, config):
        self.every, self.count = config.count_every, 0

    def observe(self, run):
        self.count += 1
        return Observation(values={"count": float(self.count)})

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


MODELS["contrastive"] = Contrastive
OPTIMIZERS["sign"] = lambda parameters, lr, *_: SignDescent(parameters, lr)
OBSERVERS["counter"] = ObserverKind(lambda config, context: Counter(config), CounterConfig)

if __name__ == "__main__":
    import train

    raise SystemExit(train.main())
'''


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "own.py", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_model_an_optimiser_and_an_observer_of_a_user_train_and_resume(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PROGRAM)
    tiny.write_domains(tmp_path / "data", 4)
    helped = run(tmp_path, "--model", "contrastive", "--help")
    for words in ("--temperature", "--count_every", "counter:", "contrastive", "sign"):
        assert words in helped.stdout
    (tmp_path / "own.yaml").write_text(
        "model: contrastive\ndataroot: data\ntemperature: 0.5\nfeature_layers: [0, 2]\n"
        "optimizer: sign\ncount_every: 2\n"
        "generator: resnet\nnum_blocks: 1\nngf: 2\nndf: 2\nnetD: pixel\nload_size: 16\ncrop_size: 16\nnum_threads: 0\n"
        "device: cpu\nprint_freq: 2\nema: 0.9\nn_epochs_decay: 0\n"
    )
    straight = run(tmp_path, "--options", "own.yaml", "--name", "straight", "--n_epochs", "2")
    assert straight.returncode == 0, straight.stderr
    assert run(tmp_path, "--options", "own.yaml", "--name", "resumed", "--n_epochs", "1").returncode == 0
    again = run(tmp_path, "--name", "resumed", "--continue_train", "--n_epochs", "2")
    assert again.returncode == 0, again.stderr
    expected, got = (
        torch.load(tmp_path / "checkpoints" / name / "latest.pt", weights_only=True) for name in ("straight", "resumed")
    )
    assert expected["options"]["temperature"] == 0.5 and expected["options"]["feature_layers"] == [0, 2]
    assert expected["counter"] == got["counter"] == {"count": 4}
    for name, value in expected["model"].items():
        assert not isinstance(value, Tensor) or torch.equal(value, got["model"][name]), name
    lines = (tmp_path / "checkpoints" / "straight" / "metrics.jsonl").read_text()
    assert '"NCE"' in lines and '"count"' in lines
    wrong = run(tmp_path, "--model", "contrastiv", "--dataroot", "data")
    assert wrong.returncode == 2 and "contrastive" in wrong.stderr


# --- A discriminator at several scales.


class MultiScale(nn.Module):
    """A pixel discriminator at full and at half size."""

    def __init__(self, in_channels: int, filters: int = 64, n_layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            DISCRIMINATORS["pixel"](in_channels=in_channels, filters=filters, norm=norm) for _ in range(2)
        )

    def forward(self, image: Tensor, features: bool = False) -> list[Tensor] | DiscriminatorOutput:
        images = [image, nn.functional.avg_pool2d(image, 2)]
        outputs = [scale(x, features=True) for scale, x in zip(self.scales, images, strict=True)]
        logits = [output.logits for output in outputs]
        maps = tuple(feature for output in outputs for feature in output.features)
        return DiscriminatorOutput(logits, maps) if features else logits


@pytest.fixture
def multi_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISCRIMINATORS, "multi_scale", MultiScale)


OPTIONS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "minimax": {},
    "lsgan": {"label_smoothing": 0.1},
    "hinge": {"ada": 0.6},
    "wgan": {},
    "wgangp": {"norm_D": "none"},
    "relativistic": {"top_k": 0.5},
    "relativistic_average": {"lambda_feature": 1.0, "top_k": 0.5},
}


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("gan_mode", OPTIONS)
def test_a_discriminator_at_several_scales_trains_with_all_objectives(
    model: str, gan_mode: str, multi_scale: None
) -> None:
    torch.manual_seed(0)
    built = tiny.MODELS[model](discriminator="multi_scale", gan_mode=gan_mode, lambda_r1=0.1, **OPTIONS[gan_mode])
    trainer = tiny.trainer(built, n_epochs=100)
    for _ in range(5):
        trainer.train_step()
    losses = trainer.history.means()
    assert all(torch.tensor(value).isfinite() for value in losses.values())
    statistics = built.discriminator_statistics()
    assert all(0 <= found.separation <= 1 for found in statistics.values())
    trainer.report()  # the doctor looks at them


def test_the_losses_of_several_scales_add_up(multi_scale: None) -> None:
    model = tiny.pix2pix(discriminator="multi_scale", gan_mode="lsgan")
    real, fake = torch.rand(2, 6, 8, 8), torch.rand(2, 6, 8, 8)
    on_real, on_fake, _ = model.adversarial.discriminator(model.discriminator, real, fake, 1)
    expected_real = sum(((logits - 1) ** 2).mean() for logits in model.discriminator(real))
    expected_fake = sum((logits**2).mean() for logits in model.discriminator(fake))
    torch.testing.assert_close(on_real, expected_real)
    torch.testing.assert_close(on_fake, expected_fake)
    generated = model.adversarial.generator(model.discriminator, fake, real, 1)["GAN"]
    torch.testing.assert_close(generated, sum(((logits - 1) ** 2).mean() for logits in model.discriminator(fake)))


# --- Observers.


class Careless(Observer):
    """An observer that draws random numbers, changes modes, and sees everything."""

    name = "careless"

    def __init__(self) -> None:
        self.every, self.seen = 4, list[str]()

    def begin(self, run: RunView) -> None:
        self.seen.append("begin")

    def observe(self, run: RunView) -> Observation:
        torch.rand(3)
        run.model.eval()
        assert run.progress.images <= run.images
        return Observation(values={"careless": 1.0})

    def report(self, run: RunView, report: LossReport) -> Observation:
        torch.rand(3)
        self.seen += report.norms
        return Observation(values={"norm": max(report.norms.values())})

    def notice(self, run: RunView, observation: Observation) -> None:
        self.seen += observation.values

    def end(self, run: RunView) -> None:
        self.seen.append("end")


def test_a_run_trains_the_same_weights_with_and_without_observers() -> None:
    found = []
    for observers in ([], [Careless()]):
        torch.manual_seed(0)
        model = tiny.pix2pix(num_downs=4)
        config = TrainConfig(n_epochs=2, n_epochs_decay=0, print_freq=2, ema=0.9, doctor=False)
        stream: Any = tiny.RandomStream(model)
        Trainer(model, stream, config, observers=observers).fit()
        found.append((model.state_dict(), torch.get_rng_state(), observers))
    (plain, state, _), (watched, other, (observer,)) = found
    assert torch.equal(state, other)
    assert all(torch.equal(value, watched[name]) for name, value in plain.items() if isinstance(value, Tensor))
    assert {"begin", "end", "generator", "careless", "norm", "G_L1"} <= set(observer.seen)


def test_an_observer_may_stop_a_run_and_save_the_best(tmp_path: Path) -> None:
    class Stopper(Observer):
        every = 4

        def observe(self, run: RunView) -> Observation:
            return Observation(stop=run.progress.images >= 8, save_best=run.progress.images == 4)

    model = tiny.pix2pix()
    stream: Any = tiny.RandomStream(model)
    trainer = Trainer(model, stream, TrainConfig(n_epochs=9), observers=[Stopper()], folder=tmp_path)
    assert trainer.fit() and trainer.images == 8
    assert torch.load(tmp_path / "best.pt", weights_only=True)["images"] == 4


# --- Features of generators.


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
def test_generators_lend_the_features_of_their_layers(model: str) -> None:
    network = tiny.MODELS[model]().players["generator"].modules[0].eval()
    image = torch.rand(1, 3, 16, 16)
    layers = [*network.down, *network.up] if model == "pix2pix" else [network.stem, *network.down, *network.blocks]
    seen: list[Tensor] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, out: seen.append(out.clone()))
    expected = network(image)
    outputs, numbers = seen[:], tuple(range(len(layers)))
    output, maps = network(image, features=numbers)
    torch.testing.assert_close(output, expected)
    for number, found, wanted in zip(numbers, maps, outputs, strict=True):
        torch.testing.assert_close(found[:, -wanted.shape[1] :], wanted, msg=str(number))  # a U-Net's after the skip
    (first,) = network(image, features=(1,))[1]
    torch.testing.assert_close(first, maps[1])
    with pytest.raises(ValueError, match="99"):
        network(image, features=(99,))
