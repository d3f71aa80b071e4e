import io
import math

import pytest
import torch
from torch import Tensor

from i2i.losses import (
    DISTANCES,
    GAN_OBJECTIVES,
    Distance,
    ReplayPool,
    build_objective,
    feature_matching,
    gradient_penalty,
    keep_top,
    parse_formula,
    r1_penalty,
)

# objectives, at real logits (2, 0) and fake logits (-1, 3)
REAL, FAKE = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0])


def minus_log_sigmoid(logit: float) -> float:
    return math.log(1 + math.exp(-logit))


# generator, discriminator on real, discriminator on fake
EXPECTED = {
    "vanilla": (
        (minus_log_sigmoid(-1) + minus_log_sigmoid(3)) / 2,
        (minus_log_sigmoid(2) + math.log(2)) / 2,
        (minus_log_sigmoid(1) + minus_log_sigmoid(-3)) / 2,
    ),
    "minimax": (
        -(minus_log_sigmoid(1) + minus_log_sigmoid(-3)) / 2,
        (minus_log_sigmoid(2) + math.log(2)) / 2,
        (minus_log_sigmoid(1) + minus_log_sigmoid(-3)) / 2,
    ),
    "lsgan": ((4 + 4) / 2, (1 + 1) / 2, (1 + 9) / 2),
    "hinge": (-1.0, (0 + 1) / 2, (0 + 4) / 2),
    "wgan": (-1.0, -1.0, 1.0),
    "wgangp": (-1.0, -1.0, 1.0),
    # real - fake is 3 and -3
    "relativistic": (
        (minus_log_sigmoid(-3) + minus_log_sigmoid(3)) / 2,
        (minus_log_sigmoid(3) + minus_log_sigmoid(-3)) / 4,
        (minus_log_sigmoid(3) + minus_log_sigmoid(-3)) / 4,
    ),
    # the means are both 1
    "relativistic_average": (
        (minus_log_sigmoid(-2) + minus_log_sigmoid(2) + minus_log_sigmoid(-1) + minus_log_sigmoid(1)) / 2,
        (minus_log_sigmoid(1) + minus_log_sigmoid(-1)) / 2,
        (minus_log_sigmoid(2) + minus_log_sigmoid(-2)) / 2,
    ),
}


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_objectives_by_hand(name: str) -> None:
    objective = GAN_OBJECTIVES[name]
    values = (objective.generator(FAKE, REAL), *objective.discriminator(REAL, FAKE))
    assert [value.item() for value in values] == pytest.approx(EXPECTED[name])


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_only_relativistic_objectives_look_at_the_real_logits(name: str) -> None:
    objective = GAN_OBJECTIVES[name]
    if objective.relativistic:
        with pytest.raises(ValueError, match="give its generator the real logits"):
            objective.generator(FAKE)
        assert objective.generator(FAKE, REAL + 1) > objective.generator(FAKE, REAL)
    else:
        assert objective.generator(FAKE).item() == objective.generator(FAKE, REAL).item()


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_objectives_pull_the_right_way(name: str) -> None:
    real, fake = (torch.zeros(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    real_loss, fake_loss = GAN_OBJECTIVES[name].discriminator(real, fake)
    pull_real, pull_fake = torch.autograd.grad(real_loss + fake_loss, [real, fake])
    (pull_generator,) = torch.autograd.grad(GAN_OBJECTIVES[name].generator(fake, real), fake)
    assert (pull_real < 0).all()
    assert (pull_fake >= 0).all()
    assert (pull_generator < 0).all()


def test_relativistic_averages_compare_with_the_mean_of_the_other_side() -> None:
    objective = GAN_OBJECTIVES["relativistic_average"]
    real_loss, fake_loss = objective.discriminator(torch.tensor([2.0]), torch.tensor([-4.0, 2.0, -1.0]))
    assert real_loss.item() == pytest.approx(minus_log_sigmoid(2 + 1))
    assert fake_loss.item() == pytest.approx(sum(map(minus_log_sigmoid, (6, 0, 3))) / 3)


def test_minimax_saturates_where_the_discriminator_wins_and_vanilla_does_not() -> None:
    logits = torch.tensor([-6.0, 0.0, 6.0], dtype=torch.float64)
    pulls = {}
    for name in ("minimax", "vanilla"):
        fake = logits.clone().requires_grad_()
        (pulls[name],) = torch.autograd.grad(3 * GAN_OBJECTIVES[name].generator(fake), fake)
    torch.testing.assert_close(pulls["minimax"], -logits.sigmoid())
    torch.testing.assert_close(pulls["vanilla"], logits.sigmoid() - 1)


# optima: real and fake points drawn from four, with one free logit for each

P_DATA, P_FAKE = (torch.tensor(counts, dtype=torch.float64) / 8 for counts in ([4, 2, 1, 1], [1, 1, 2, 4]))


def best_discriminator(
    name: str, p_data: Tensor, p_fake: Tensor, smoothing: float = 0.0, smoothing_fake: float = 0.0
) -> tuple[Tensor, float]:
    """Logits at the four points that minimise the discriminator's loss, and that loss."""
    objective = build_objective(name, smoothing, smoothing_fake)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    real, fake = (torch.arange(4).repeat_interleave((8 * p).long()) for p in (p_data, p_fake))
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = sum(objective.discriminator(logits[real], logits[fake]))
        total.backward()
        return total

    optimizer.step(loss)
    return logits.detach(), loss().item()


@pytest.mark.parametrize("name", ["vanilla", "minimax"])
def test_the_best_discriminator_is_the_share_of_the_data(name: str) -> None:
    # Goodfellow et al. 2014, proposition 1, and theorem 1: the value is -log 4 + 2 JSD.
    logits, loss = best_discriminator(name, P_DATA, P_FAKE)
    torch.testing.assert_close(logits.sigmoid(), P_DATA / (P_DATA + P_FAKE), rtol=0, atol=1e-6)
    mixture = (P_DATA + P_FAKE) / 2
    jsd = sum((p * (p / mixture).log()).sum() for p in (P_DATA, P_FAKE)).item() / 2
    assert -loss == pytest.approx(-math.log(4) + 2 * jsd, abs=1e-9)


@pytest.mark.parametrize("name", ["vanilla", "minimax"])
def test_a_perfect_generator_leaves_minus_log_four(name: str) -> None:
    logits, loss = best_discriminator(name, P_DATA, P_DATA)
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.5), rtol=0, atol=1e-6)
    assert -loss == pytest.approx(-math.log(4), abs=1e-9)


def test_the_best_least_squares_discriminator_is_the_share_of_the_data() -> None:
    logits, _ = best_discriminator("lsgan", P_DATA, P_FAKE)
    torch.testing.assert_close(logits, P_DATA / (P_DATA + P_FAKE), rtol=0, atol=1e-6)


def test_hinge_is_flat_beyond_its_margins() -> None:
    for real, fake, losses in ((2.0, -3.0, (0, 0)), (-2.0, 3.0, (3, 4))):
        found = GAN_OBJECTIVES["hinge"].discriminator(torch.tensor([real]), torch.tensor([fake]))
        assert tuple(loss.item() for loss in found) == losses


# label smoothing


@pytest.mark.parametrize(("smoothing", "smoothing_fake"), [(0.1, 0.0), (0.2, 0.05)])
@pytest.mark.parametrize("name", ["vanilla", "minimax", "lsgan"])
def test_the_best_discriminator_under_label_smoothing(name: str, smoothing: float, smoothing_fake: float) -> None:
    # Salimans et al. 2016, section 3.4: (alpha p_data + beta p_model) / (p_data + p_model)
    logits, _ = best_discriminator(name, P_DATA, P_FAKE, smoothing, smoothing_fake)
    expected = ((1 - smoothing) * P_DATA + smoothing_fake * P_FAKE) / (P_DATA + P_FAKE)
    torch.testing.assert_close(logits if name == "lsgan" else logits.sigmoid(), expected, rtol=0, atol=1e-6)


def test_label_smoothing_by_hand() -> None:
    real_loss, fake_loss = build_objective("lsgan", 0.1, 0.2).discriminator(REAL, FAKE)
    assert real_loss.item() == pytest.approx((1.1**2 + 0.9**2) / 2)
    assert fake_loss.item() == pytest.approx((1.2**2 + 2.8**2) / 2)
    real_loss, fake_loss = build_objective("vanilla", 0.1).discriminator(REAL, FAKE)
    assert real_loss.item() == pytest.approx(EXPECTED["vanilla"][1] + 0.1 * (2 + 0) / 2)
    assert fake_loss.item() == pytest.approx(EXPECTED["vanilla"][2])


@pytest.mark.parametrize("name", ["vanilla", "minimax", "lsgan"])
def test_label_smoothing_leaves_the_generator_alone(name: str) -> None:
    assert build_objective(name, 0.3, 0.3).generator is GAN_OBJECTIVES[name].generator


@pytest.mark.parametrize("name", GAN_OBJECTIVES)
def test_objectives_are_unsmoothed_unless_told(name: str) -> None:
    assert build_objective(name) == GAN_OBJECTIVES[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hinge", 0.1), "--label_smoothing 0.1: --gan_mode hinge has no targets.*vanilla, minimax, lsgan"),
        (("wgangp", 0.0, 0.2), "--label_smoothing_fake 0.2: --gan_mode wgangp has no targets"),
        (("relativistic", 0.1), "--label_smoothing 0.1: --gan_mode relativistic has no targets"),
        (("vanilla", 0.5), "--label_smoothing 0.5: must be at least 0 and less than 0.5"),
        (("vanilla", -0.1), "--label_smoothing -0.1: must be"),
        (("lsgan", 0.0, math.nan), "--label_smoothing_fake nan: must be"),
        (("lsgna",), "--gan_mode 'lsgna': choose from vanilla, minimax, lsgan, hinge"),
    ],
)
def test_smoothing_that_makes_no_sense_is_an_error(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_objective(*arguments)


@pytest.mark.parametrize(
    ("name", "smoothing", "smoothing_fake"),
    [
        ("vanilla", 0, 0),
        ("minimax", 0.1, 0),
        ("vanilla", 0.2, 0.1),
        ("lsgan", 0, 0),
        ("lsgan", 0.1, 0.3),
        ("hinge", 0, 0),
    ],
)
def test_the_boundary_is_what_the_best_discriminator_says_of_what_may_be_either(
    name: str, smoothing: float, smoothing_fake: float
) -> None:
    objective = build_objective(name, smoothing, smoothing_fake)
    logit = torch.tensor([objective.boundary], requires_grad=True)
    sum(objective.discriminator(logit, logit)).backward()
    assert logit.grad.item() == pytest.approx(0, abs=1e-6)


def test_only_the_wasserstein_objectives_bind_the_critic() -> None:
    bound = {name: (o.gradient_penalty, o.weight_clip) for name, o in GAN_OBJECTIVES.items()}
    assert bound.pop("wgan") == (0, 0.01)
    assert bound.pop("wgangp") == (10, None)
    assert set(bound.values()) == {(0, None)}


# distances


def test_distances_by_hand() -> None:
    prediction, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    assert DISTANCES["l1"](prediction, target).item() == pytest.approx((0.5 + 2) / 2)
    assert DISTANCES["l2"](prediction, target).item() == pytest.approx((0.25 + 4) / 2)
    assert DISTANCES["smooth_l1"](prediction, target).item() == pytest.approx((0.125 + 1.5) / 2)


def flat(value: float, size: int = 16) -> Tensor:
    return torch.full((1, 3, size, size), value, dtype=torch.float64)


def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    # Flat images have no variance, so that only (2 x y + c1) / (x^2 + y^2 + c1) is left, of x and y in [0, 1].
    x, y = 0.75, 0.375
    expected = (2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4)
    assert DISTANCES["ssim"](flat(0.5), flat(-0.25)).item() == pytest.approx(1 - expected, abs=1e-6)


def test_ssim_orders_and_differentiates() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 24, 24, dtype=torch.float64) * 2 - 1
    noisy = (image + 0.1 * torch.randn_like(image)).requires_grad_()
    assert DISTANCES["ssim"](image, image).item() == pytest.approx(0, abs=1e-9)
    assert 0 < DISTANCES["ssim"](noisy, image) < DISTANCES["ssim"](-image, image)
    small = noisy[:1, :1, :12, :12]
    assert torch.autograd.gradcheck(lambda x: DISTANCES["ssim"](x, image[:1, :1, :12, :12]), small)


def test_ssim_refuses_images_below_its_window() -> None:
    assert DISTANCES["ssim"](flat(0.1, 11), flat(0.1, 11)).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="11x11, got 10x10"):
        DISTANCES["ssim"](flat(0.1, 10), flat(0.1, 10))


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("100*l1", {"l1": 100}),
        ("l1", {"l1": 1}),
        ("10*l1 + 1*ssim", {"l1": 10, "ssim": 1}),
        ("0.5*l1+1e+1*l2 + 1e-1 * smooth_l1", {"l1": 0.5, "l2": 10, "smooth_l1": 0.1}),
    ],
)
def test_formulas(formula: str, weights: dict[str, float]) -> None:
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
def test_formula_errors_name_the_term_and_the_choices(formula: str, term: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_formula(formula)
    message = str(caught.value)
    assert f"cannot read {term!r}" in message
    assert "l1, l2, smooth_l1, ssim" in message
    assert "\n" not in message


def test_a_name_that_comes_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="'l1' comes twice"):
        Distance("l1 + 2*l1")


def test_distance_weighs_and_sums() -> None:
    prediction, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    distance = Distance("100*l1 + 2*l2")
    terms = {name: term.item() for name, term in distance.terms(prediction, target).items()}
    assert terms == pytest.approx({"l1": 125, "l2": 4.25})
    assert distance(prediction, target).item() == pytest.approx(129.25)


# the gradient penalty


def test_gradient_penalty_of_a_linear_critic_by_hand() -> None:
    # The gradient is the weight (3, 4) everywhere, so that the penalty is (5 - 1)^2, and its gradient is
    # 2 (5 - 1) (3, 4) / 5.
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(6, 2, 1, 1), torch.randn(6, 2, 1, 1)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, real, fake)
    assert penalty.item() == pytest.approx(16)
    penalty.backward()
    assert weight.grad.tolist() == pytest.approx([4.8, 6.4])


def test_gradient_penalty_is_taken_per_sample_between_real_and_fake() -> None:
    # For x^2 / 2 the gradient at a point is the point itself: samples that do not move show that each counts alone.
    points = torch.tensor([3.0, -1.0]).view(2, 1, 1, 1)
    assert gradient_penalty(lambda x: x.square() / 2, points, points).item() == pytest.approx((4 + 0) / 2)
    seen = []
    gradient_penalty(lambda x: seen.append(x) or x.sum(), torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2))
    assert (seen[0] == seen[0][:, :, :1, :1]).all()
    assert seen[0].min() >= 0 and seen[0].max() <= 1 and seen[0].std() > 0.2


def test_gradient_penalty_leaves_the_generator_alone() -> None:
    fake = torch.randn(2, 1, 4, 4, requires_grad=True)
    weight = torch.ones(1, requires_grad=True)
    gradient_penalty(lambda x: weight * x.square(), torch.randn(2, 1, 4, 4), fake).backward()
    assert fake.grad is None
    assert weight.grad is not None


def test_r1_of_a_linear_critic_is_the_squared_weight() -> None:
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = r1_penalty(lambda x: x.flatten(1) @ weight, torch.randn(6, 2, 1, 1))
    assert penalty.item() == pytest.approx(25)
    penalty.backward()
    assert weight.grad.tolist() == pytest.approx([6, 8])


def test_r1_of_a_quadratic_critic_counts_every_sample() -> None:
    # The gradient of w x^2 / 2 is w x: here 2 * (3, -1) and 2 * (0, 2), with squares 40 and 16.
    weight = torch.tensor(2.0, requires_grad=True)
    real = torch.tensor([3.0, -1.0, 0.0, 2.0]).view(2, 1, 1, 2)
    penalty = r1_penalty(lambda x: weight * x.square().sum(dim=(1, 2, 3)) / 2, real)
    assert penalty.item() == pytest.approx((40 + 16) / 2)
    penalty.backward()
    assert weight.grad.item() == pytest.approx(2 * 28 / 2)


def test_r1_is_taken_in_full_precision_and_takes_images_as_constants() -> None:
    weight = torch.full((1, 1, 1, 1), 1 / 3, requires_grad=True)
    real = torch.randn(2, 1, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = r1_penalty(lambda x: torch.nn.functional.conv2d(x, weight) + x.square(), real)
    gradients = 1 / 3 + 2 * real.detach()
    assert penalty.item() == pytest.approx(gradients.square().sum().item() / 2, rel=1e-6)
    penalty.backward()
    assert weight.grad.item() == pytest.approx(gradients.sum().item(), rel=1e-5)
    assert real.grad is None


# feature matching

FEATURES = torch.tensor([[0.0, 2.0], [4.0, 6.0]]), torch.tensor([[[[1.0]]], [[[3.0]]]])
OTHERS = torch.tensor([[4.0, 6.0], [1.0, 2.0]]), torch.tensor([[[[3.0]]], [[[2.0]]]])


def test_feature_matching_by_hand() -> None:
    # element by element: (4 + 4 + 3 + 4) / 4 and (2 + 1) / 2; means: (2, 4) against (2.5, 4), and 2 against 2.5
    assert feature_matching(FEATURES, OTHERS, paired=True).item() == pytest.approx((15 / 4 + 3 / 2) / 2)
    assert feature_matching(FEATURES, OTHERS, paired=False).item() == pytest.approx((0.5 / 2 + 0.5) / 2)


def test_unpaired_feature_matching_is_blind_to_the_order_of_the_batch() -> None:
    reversed_features = [features.flip(0) for features in FEATURES]
    assert feature_matching(FEATURES, reversed_features, paired=False).item() == 0
    assert feature_matching(FEATURES, reversed_features, paired=True).item() == pytest.approx((4 + 2) / 2)


@pytest.mark.parametrize("paired", [True, False])
def test_feature_matching_takes_the_real_features_as_constants(paired: bool) -> None:
    fake, real = ([features.clone().requires_grad_() for features in side] for side in (FEATURES, OTHERS))
    feature_matching(fake, real, paired).backward()
    assert all(features.grad is None for features in real)
    assert all(features.grad.abs().sum() > 0 for features in fake)


# top-k


def test_the_best_judged_are_kept() -> None:
    logits = torch.tensor([[1.0, 5.0], [-2.0, 3.0], [4.0, 0.0]], requires_grad=True)
    kept = keep_top(logits, 0.5)
    assert kept.tolist() == [5, 4, 3]
    kept.sum().backward()
    assert logits.grad.tolist() == [[0, 1], [0, 1], [1, 0]]


def test_real_logits_are_kept_from_the_same_places() -> None:
    fake, real = torch.tensor([[1.0], [3.0], [2.0]]), torch.tensor([[10.0], [30.0], [20.0]])
    kept, partners = keep_top(fake, 2 / 3, real)
    assert kept.tolist() == [3, 2]
    assert partners.tolist() == [30, 20]


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.07, 7), (0.071, 8), (0.5, 50), (0.999, 100)])
def test_the_number_kept_is_rounded_up(fraction: float, count: int) -> None:
    assert keep_top(torch.randn(100, 1), fraction).shape == (count,)


def test_all_are_kept_as_they_are() -> None:
    assert keep_top(FAKE, 1.0) is FAKE
    assert keep_top(FAKE, 1.0, REAL) == (FAKE, REAL)


# the replay pool


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)


def test_pool_of_size_zero_passes_through() -> None:
    images = numbered(1, 2).requires_grad_()
    queried = ReplayPool(0).query(images)
    assert queried.equal(images)
    assert not queried.requires_grad


def test_pool_fills_first() -> None:
    pool = ReplayPool(3)
    assert pool.query(numbered(1, 2)).flatten().tolist() == [1, 2]
    assert pool.query(numbered(3)).flatten().tolist() == [3]
    assert [image.item() for image in pool.images] == [1, 2, 3]


def test_full_pool_exchanges_every_second_image() -> None:
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


def test_pool_detaches_and_keeps_no_batch_alive() -> None:
    pool = ReplayPool(2)
    batch = numbered(1, 2).requires_grad_()
    assert not pool.query(batch).requires_grad
    assert all(image.untyped_storage().nbytes() == 4 and not image.requires_grad for image in pool.images)


def test_pool_goes_on_from_its_state() -> None:
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


def test_pool_state_is_a_snapshot() -> None:
    pool = ReplayPool(1)
    pool.query(numbered(1))
    state = pool.state_dict()
    for number in range(2, 30):
        pool.query(numbered(number))
    restored = ReplayPool(1)
    restored.load_state_dict(state)
    assert restored.images[0].item() == 1


def test_pool_refuses_a_negative_size() -> None:
    with pytest.raises(ValueError, match="pool size -1"):
        ReplayPool(-1)
