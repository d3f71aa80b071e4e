"""The models: equal to the reference; a phase moves its player alone; translation is pure and the same in any batch."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from i2i.data import Batch, DataSpec
from i2i.losses import parse_formula
from i2i.models import MODELS, build_model
from i2i.models.cgan import CGAN
from i2i.models.cyclegan import CycleGAN
from i2i.models.pix2pix import Pix2Pix
from i2i.networks.reference_weights import from_reference, to_reference
from i2i.training import TrainConfig, Trainer
from tests import tiny

REFERENCE = Path(os.environ.get("I2I_TEST_DATA", "")) / "reference"
needs_reference = pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset")


class TraceStream(tiny.RandomStream):
    """The images of a reference trace, in order."""

    def __init__(self, trace: dict) -> None:
        self.trace, self.batch_size, self.epoch = trace, trace["batch_size"], 100
        self.device, self.position, self.waited = torch.device("cpu"), 0, 0.0

    def __call__(self) -> Batch:
        rows = slice(self.position, self.position + self.batch_size)
        self.position += self.batch_size
        return Batch(a=self.trace["A"][rows].double(), b=self.trace["B"][rows].double())


@needs_reference
@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_training_steps_equal_the_reference(name: str) -> None:
    trace = torch.load(REFERENCE / f"trace_{name}.pt", weights_only=True)
    given, model_class = trace["options"], MODELS[name]
    config = model_class.Config(
        generator=given["netG"],
        discriminator=given["netD"],
        generator_filters=given["ngf"],
        discriminator_filters=given["ndf"],
        norm=given["norm"],
        dropout=not given["no_dropout"],
        gan_mode=given["gan_mode"],
    )
    model = build_model(name, config, DataSpec()).double()
    architectures = {}
    for label, attribute in model_class.reference_names.items():
        architectures[label], weights = from_reference(trace["initial"][label])
        model.get_submodule(attribute).load_state_dict(weights)
    trainer = Trainer(model, TraceStream(trace), TrainConfig(lr=given["lr"], beta1=given["beta1"]))

    assert len(trace["losses"]) >= 5
    for expected in trace["losses"]:
        trainer.train_step()
        assert {n: v for n, v in trainer.history.means().items() if n in expected} == pytest.approx(expected, rel=1e-7)
    for label, attribute in model_class.reference_names.items():
        final = to_reference(model.get_submodule(attribute).state_dict(), architectures[label])
        assert final.keys() == trace["final"][label].keys()
        for key, (total, norm) in trace["final"][label].items():
            value = final[key].double()
            assert value.norm().item() == pytest.approx(norm, rel=1e-7), key
            assert value.sum().item() == pytest.approx(total, rel=1e-7, abs=1e-7 * norm), key


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan", "hinge", "wgan", "wgangp"])
def test_a_phase_moves_the_weights_of_its_player_alone(
    name: str, gan_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = tiny.MODELS[name](gan_mode=gan_mode)
    trainer = tiny.trainer(model)
    moved: list[set[str]] = []

    def weights() -> dict[str, Tensor]:
        return {key: p.detach().clone() for key, p in model.named_parameters()}

    def watched(player: str, losses: dict[str, list[Tensor]]) -> bool:
        before = weights()
        update(player, losses)
        after = weights()
        moved.append({key for key in before if not torch.equal(before[key], after[key])})
        own = {id(p) for p in model.players[player].parameters()}
        own_keys = {key for key, p in model.named_parameters() if id(p) in own}
        assert moved[-1] and moved[-1] <= own_keys, player
        # What the last bias adds to real and to fake images alike falls out of a critic's loss.
        assert all(key.endswith("head.bias") for key in own_keys - moved[-1])
        return True

    update = trainer.players.update
    monkeypatch.setattr(trainer.players, "update", watched)
    trainer.train_step()
    assert len(moved) == 2


def test_wgan_clips_the_discriminator_and_wgangp_penalises_its_gradient() -> None:
    for name, build in tiny.MODELS.items():
        torch.manual_seed(0)
        trainer = tiny.trainer(build(gan_mode="wgan", init_gain=1.0))
        trainer.train_step()
        largest = {
            n: max(float(p.detach().abs().max()) for p in trainer.model.players[n].parameters())
            for n in trainer.players.optimizers
        }
        assert largest["discriminator"] == pytest.approx(0.01) and largest["generator"] > 0.02

        trainer = tiny.trainer(build(gan_mode="wgangp"))
        trainer.train_step()
        penalties = {n: v for n, v in trainer.history.means().items() if n.endswith("gp")}
        assert len(penalties) == (2 if name == "cyclegan" else 1) and all(value > 0 for value in penalties.values())


def test_cyclegan_backpropagates_the_sum_of_its_losses() -> None:
    torch.manual_seed(0)
    model = tiny.cyclegan(lambda_A=7.0, lambda_B=3.0).double()
    batch = tiny.RandomStream(model)()
    parameters = model.players["generator"].parameters()
    steps = model.training_step(lambda: batch, 0)
    phases = [next(steps) for _ in range(4)]
    assert [phase.step for phase in phases] == [False, False, False, True]
    total = sum(loss for phase in phases for loss in phase.losses.values())
    got = torch.autograd.grad(total, parameters)

    a, b, there, back = batch.a, batch.b, model.generator_a_to_b, model.generator_b_to_a
    fake_b, fake_a = there(a), back(b)

    def l1(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean()

    adversarial = ((model.discriminator_b(fake_b) - 1) ** 2).mean() + ((model.discriminator_a(fake_a) - 1) ** 2).mean()
    cycles = 7 * l1(back(fake_b), a) + 3 * l1(there(fake_a), b)
    identity = 0.5 * 3 * l1(there(b), b) + 0.5 * 7 * l1(back(a), a)
    expected = torch.autograd.grad(adversarial + cycles + identity, parameters)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_pix2pix_weighs_its_reconstruction_by_formula_or_by_lambda_l1() -> None:
    trainer = tiny.trainer(tiny.pix2pix(reconstruction="50*l1 + 10*ssim"))
    trainer.train_step()
    assert {"G_GAN", "G_L1", "G_SSIM", "D", "D_real", "D_fake"} == trainer.history.means().keys()
    assert Pix2Pix.Config(lambda_L1=7) == Pix2Pix.Config(reconstruction="7*l1")
    both = Pix2Pix.Config(lambda_L1=7, reconstruction="10*l1 + 1*ssim")
    assert parse_formula(both.reconstruction) == {"l1": 7, "ssim": 1}
    assert tiny.pix2pix(reconstruction="10*ssim").plateau_loss == "G_SSIM"


@pytest.mark.parametrize(
    "options", [{"num_downs": 6}, {"norm": "instance"}, {"dropout": False}, {"norm": "instance", "dropout": False}]
)
@pytest.mark.parametrize("running_statistics", [False, True])
def test_translation_is_pure_and_the_same_for_any_batching(options: dict, running_statistics: bool) -> None:
    torch.manual_seed(0)
    model = tiny.pix2pix(**options)
    tiny.trainer(model).train_step()  # running statistics and weights that are not the initial ones
    batch = tiny.RandomStream(model, batch_size=5)()
    model.train()
    state = {key: value.clone() for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    random = torch.get_rng_state()

    whole = model.translate(batch, seed=3, running_statistics=running_statistics)
    parts = [
        model.translate(
            Batch(a=batch.a[i : i + 1], paths_a=batch.paths_a[i : i + 1]), seed=3, running_statistics=running_statistics
        )
        for i in range(5)
    ]
    torch.testing.assert_close(whole, torch.cat(parts))
    assert not whole.requires_grad and model.training and all(m.training for m in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())


def test_pix2pix_translates_with_dropout_and_the_images_own_statistics_unless_told_otherwise() -> None:
    torch.manual_seed(0)
    model = tiny.pix2pix(num_downs=6)  # the shallowest U-Net that has dropout
    batch = tiny.RandomStream(model, batch_size=1)()
    assert torch.equal(model.translate(batch, seed=1), model.translate(batch, seed=1))
    assert not torch.equal(model.translate(batch, seed=1), model.translate(batch, seed=2))

    model.generator.train()
    torch.manual_seed(0)
    without_dropout = tiny.pix2pix(num_downs=6, dropout=False)
    without_dropout.load_state_dict(model.state_dict())
    expected = without_dropout.generator.train()(batch.a)  # the batch is this image alone
    torch.testing.assert_close(without_dropout.translate(batch), expected)
    model.eval()
    torch.testing.assert_close(model.translate(batch, running_statistics=True), model.generator(batch.a))


def test_cyclegan_translates_both_ways_and_pix2pix_one() -> None:
    model = tiny.cyclegan()
    batch = tiny.RandomStream(model)()
    torch.testing.assert_close(model.translate(batch), model.generator_a_to_b(batch.a))
    torch.testing.assert_close(model.translate(batch, target="a"), model.generator_b_to_a(batch.b))
    shown = model.visuals(batch)
    assert list(shown) == ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]
    torch.testing.assert_close(shown["rec_B"], model.generator_a_to_b(shown["fake_A"]))
    with pytest.raises(ValueError, match="direction"):
        tiny.pix2pix().translate(batch, target="a")


def test_identity_loss_needs_equal_channels() -> None:
    spec = DataSpec(in_channels=1, out_channels=3)
    with pytest.raises(ValueError, match="--lambda_identity 0"):
        build_model("cyclegan", CycleGAN.Config(), spec)
    config = CycleGAN.Config(**tiny.TRANSLATION, generator="resnet", num_blocks=1, lambda_identity=0)
    model = build_model("cyclegan", config, spec)
    trainer = tiny.trainer(model)
    trainer.train_step()
    assert not any("idt" in name for name in trainer.history.means())


def test_a_cgan_image_is_named_by_its_label_and_its_seed() -> None:
    model = tiny.cgan()
    tiny.trainer(model).train_step()
    both = model.translate(Batch(label=torch.tensor([2, 1])), seed=10)
    assert both.shape == (2, 1, 8, 8) and both.abs().max() <= 1
    torch.testing.assert_close(both[1:], model.translate(Batch(label=torch.tensor([1])), seed=11))
    assert not torch.allclose(both[1:], model.translate(Batch(label=torch.tensor([2])), seed=11))
    assert list(model.visuals(Batch(label=torch.tensor([0])))) == ["x", "y", "z"]


def test_cgan_wants_labels_and_squares() -> None:
    with pytest.raises(ValueError, match="--dataset_mode classes"):
        build_model("cgan", CGAN.Config(), DataSpec(image_size=(28, 28)))
    with pytest.raises(ValueError, match="square"):
        build_model("cgan", CGAN.Config(), DataSpec(image_size=(28, 32), classes=("a", "b")))


def test_a_norm_that_follows_from_the_objective_is_named() -> None:
    stored = dataclasses.asdict(tiny.pix2pix(discriminator="basic").config)
    model = tiny.pix2pix(discriminator="basic", gan_mode="wgangp")
    with pytest.raises(ValueError, match="--norm_D.*instance.*batch"):
        model.load_checkpoint(tiny.pix2pix(discriminator="basic").state_dict(), stored)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_checkpoints_name_the_option_that_differs(name: str) -> None:
    model = tiny.MODELS[name]()
    stored = {"generator_filters": 4, "gan_mode": "hinge", "init_gain": 3.0}
    with pytest.raises(ValueError, match="--generator_filters.*6.*4"):
        tiny.MODELS[name](generator_filters=6).load_checkpoint(model.state_dict(), stored)


def test_a_gradient_penalty_is_not_tied_to_the_batch() -> None:
    def batch_norms(model: torch.nn.Module) -> int:
        return sum(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules())

    options = {"discriminator": "basic", "norm": "batch"}
    assert batch_norms(tiny.pix2pix(**options).discriminator) == 3
    assert batch_norms(tiny.pix2pix(**options, gan_mode="wgangp").discriminator) == 0
    assert batch_norms(tiny.pix2pix(**options, gan_mode="wgangp", norm_D="batch").discriminator) == 3
    larger = DataSpec(1, 1, (28, 28), ("x", "y"))
    counts = [
        batch_norms(build_model("cgan", CGAN.Config(gan_mode=mode), larger).discriminator)
        for mode in ("vanilla", "wgangp")
    ]
    assert counts == [1, 0]


def test_the_identity_loss_comes_down_to_its_weight_over_the_warm_up() -> None:
    model = tiny.cyclegan(identity_warmup=10, lambda_identity=0.5)
    stream = tiny.RandomStream(model)

    def identity(step: int) -> float:
        torch.manual_seed(0)
        stream.seek(0)
        losses = [phase.losses for phase in model.training_step(stream, step)]
        return float(next(loss["idt_A"].detach() for loss in losses if "idt_A" in loss))

    end = identity(10)
    assert [identity(step) / end for step in (0, 5, 20)] == pytest.approx([10, 5.5, 1], rel=1e-5)
