import io
import math

import pytest
import torch
from torch import Tensor

from i2i.losses import DISTANCES, GAN_OBJECTIVES, Distance, ReplayPool, gradient_penalty, parse_formula

# objectives, at real logits (2, 0) and fake logits (-1, 3)
REAL, FAKE = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0])


def minus_log_sigmoid(logit: float) -> float:
    return math.log(1 + math.exp(-logit))


EXPECTED = {
    "vanilla": (
        (minus_log_sigmoid(-1) + minus_log_sigmoid(3)) / 2,
        (minus_log_sigmoid(2) + math.log(2)) / 2,
        (minus_log_sigmoid(1) + minus_log_sigmoid(-3)) / 2,
    ),
    "lsgan": ((4 + 4) / 2, (1 + 1) / 2, (1 + 9) / 2),
    "hinge": (-1.0, (0 + 1) / 2, (0 + 4) / 2),
    "wgan": (-1.0, -1.0, 1.0),
    "wgangp": (-1.0, -1.0, 1.0),
}


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_objectives_by_hand(name: str):
    objective = GAN_OBJECTIVES[name]
    values = (objective.generator(FAKE), *objective.discriminator(REAL, FAKE))
    assert [value.item() for value in values] == pytest.approx(EXPECTED[name])
    assert objective.generator(FAKE, REAL).item() == pytest.approx(EXPECTED[name][0])


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_objectives_pull_the_right_way(name: str):
    real, fake = (torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    real_loss, fake_loss = GAN_OBJECTIVES[name].discriminator(real, fake)
    pull_real, pull_fake = torch.autograd.grad(real_loss + fake_loss, [real, fake])
    (pull_generator,) = torch.autograd.grad(GAN_OBJECTIVES[name].generator(fake), fake)
    assert (pull_real < 0).all()
    assert (pull_fake >= 0).all()
    assert (pull_generator < 0).all()


def test_only_the_wasserstein_objectives_bind_the_critic():
    bound = {name: (o.gradient_penalty, o.weight_clip) for name, o in GAN_OBJECTIVES.items()}
    assert bound.pop("wgan") == (0, 0.01)
    assert bound.pop("wgangp") == (10, None)
    assert set(bound.values()) == {(0, None)}


# distances


def test_distances_by_hand():
    prediction, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    assert DISTANCES["l1"](prediction, target).item() == pytest.approx((0.5 + 2) / 2)
    assert DISTANCES["l2"](prediction, target).item() == pytest.approx((0.25 + 4) / 2)
    assert DISTANCES["smooth_l1"](prediction, target).item() == pytest.approx((0.125 + 1.5) / 2)


def flat(value: float, size: int = 16) -> Tensor:
    return torch.full((1, 3, size, size), value, dtype=torch.float64)


def test_ssim_of_flat_images_is_the_luminance_term():
    # Flat images have no variance, so that only (2 x y + c1) / (x^2 + y^2 + c1) is left, c1 = (0.01 * 2)^2.
    expected = (2 * 0.5 * -0.25 + 4e-4) / (0.25 + 0.0625 + 4e-4)
    assert DISTANCES["ssim"](flat(0.5), flat(-0.25)).item() == pytest.approx(1 - expected, abs=1e-6)


def test_ssim_orders_and_differentiates():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 24, 24, dtype=torch.float64) * 2 - 1
    noisy = (image + 0.1 * torch.randn_like(image)).requires_grad_()
    assert DISTANCES["ssim"](image, image).item() == pytest.approx(0, abs=1e-9)
    assert 0 < DISTANCES["ssim"](noisy, image) < DISTANCES["ssim"](-image, image)
    assert torch.autograd.gradcheck(lambda x: DISTANCES["ssim"](x, image[:1, :1, :7, :7]), noisy[:1, :1, :7, :7])


def test_ssim_refuses_images_below_its_window():
    assert DISTANCES["ssim"](flat(0.1, 6), flat(0.1, 6)).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="ssim needs images of at least 6x6, got 5x5"):
        DISTANCES["ssim"](flat(0.1, 5), flat(0.1, 5))


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("100*l1", {"l1": 100}),
        ("l1", {"l1": 1}),
        ("10*l1 + 1*ssim", {"l1": 10, "ssim": 1}),
        ("0.5*l1+1e+1*l2 + 1e-1 * smooth_l1", {"l1": 0.5, "l2": 10, "smooth_l1": 0.1}),
    ],
)
def test_formulas(formula: str, weights: dict[str, float]):
    assert parse_formula(formula) == weights


@pytest.mark.parametrize(
    ("formula", "term"),
    [
        ("100*L1", "100*L1"),
        ("l1*100", "l1*100"),
        ("l1 + ", ""),
        ("", ""),
        ("l1 + 3*lp", "3*lp"),
        ("-1*l1", "-1*l1"),
        ("l1 - l2", "l1 - l2"),
        ("nan*l1", "nan*l1"),
    ],
)
def test_formula_errors_name_the_term_and_the_choices(formula: str, term: str):
    with pytest.raises(ValueError) as caught:
        parse_formula(formula)
    message = str(caught.value)
    assert f"cannot read {term!r}" in message
    assert "l1, l2, smooth_l1, ssim" in message
    assert "\n" not in message


def test_a_name_that_comes_twice_is_an_error():
    with pytest.raises(ValueError, match="'l1' comes twice"):
        Distance("l1 + 2*l1")


def test_distance_weighs_and_sums():
    prediction, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    distance = Distance("100*l1 + 2*l2")
    terms = {name: term.item() for name, term in distance.terms(prediction, target).items()}
    assert terms == pytest.approx({"l1": 125, "l2": 4.25})
    assert distance(prediction, target).item() == pytest.approx(129.25)


# the gradient penalty


def test_gradient_penalty_of_a_linear_critic_by_hand():
    # The gradient is the weight (3, 4) everywhere, so that the penalty is (5 - 1)^2, and its gradient is
    # 2 (5 - 1) (3, 4) / 5.
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(6, 2, 1, 1), torch.randn(6, 2, 1, 1)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, real, fake)
    assert penalty.item() == pytest.approx(16)
    penalty.backward()
    assert weight.grad.tolist() == pytest.approx([4.8, 6.4])


def test_gradient_penalty_is_taken_per_sample_between_real_and_fake():
    # For x^2 / 2 the gradient at a point is the point itself: samples that do not move show that each counts alone.
    points = torch.tensor([3.0, -1.0]).view(2, 1, 1, 1)
    assert gradient_penalty(lambda x: x.square() / 2, points, points).item() == pytest.approx((4 + 0) / 2)
    seen = []
    gradient_penalty(lambda x: seen.append(x) or x.sum(), torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2))
    assert (seen[0] == seen[0][:, :, :1, :1]).all()
    assert seen[0].min() >= 0 and seen[0].max() <= 1 and seen[0].std() > 0.2


def test_gradient_penalty_leaves_the_generator_alone():
    fake = torch.randn(2, 1, 4, 4, requires_grad=True)
    weight = torch.ones(1, requires_grad=True)
    gradient_penalty(lambda x: weight * x.square(), torch.randn(2, 1, 4, 4), fake).backward()
    assert fake.grad is None
    assert weight.grad is not None


# the replay pool


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)


def test_pool_of_size_zero_passes_through():
    images = numbered(1, 2).requires_grad_()
    queried = ReplayPool(0).query(images)
    assert queried.equal(images)
    assert not queried.requires_grad


def test_pool_fills_first():
    pool = ReplayPool(3)
    assert pool.query(numbered(1, 2)).flatten().tolist() == [1, 2]
    assert pool.query(numbered(3)).flatten().tolist() == [3]
    assert [image.item() for image in pool.images] == [1, 2, 3]


def test_full_pool_exchanges_every_second_image():
    torch.manual_seed(0)
    pool = ReplayPool(5)
    pool.query(numbered(*range(5)))
    exchanged = 0
    for number in range(5, 2005):
        held = {image.item() for image in pool.images}
        returned = pool.query(numbered(number)).item()
        now = {image.item() for image in pool.images}
        assert now == (held if returned == number else held - {returned} | {number})
        exchanged += returned != number
    assert 900 < exchanged < 1100


def test_pool_detaches_and_keeps_no_batch_alive():
    pool = ReplayPool(2)
    batch = numbered(1, 2).requires_grad_()
    assert not pool.query(batch).requires_grad
    assert all(image.untyped_storage().nbytes() == 4 and not image.requires_grad for image in pool.images)


def test_pool_goes_on_from_its_state():
    torch.manual_seed(0)
    pool = ReplayPool(4)
    pool.query(numbered(*range(6)))
    file = io.BytesIO()
    torch.save({"pool": pool.state_dict(), "random": torch.get_rng_state()}, file)
    straight = [pool.query(numbered(n, n + 100)) for n in range(10, 30)]

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = ReplayPool(4)
    resumed.load_state_dict(saved["pool"])
    torch.set_rng_state(saved["random"])
    again = [resumed.query(numbered(n, n + 100)) for n in range(10, 30)]
    assert torch.stack(straight).equal(torch.stack(again))


def test_pool_state_is_a_snapshot():
    pool = ReplayPool(1)
    pool.query(numbered(1))
    state = pool.state_dict()
    for number in range(2, 30):
        pool.query(numbered(number))
    restored = ReplayPool(1)
    restored.load_state_dict(state)
    assert restored.images[0].item() == 1


def test_pool_refuses_a_negative_size():
    with pytest.raises(ValueError, match="pool size -1"):
        ReplayPool(-1)
