"""What every stabiliser does to the losses and the steps of the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.data import Batch, DataSpec
from i2i.models import build_model
from i2i.models.adversarial import AdversarialConfig, AdversarialLoss
from i2i.models.augment import ADAPTIVE_POLICY, AUGMENTATIONS
from i2i.models.cgan import CGAN
from i2i.networks.blocks import DiscriminatorOutput
from tests import tiny

REAL, FAKE = torch.full((4, 1, 8, 8), 0.5), torch.full((4, 1, 8, 8), -0.5)
EVERYTHING: dict[str, Any] = {
    "d_steps": 2,
    "lambda_gp": 0.5,
    "lambda_r1": 1.0,
    "r1_every": 2,
    "instance_noise": 0.1,
    "instance_noise_steps": 10,
    "lambda_feature": 2.0,
    "top_k": 0.5,
    "top_k_steps": 4,
    "diffaugment": ("color", "translation", "cutout"),
    "spectral_norm": "D",
}


def mean_judge(images: Tensor, features: bool = False) -> Tensor:
    """Judge an image by its mean: 0.5 for REAL, -0.5 for FAKE."""
    return images.flatten(1).mean(dim=1, keepdim=True)


def game(channels: tuple[int, ...] = (1,), **options: Any) -> AdversarialLoss:
    return AdversarialLoss(AdversarialConfig(**{"gan_mode": "vanilla"} | options), channels)


def losses_of(trainer: Any, steps: int = 1) -> dict[str, float]:
    for _ in range(steps):
        trainer.train_step()
    return trainer.history.means()


def phases(model: Any, step: int = 0, batch_size: int = 2) -> Iterator[Any]:
    return model.training_step(tiny.RandomStream(model, batch_size), step)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_plain_models_have_no_state_beside_their_networks_and_pools(name: str) -> None:
    keys = tiny.MODELS[name]().state_dict()
    assert {key.split(".")[0] for key in keys} <= {*dict(tiny.MODELS[name]().named_children())}
    assert not [key for key in keys if key.startswith("adversarial")]


@pytest.mark.parametrize("name", tiny.MODELS)
def test_several_discriminator_steps_are_made_on_fresh_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trainer = tiny.trainer(tiny.MODELS[name](d_steps=3), batch_size=2)
    updates: list[str] = []

    def noted(player: str, losses: dict[str, list[Tensor]]) -> bool:
        updates.append(player)
        return update(player, losses)

    update = trainer.players.update
    monkeypatch.setattr(trainer.players, "update", noted)
    trainer.train_step()
    assert sorted(updates) == ["discriminator"] * 3 + ["generator"]
    assert trainer.images == 6


def test_losses_of_repeated_phases_are_logged_as_their_mean() -> None:
    torch.manual_seed(0)
    model = tiny.cgan(d_steps=3)
    trainer = tiny.trainer(model)
    values = [float(phase.losses["D"].detach()) for phase in phases(model) if phase.player == "discriminator"]
    trainer.model.training_step = lambda *_: iter(  # type: ignore[method-assign]
        [_phase(model, value) for value in (1.0, 2.0, 6.0)]
    )
    assert len(values) == 3 and losses_of(trainer)["D"] == 3.0


def _phase(model: Any, value: float) -> Any:
    from i2i.models import Phase

    return Phase("discriminator", {"D": value + 0 * next(model.discriminator.parameters()).sum()})


def test_label_smoothing_moves_the_discriminators_targets_and_not_the_generators() -> None:
    real, fake, _ = game(label_smoothing=0.1, label_smoothing_fake=0.2).discriminator(mean_judge, REAL, FAKE, 0)
    logits = torch.full((4, 1), 0.5)
    assert real.item() == pytest.approx(F.binary_cross_entropy_with_logits(logits, torch.full((4, 1), 0.9)).item())
    assert fake.item() == pytest.approx(F.binary_cross_entropy_with_logits(-logits, torch.full((4, 1), 0.2)).item())
    smoothed = game(label_smoothing=0.1).generator(mean_judge, FAKE, REAL, 0)["GAN"]
    assert smoothed.equal(game().generator(mean_judge, FAKE, REAL, 0)["GAN"])
    with pytest.raises(ValueError, match="label_smoothing"):
        AdversarialConfig(gan_mode="hinge", label_smoothing=0.1)


def test_instance_noise_has_its_strength_and_fades() -> None:
    torch.manual_seed(0)
    still, noisy = torch.zeros(8, 1, 64, 64), game(instance_noise=0.5, instance_noise_steps=100)
    assert noisy.perturb(still, 0).std().item() == pytest.approx(0.5, rel=0.02)
    assert noisy.perturb(still, 50).std().item() == pytest.approx(0.25, rel=0.02)
    assert noisy.perturb(still, 100).equal(still) and noisy.perturb(still, 500).equal(still)
    assert game(instance_noise=0.5).perturb(still, 10**6).std().item() == pytest.approx(0.5, rel=0.02)


def test_penalties_have_their_weights_and_their_steps() -> None:
    """The gradient of `mean_judge` is 1/64 at each of 64 pixels: its norm is 1/8."""
    options: dict[str, Any] = {"lambda_r1": 4.0, "r1_every": 3, "lambda_gp": 2.0}
    terms = [game(**options).discriminator(mean_judge, REAL, FAKE, step)[2] for step in range(4)]
    assert [list(term) for term in terms] == [["gp", "r1"], ["gp"], ["gp"], ["gp", "r1"]]
    assert terms[0]["r1"].item() == pytest.approx(4 / 2 * 3 / 64)
    assert terms[0]["gp"].item() == pytest.approx(2 * (1 / 8 - 1) ** 2)
    assert list(game(gan_mode="wgangp").discriminator(mean_judge, REAL, FAKE, 0)[2]) == ["gp"]
    assert not game(gan_mode="wgangp", lambda_gp=0.0).discriminator(mean_judge, REAL, FAKE, 0)[2]


def test_top_k_learns_from_the_best_judged_alone_and_gets_there_in_steps() -> None:
    fake = torch.arange(8.0).view(8, 1, 1, 1).requires_grad_()
    for step, kept in ((0, 8), (5, 6), (10, 4), (99, 4)):
        loss = game(gan_mode="wgan", top_k=0.5, top_k_steps=10).generator(mean_judge, fake, fake.detach(), step)["GAN"]
        (gradient,) = torch.autograd.grad(loss, fake)
        assert (gradient.flatten() != 0).tolist() == [False] * (8 - kept) + [True] * kept
        assert loss.item() == pytest.approx(-sum(range(8 - kept, 8)) / kept)


def test_feature_matching_is_a_loss_of_the_generator() -> None:
    torch.manual_seed(0)
    for name, key in (("cgan", "G_feature"), ("pix2pix", "G_feature"), ("cyclegan", "G_A_feature")):
        seen = {n: v for p in phases(tiny.MODELS[name](lambda_feature=10.0)) for n, v in p.losses.items()}
        assert seen[key].item() > 0 and not [n for n in seen if n.startswith("D") and "feature" in n]


def raw_judge(seen: list[Tensor]) -> Any:
    """Judge by the mean, lend the image itself as a feature, and note what was judged."""

    def judge(images: Tensor, features: bool = False) -> DiscriminatorOutput:
        seen.append(images)
        return DiscriminatorOutput(mean_judge(images), (images,))

    return judge


@pytest.mark.parametrize("gan_mode", ["vanilla", "relativistic"])
@pytest.mark.parametrize(
    ("options", "passes"),
    [({}, 2), ({"instance_noise": 0.1}, 3), *[({"diffaugment": (name,)}, 3) for name in AUGMENTATIONS]],
)
def test_features_of_pairs_are_those_of_the_images_as_they_are(
    options: dict[str, Any], passes: int, gan_mode: str
) -> None:
    torch.manual_seed(0)
    contest = AdversarialLoss(AdversarialConfig(gan_mode=gan_mode, lambda_feature=3.0, **options), (1,), paired=True)
    real = torch.randn(4, 1, 8, 8)
    judged: list[Tensor] = []
    assert contest.generator(raw_judge(judged), real.clone(), real, 0)["feature"].item() == 0
    assert len(judged) == passes + (passes == 3 and gan_mode == "relativistic")
    fake = (real + 0.5).requires_grad_()
    loss = contest.generator(raw_judge([]), fake, real, 0)["feature"]
    assert loss.item() == pytest.approx(1.5, rel=1e-5)
    assert torch.autograd.grad(loss, fake)[0].abs().min() > 0


def test_the_pair_of_pix2pix_is_augmented_together() -> None:
    torch.manual_seed(0)
    seen = game((1, 1), diffaugment=("translation", "cutout")).perturb(REAL.repeat(1, 2, 1, 1), 0)
    assert seen[:, :1].equal(seen[:, 1:]) and not seen.equal(REAL.repeat(1, 2, 1, 1))


@pytest.mark.parametrize("name", tiny.MODELS)
def test_spectral_norm_is_on_what_it_is_asked_for(name: str) -> None:
    def normalized(network: nn.Module) -> int:
        return sum(nn.utils.parametrize.is_parametrized(module) for module in network.modules())

    for choice, expected in (("none", (False, False)), ("D", (False, True)), ("both", (True, True))):
        model = tiny.MODELS[name](spectral_norm=choice)
        found = [[normalized(m) > 0 for m in model.players[p].modules] for p in ("generator", "discriminator")]
        assert [set(flags) for flags in found] == [{flag} for flag in expected]


@pytest.mark.parametrize("others", [{"gan_mode": "relativistic_average"}, {"gan_mode": "lsgan", "ada": 0.6}])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_all_stabilisers_go_together_and_resume_exactly(name: str, others: dict[str, Any]) -> None:
    def fresh() -> Any:
        torch.manual_seed(0)
        return tiny.trainer(tiny.MODELS[name](**EVERYTHING | others), batch_size=4, epoch=64, ema=0.9)

    straight, first, second = fresh(), fresh(), fresh()
    torch.manual_seed(1)
    losses_of(straight, 3)
    torch.manual_seed(1)
    losses_of(first, 2)
    saved = first.state_dict()
    second.load_state_dict(saved)
    losses_of(second)
    expected = straight.model.state_dict()
    for key, value in second.model.state_dict().items():
        if isinstance(value, Tensor):
            assert value.equal(expected[key]), key


def test_adaptive_augmentation_moves_with_the_logits_in_training() -> None:
    torch.manual_seed(0)
    model = tiny.cgan(ada=-1.0)
    losses_of(tiny.trainer(model, batch_size=4, epoch=64), 4)
    assert model.adversarial.augment.p.item() > 0
    assert "adversarial.augment.p" in model.state_dict()


def test_adaptive_augmentation_counts_from_where_the_discriminator_cannot_tell() -> None:
    """A logit of 0.5 says nothing under least squares, and that an image is real under cross-entropy."""
    for gan_mode, real, grows in (("lsgan", REAL, False), ("lsgan", REAL + 0.1, True), ("vanilla", REAL, True)):
        contest = game(gan_mode=gan_mode, ada=0.6)
        for step in range(4):
            contest.discriminator(mean_judge, real, FAKE, step)
        assert (contest.augment.p.item() > 0) == grows


@pytest.mark.parametrize("gan_mode", ["wgan", "wgangp", "relativistic", "relativistic_average"])
def test_adaptive_augmentation_needs_logits_whose_sign_means_something(gan_mode: str) -> None:
    with pytest.raises(ValueError, match=f"--ada 0.6.*{gan_mode}.*vanilla, minimax, lsgan, hinge"):
        AdversarialConfig(gan_mode=gan_mode, ada=0.6)


def test_adaptive_augmentation_turns_and_mirrors_no_digits() -> None:
    assert tiny.cgan(ada=0.6).adversarial.augment.policy == ("translation", "scale", "color")
    assert tiny.cgan(ada=0.6, diffaugment=("flip",)).adversarial.augment.policy == ("flip",)
    assert (
        tiny.pix2pix(ada=0.6).adversarial.augment.policy
        == tiny.cyclegan(ada=0.6).adversarial_a.augment.policy
        == ADAPTIVE_POLICY
    )
    assert tiny.cgan().adversarial.augment.policy == ()


@pytest.mark.parametrize("gan_mode", ["minimax", "relativistic", "relativistic_average"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_further_objectives_train_every_model(name: str, gan_mode: str) -> None:
    torch.manual_seed(0)
    model = tiny.MODELS[name](gan_mode=gan_mode)
    before = [p.detach().clone() for p in model.players["generator"].parameters()]
    values = losses_of(tiny.trainer(model))
    assert all(torch.tensor(value).isfinite() for value in values.values())
    assert any(not p.equal(old) for p, old in zip(model.players["generator"].parameters(), before, strict=True))


def test_an_auxiliary_classifier_is_a_loss_of_both() -> None:
    torch.manual_seed(0)
    model = tiny.cgan(conditioning_D="acgan", lambda_class=0.5)
    seen = [phase.losses for phase in phases(model, batch_size=6)]
    assert [{"D", "D_class"}, {"G_GAN", "G_class"}] == [set(losses) for losses in seen]
    assert seen[0]["D_class"].item() == pytest.approx(0.5 * torch.tensor(3.0).log().item(), rel=0.2)
    assert not [
        key
        for phase in phases(tiny.cgan(conditioning_D="acgan", unconditional=True))
        for key in phase.losses
        if "class" in key
    ]


def test_the_weight_of_the_classifier_needs_a_classifier() -> None:
    assert tiny.cgan(conditioning_D="acgan").adversarial.lambda_class == 1
    assert tiny.cgan().adversarial.lambda_class == 0
    with pytest.raises(ValueError, match="--lambda_class 2.*--conditioning_D acgan"):
        CGAN.Config(lambda_class=2.0)
    with pytest.raises(ValueError, match="--lambda_class 0"):
        CGAN.Config(lambda_class=0.0, conditioning_D="acgan")


SIZES_APART = Batch(a=torch.zeros(2, 3, 16, 16), b=torch.zeros(2, 3, 16, 24))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"gan_mode": "relativistic"}, "--gan_mode relativistic"),
        ({"gan_mode": "relativistic_average", "top_k": 0.5, "top_k_steps": 9}, "--top_k"),
        ({"lambda_feature": 1.0}, "--lambda_feature"),
        ({"lambda_gp": 1.0}, "a gradient penalty"),
    ],
)
def test_domains_of_different_sizes_are_refused_where_they_are_compared(options: dict[str, Any], named: str) -> None:
    sizes = "16x16 and 24x16|24x16 and 16x16"
    with pytest.raises(
        ValueError, match=f"^{named} needs images of one size, not ({sizes}): use --preprocess resize_and_"
    ):
        list(tiny.cyclegan(**options).training_step(lambda: SIZES_APART, 0))


@pytest.mark.parametrize("options", [{}, {"gan_mode": "relativistic_average"}, {"top_k": 0.5}, {"lambda_r1": 1.0}])
def test_domains_of_different_sizes_are_fine_otherwise(options: dict[str, Any]) -> None:
    assert list(tiny.cyclegan(**options).training_step(lambda: SIZES_APART, 0))


def test_clipping_leaves_the_planes_of_the_classes_alone() -> None:
    torch.manual_seed(0)
    model = tiny.cgan(conditioning_D="embedding", gan_mode="wgan")
    losses_of(tiny.trainer(model))
    largest = {name: p.abs().max().item() for name, p in model.discriminator.named_parameters()}
    assert largest.pop("planes.embedding.weight") > 1
    assert largest and max(largest.values()) <= 0.010001


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "stylegan", "spectral_norm": "both"}, "--spectral_norm both: a stylegan generator .* use D"),
        ({"gan_mode": "wgan", "spectral_norm": "D"}, "wgan clips .* --spectral_norm D .*hinge or wgangp"),
        ({"gan_mode": "wgan", "discriminator": "stylegan"}, "wgan clips .* stylegan discriminator .*hinge or wgangp"),
        ({"gan_mode": "wgan", "generator": "stylegan"}, "wgan clips .* stylegan discriminator .*hinge or wgangp"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        CGAN.Config(**options)
    assert "\n" not in str(error.value)


def test_unconditional_is_one_flag() -> None:
    torch.manual_seed(0)
    spec = DataSpec(3, 1, (8, 8))
    model = build_model("cgan", CGAN.Config(unconditional=True, generator_filters=4, discriminator_filters=4), spec)
    one, other = (model.translate(Batch(label=torch.tensor([label])), seed=3) for label in (0, 1))
    assert one.equal(other) and one.shape == (1, 1, 8, 8)
    assert list(model.visuals(Batch(label=torch.tensor([0])))) == ["fake"]
    labelled = tiny.cgan(unconditional=True)
    losses_of(tiny.trainer(labelled))
    assert not [key for key in labelled.state_dict() if "embedding" in key]


def test_truncation_holds_noise_within_bounds_and_keeps_its_order() -> None:
    model = tiny.cgan(noise_dim=64)
    plain, held = (model.latents(range(20), None, truncation) for truncation in (None, 0.5))
    assert held.abs().max() <= 0.5 < plain.abs().max()
    assert plain.flatten().argsort().equal(held.flatten().argsort())
    assert held.std().item() == pytest.approx(0.2839, rel=0.05)  # of a normal distribution cut off at half a deviation


def test_what_a_network_does_not_take_is_said_in_one_line() -> None:
    with pytest.raises(ValueError, match="style"):
        tiny.cgan(style="adain")
    with pytest.raises(ValueError, match="norm"):
        tiny.cgan(generator="stylegan", norm="batch")
