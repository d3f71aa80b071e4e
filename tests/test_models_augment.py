"""What discriminators see instead of images: each change does what its paper says, and ADA's probability follows."""

import dataclasses

import pytest
import torch
from torch import Tensor

from i2i.models.augment import ADAPTIVE_POLICY, AUGMENTATIONS, DiscriminatorAugment, warped
from tests import tiny


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def numbered(samples: int, channels: int, size: int) -> Tensor:
    """Images in which every pixel of a sample differs from the others, none is 0, and all samples are alike."""
    return torch.arange(1.0, channels * size**2 + 1).view(1, channels, size, size).repeat(samples, 1, 1, 1)


def adaptive(policy: tuple[str, ...] = ("translation",), p: float = 0.0, target: float = 0.6) -> DiscriminatorAugment:
    augment = DiscriminatorAugment(policy, (1,), target, images_to_full=100)
    augment.p.fill_(p)
    return augment


# what each change does


def test_translation_shifts_by_whole_pixels_up_to_an_eighth_and_fills_with_zeros() -> None:
    images = numbered(300, 2, 16)
    seen = DiscriminatorAugment(["translation"], [2])(images)
    shifts = set()
    for before, after in zip(images, seen, strict=True):
        (row, column), (new_row, new_column) = (
            (image[0] == 8 * 16 + 9).nonzero()[0].tolist() for image in (before, after)
        )
        down, right = new_row - row, new_column - column
        expected = torch.zeros(2, 20, 20)
        expected[:, 2 + down : 18 + down, 2 + right : 18 + right] = before
        assert after.equal(expected[:, 2:18, 2:18])
        shifts.add((down, right))
    assert shifts == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


@pytest.mark.parametrize(("size", "side"), [(8, 4), (28, 14), (5, 3)])
def test_cutout_removes_a_square_of_half_the_side_around_any_pixel(size: int, side: int) -> None:
    removed = DiscriminatorAugment(["cutout"], [3])(numbered(2000, 3, size)) == 0
    assert removed[:, :1].expand(-1, 3, -1, -1).equal(removed)
    rows, columns = removed[:, 0].any(dim=2).sum(dim=1), removed[:, 0].any(dim=1).sum(dim=1)
    assert removed[:, 0].sum(dim=(1, 2)).equal(rows * columns)  # rectangles
    assert rows.max() == columns.max() == side
    assert rows.min() == columns.min() == (side + 1) // 2  # the centre lies on the border, or next to it
    assert removed.any(dim=0).all()


def test_flip_mirrors_about_half_of_the_samples() -> None:
    images = numbered(200, 1, 6)
    seen = DiscriminatorAugment(["flip"], [1])(images)
    flipped = (seen == images.flip(3)).flatten(1).all(dim=1)
    assert (flipped ^ (seen == images).flatten(1).all(dim=1)).all()
    assert 70 < flipped.sum() < 130


def test_rotate90_turns_by_each_multiple_equally_often() -> None:
    images = numbered(400, 2, 6)
    seen = DiscriminatorAugment(["rotate90"], [2])(images)
    counts = [(seen == images.rot90(turns, (2, 3))).flatten(1).all(dim=1).sum() for turns in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 60


def test_what_is_not_square_is_turned_by_half_only() -> None:
    images = numbered(50, 1, 6)[..., :4]
    seen = DiscriminatorAugment(["rotate90"], [1])(images)
    turned = (seen == images.rot90(2, (2, 3))).flatten(1).all(dim=1)
    assert (turned ^ (seen == images).flatten(1).all(dim=1)).all()
    assert 0 < turned.sum() < 50


def test_warps_by_hand() -> None:
    images = torch.rand(3, 2, 9, 9)
    zero, one = torch.zeros(3), torch.ones(3)
    torch.testing.assert_close(warped(images, zero, one), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(warped(images, 90 * one, one), images.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    doubled = warped(images, zero, 2 * one)
    torch.testing.assert_close(doubled[..., ::2, ::2], images[..., 2:7, 2:7], atol=1e-5, rtol=0)
    halved = warped(images, zero, one / 2)
    torch.testing.assert_close(halved[..., 2:7, 2:7], images[..., ::2, ::2], atol=1e-5, rtol=0)
    assert not halved[..., 0, :].any() and not halved[..., -1].any()


def test_scale_and_rotation_draw_from_their_distributions() -> None:
    side = 33
    ramp = torch.linspace(-1, 1, side).expand(1000, 1, side, side)  # x, whose slope at the centre tells the change

    def slopes(name: str) -> tuple[Tensor, Tensor]:
        seen, middle = DiscriminatorAugment([name], [1])(ramp), side // 2
        unit = 2 / (side - 1)
        across = (seen[:, 0, middle, middle + 1] - seen[:, 0, middle, middle - 1]) / 2 / unit
        down = (seen[:, 0, middle + 1, middle] - seen[:, 0, middle - 1, middle]) / 2 / unit
        return across, down

    across, down = slopes("scale")
    assert abs(down).max() < 1e-4
    logarithm = -across.log2()
    assert abs(logarithm.mean()) < 0.02 and abs(logarithm.std() - 0.2) < 0.02
    across, down = slopes("rotation")
    torch.testing.assert_close(across.square() + down.square(), torch.ones(1000), atol=1e-3, rtol=0)
    quarters = torch.histc(torch.atan2(down, across), 4, -torch.pi, torch.pi)
    assert quarters.min() > 200


def test_color_is_an_affine_change_of_each_image_with_the_paper_s_strengths() -> None:
    grey = torch.randn(2000, 1, 3, 3)
    seen = DiscriminatorAugment(["color"], [1])(grey)
    contrast = seen.flatten(1).std(dim=1) / grey.flatten(1).std(dim=1)
    brightness = seen.mean(dim=(1, 2, 3)) - grey.mean(dim=(1, 2, 3))
    for values, low, high in ((contrast, 0.5, 1.5), (brightness, -0.5, 0.5)):
        assert low - 1e-3 < values.min() < low + 0.02
        assert high - 0.02 < values.max() < high + 1e-3
    centred, seen_centred = (images - images.mean(dim=(1, 2, 3), keepdim=True) for images in (grey, seen))
    torch.testing.assert_close(seen_centred, contrast.view(-1, 1, 1, 1) * centred, atol=1e-4, rtol=1e-3)


def test_saturation_moves_three_channels_to_and_from_their_mean_alone() -> None:
    images = torch.randn(2000, 3, 3, 3)
    seen = DiscriminatorAugment(["color"], [3])(images)

    def spread(of: Tensor) -> Tensor:
        return (of - of.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2, 3)).sqrt()

    def contrast(of: Tensor) -> Tensor:
        return of.mean(dim=1).flatten(1).std(dim=1)

    saturation = (spread(seen) / spread(images)) / (contrast(seen) / contrast(images))
    assert saturation.min() < 0.02 and 1.98 < saturation.max() < 2.001
    assert abs(saturation.mean() - 1) < 0.05
    two = torch.randn(50, 2, 3, 3)
    seen = DiscriminatorAugment(["color"], [2])(two)
    difference = (seen[:, 0] - seen[:, 1]) / (two[:, 0] - two[:, 1])  # contrast, the same at every pixel
    assert difference.flatten(1).std(dim=1).max() < 1e-3


# pairs


def test_both_images_of_a_pair_move_alike_and_are_coloured_apart() -> None:
    image = torch.rand(6, 3, 16, 16)
    pair = torch.cat([image, image], dim=1)
    for name in AUGMENTATIONS:
        first, second = DiscriminatorAugment([name], (3, 3))(pair).split(3, dim=1)
        assert first.equal(second) == (name != "color"), name


@pytest.mark.parametrize(("size", "channels"), [(28, (1,)), (64, (3, 3)), (9, (3, 1))])
def test_all_changes_in_a_row_take_any_size_and_channels(size: int, channels: tuple[int, ...]) -> None:
    images = torch.rand(4, sum(channels), size, size, requires_grad=True)
    seen = DiscriminatorAugment(list(AUGMENTATIONS), channels)(images)
    assert seen.shape == images.shape and seen.isfinite().all()
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert all(sample.any() for sample in gradient)


# gradients and types


def test_gradients_reach_the_images_but_not_what_was_cut_out() -> None:
    images = torch.rand(8, 1, 8, 8, requires_grad=True)
    seen = DiscriminatorAugment(["cutout"], [1])(images)
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert gradient.equal((seen != 0).float())
    assert (gradient == 0).any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_gradient_is_that_of_the_function(name: str) -> None:
    weight = torch.randn(3, 3, 8, 8)
    images, direction = torch.rand(3, 3, 8, 8, requires_grad=True), torch.randn(3, 3, 8, 8)

    def seen(of: Tensor) -> Tensor:
        torch.manual_seed(1)
        return (DiscriminatorAugment([name], [3])(of) * weight).sum()

    (gradient,) = torch.autograd.grad(seen(images), images)
    difference = seen(images + direction) - seen(images)  # every change is affine in the images
    torch.testing.assert_close((gradient * direction).sum(), difference, atol=1e-3, rtol=1e-3)


def test_under_autocast_types_stay_and_places_are_exact() -> None:
    images = torch.rand(4, 3, 64, 64)
    augment = DiscriminatorAugment(["rotation", "scale", "color"], [3])
    torch.manual_seed(1)
    exact = augment(images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        assert augment(images).equal(exact)
        torch.manual_seed(1)
        rounded = augment(images.bfloat16())
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.03, rtol=0)


def test_draws_are_anew_for_each_call_and_repeat_with_the_seed() -> None:
    images = torch.rand(8, 3, 16, 16)
    augment = DiscriminatorAugment(list(AUGMENTATIONS), [3])
    torch.manual_seed(1)
    first, second = augment(images), augment(images)
    assert not first.equal(second)
    torch.manual_seed(1)
    assert augment(images).equal(first)


# plain models


def test_nothing_to_do_is_the_identity_without_state() -> None:
    augment = DiscriminatorAugment([], (1,))
    images = torch.rand(2, 1, 8, 8)
    assert augment(images) is images
    augment.observe(torch.ones(2, 1))
    assert not augment.state_dict()
    assert not DiscriminatorAugment(ADAPTIVE_POLICY, (1,)).state_dict()


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="'blur'.*color, translation, cutout, flip"):
        DiscriminatorAugment(["color", "blur"], [3])


# adaptive


def test_at_probability_zero_images_stay_bit_for_bit() -> None:
    images = torch.randn(8, 1, 28, 28)
    augment = DiscriminatorAugment(list(AUGMENTATIONS), (1,), target=0.6)
    assert augment(images).equal(images)


def test_the_probability_is_that_of_each_change_of_each_sample() -> None:
    images = numbered(2000, 1, 6)
    seen = adaptive(("flip",), p=0.6)(images)
    flipped = (seen == images.flip(3)).flatten(1).all(dim=1).float().mean()
    assert abs(flipped - 0.3) < 0.04  # a flip flips half of them
    seen = adaptive(("cutout",), p=1.0)(images)
    assert (seen == 0).flatten(1).any(dim=1).all()


def test_probability_moves_at_every_fourth_call_by_the_images_seen() -> None:
    augment = adaptive(target=0.5)
    confident, unsure = torch.full((5, 1, 2, 2), 3.0), torch.tensor([[2.0], [-1.0], [1.0], [-9.0]])
    expected = []
    for call in range(8):
        augment.observe(confident)
        expected.append(round(augment.p.item(), 6))
        assert expected[-1] == (0.0, 0.2, 0.4)[(call + 1) // 4]  # 4 calls of 5 images, of 100 to full
    for _ in range(4):
        augment.observe(unsure)  # mean sign 0
    assert augment.p.item() == pytest.approx(0.4 - 0.16)


@pytest.mark.parametrize(("positive", "p"), [(3, 0.02), (4, 0.18)])
def test_the_target_is_compared_with_the_mean_over_the_four_calls(positive: int, p: float) -> None:
    augment = adaptive(p=0.1, target=0.75)  # the mean signs are (3 - 1) / 4 = 0.5 and 1
    for call in range(4):
        augment.observe(torch.full((2, 1), 1.0 if call < positive else -0.1))
    assert augment.p.item() == pytest.approx(p)


def test_probability_stays_between_zero_and_one() -> None:
    for logit, p in ((1.0, 1.0), (-1.0, 0.0)):
        augment = adaptive(p=0.5)
        for _ in range(40):
            augment.observe(torch.full((7, 1), logit))
            assert 0 <= augment.p <= 1
        assert augment.p == p


@pytest.mark.parametrize("stopped", [1, 2, 3, 4])
def test_a_resumed_run_goes_on_exactly(stopped: int) -> None:
    logits = [torch.randn(6, 1) + 1 for _ in range(12)]
    whole, part, resumed = (adaptive(target=0.6) for _ in range(3))
    for values in logits:
        whole.observe(values)
    for values in logits[:stopped]:
        part.observe(values)
    resumed.load_state_dict(part.state_dict())
    for values in logits[stopped:]:
        resumed.observe(values)
    assert whole.p > 0
    assert all(whole.state_dict()[name].equal(value) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize(("saved", "loaded"), [(None, 0.6), (0.6, None)])
def test_adaptation_can_be_added_to_a_run_and_dropped(saved: float | None, loaded: float | None) -> None:
    models = [tiny.cgan(ada=ada) for ada in (saved, loaded)]
    for model in models:
        if model.config.ada is not None:
            model.adversarial.augment.p.fill_(0.25)
    models[1].load_checkpoint(models[0].state_dict(), dataclasses.asdict(models[0].config))
    expected = models[0].state_dict()
    assert all(value.equal(expected[key]) for key, value in models[1].state_dict().items() if key in expected)
    assert loaded is None or models[1].adversarial.augment.p == 0.25


def test_other_weights_are_not_let_pass() -> None:
    weights = tiny.cgan(ada=0.6).state_dict() | {"adversarial.other": torch.zeros(())}
    with pytest.raises(ValueError, match=r"Unexpected key.*: \"adversarial.other\""):
        tiny.cgan().load_checkpoint(weights, {})


def test_observing_asks_for_no_gradient() -> None:
    augment = adaptive()
    scored = torch.ones(2, 1, requires_grad=True)
    for _ in range(4):
        augment.observe(scored)
    assert augment.p > 0 and not any(buffer.requires_grad for buffer in augment.buffers())
