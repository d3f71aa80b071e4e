import math
import os
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i.losses import Distance
from i2i.metrics import METRICS
from i2i.metrics.compute import check_image_size, paired_values
from i2i.metrics.lpips import LPIPS, find_lpips, load_lpips
from tests import tiny

WEIGHTS = Path(os.environ.get("I2I_TEST_DATA", "")) / "weights" / "alexnet_features_torchvision_names.pth"
needs_weights = pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset: no weights")
ALEXNET = "alexnet-owt-7be5be79.pth"


def noise(count: int = 2, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def flat(*values: float, size: int = 16, channels: int = 3) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, channels, size, size)


def waves(size: int = 64) -> tuple[Tensor, Tensor]:
    """Three images and others: one unlike it, one fainter, one equal."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    image, other = torch.stack([x, y, x * y]), torch.stack([y, -x, (3 * x).sin()])
    return torch.stack([image, image, image]), torch.stack([other, 0.5 * image, image])


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    return load_lpips("alex", WEIGHTS)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and nowhere to fill it from; gives the folder of the cache's files."""

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


# values


def test_l1_and_psnr_by_hand() -> None:
    # L1 is of values in [-1, 1]; in [0, 1], of which PSNR is, the images are off by 0.25 and by 0.1.
    values = paired_values(["psnr", "l1"], flat(0.0, 0.5, 1.0), flat(0.5, 0.3, 1.0))
    assert list(values) == ["psnr", "l1"]
    assert values["l1"].tolist() == pytest.approx([0.5, 0.2, 0], abs=1e-6)
    assert values["psnr"].tolist() == pytest.approx([10 * math.log10(1 / 0.25**2), 20, math.inf], abs=1e-4)


def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    # without variance only (2 x y + c1) / (x^2 + y^2 + c1) is left, c1 = 0.01^2
    x, y = 0.75, 0.375
    (value,) = paired_values(["ssim"], flat(2 * x - 1), flat(2 * y - 1))["ssim"].tolist()
    assert value == pytest.approx((2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4), abs=1e-4)


def test_ms_ssim_of_flat_images_is_the_luminance_term_of_the_coarsest_scale() -> None:
    x, y = 0.75, 0.375
    images = flat(2 * x - 1, size=176, channels=1), flat(2 * y - 1, size=176, channels=1)
    luminance = (2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4)
    assert paired_values(["ms_ssim"], *images)["ms_ssim"].item() == pytest.approx(luminance**0.1333, abs=1e-3)


@pytest.mark.parametrize(("channels", "names"), [(1, ["ms_ssim"]), (3, ["l1", "psnr", "ssim"]), (4, ["l1", "ssim"])])
def test_each_image_has_a_value_of_its_own(channels: int, names: list[str]) -> None:
    size = 176 if "ms_ssim" in names else 16
    fake, real = noise(2, channels, size), 0.5 * noise(2, channels, size) + 0.4 * noise(2, channels, size, seed=1)
    together = paired_values(names, fake, real)
    for index in range(2):
        alone = paired_values(names, fake[index : index + 1], real[index : index + 1])
        for name in names:
            assert together[name][index].item() == pytest.approx(alone[name].item(), rel=1e-5)
    assert all(len(values.unique()) == 2 for values in together.values())


def test_better_is_the_way_that_the_registry_says() -> None:
    real = noise(1, 1, 176)
    near, far = (paired_values(["l1", "psnr", "ssim", "ms_ssim"], scale * real, real) for scale in (0.9, 0.3))
    for name in near:
        assert (near[name] > far[name]).item() == METRICS[name].higher_is_better


def test_images_of_different_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 channel .* 3 channels"):
        paired_values(["l1"], noise(channels=1), noise())


def test_values_are_computed_in_full_precision_whatever_is_around() -> None:
    fake, real = noise(), noise(seed=1)
    expected = paired_values(["ssim"], fake, real)["ssim"]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(paired_values(["ssim"], fake, real)["ssim"], expected)


@pytest.mark.parametrize(
    ("name", "net", "smallest"),
    [("ssim", "alex", 11), ("ms_ssim", "alex", 176), ("lpips", "alex", 31), ("lpips", "vgg", 16)],
)
def test_small_images_are_refused(name: str, net: str, smallest: int) -> None:
    check_image_size(["l1", name], smallest, smallest, net)
    with pytest.raises(ValueError, match=f"{name} .*{smallest}x{smallest}.* 300x{smallest - 1}"):
        check_image_size(["l1", name], 300, smallest - 1, net)


@pytest.mark.parametrize(("name", "size"), [("ssim", 11), ("ms_ssim", 176)])
def test_the_library_takes_the_smallest_size(name: str, size: int) -> None:
    assert paired_values([name], noise(1, 1, size), noise(1, 1, size, seed=1))[name].isfinite().all()


# LPIPS


@needs_weights
def test_lpips_agrees_with_the_authors_package(lpips: LPIPS) -> None:
    # Computed by the package lpips 0.1.4 with the same weights.
    assert lpips(*waves()).tolist() == pytest.approx([0.47175497, 0.03074933, 0], abs=1e-6)
    assert (lpips.name, len(lpips.digest)) == ("LPIPS 0.1 alex", 16)
    with torch.autocast("cpu", torch.bfloat16):  # still in full precision
        assert lpips(*waves()).tolist() == pytest.approx([0.47175497, 0.03074933, 0], abs=1e-6)


@needs_weights
def test_lpips_is_symmetric_and_takes_grey_images(lpips: LPIPS) -> None:
    fake, real = noise(channels=1), noise(channels=1, seed=1)
    values = paired_values(["lpips"], fake, real, lpips)["lpips"]
    assert not values.requires_grad
    torch.testing.assert_close(values, paired_values(["lpips"], real, fake, lpips)["lpips"])
    torch.testing.assert_close(values, lpips(*(images.repeat(1, 3, 1, 1) for images in (fake, real))))
    with pytest.raises(ValueError, match="lpips .*4 channels"):
        paired_values(["lpips"], noise(channels=4), noise(channels=4), lpips)


@needs_weights
def test_the_smallest_image_for_lpips(lpips: LPIPS) -> None:
    assert lpips(noise(size=31), noise(size=31, seed=1)).isfinite().all()
    with pytest.raises(RuntimeError, match="too small"):
        lpips.network(noise(size=30), noise(size=30))


@needs_weights
def test_loading_lpips_leaves_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    network = load_lpips("alex", WEIGHTS).train()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network(*waves()), network(*waves()))  # no dropout, even when somebody trains it


@needs_weights
def test_lpips_is_found_in_the_file_or_in_the_cache(no_network: Path) -> None:
    assert find_lpips("alex") is None
    assert find_lpips("alex", WEIGHTS) == WEIGHTS
    (no_network / ALEXNET).symlink_to(WEIGHTS.resolve())
    assert find_lpips("alex") == no_network / ALEXNET
    assert find_lpips("vgg") is None
    assert load_lpips("alex").digest == load_lpips("alex", WEIGHTS).digest


def test_without_file_and_network_one_line_says_what_to_do(no_network: Path) -> None:
    with pytest.raises(ValueError) as caught:
        load_lpips("alex")
    message = str(caught.value)
    assert f"{ALEXNET} into {no_network}, or name a file by --lpips_weights" in message
    assert "no route" in message and "\n" not in message


def test_unusable_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--lpips_weights .*absent.pth"):
        find_lpips("alex", tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="--lpips_net 'squeeze'.*alex, vgg"):
        find_lpips("squeeze")
    file = tmp_path / "weights.pth"
    for content in ({"features.0.weight": torch.zeros(1)}, {"other": 1}, [1]):
        torch.save(content, file)
        with pytest.raises(ValueError, match="weights.pth .*alexnet"):
            load_lpips("alex", file)
    file.write_text("damaged")
    with pytest.raises(ValueError, match="weights.pth .*alexnet"):
        load_lpips("alex", file)


# LPIPS as a distance


def test_lpips_as_a_distance_needs_its_network(no_network: Path) -> None:
    distance = Distance("l1 + 10*lpips")
    with pytest.raises(ValueError, match="load_networks"):
        distance(noise(), noise())
    with pytest.raises(ValueError, match="--lpips_weights"):
        distance.load_networks()
    Distance("l1").load_networks()  # and others do not


@needs_weights
def test_lpips_as_a_distance_pulls_the_prediction(lpips: LPIPS) -> None:
    fake, real = waves()
    prediction = fake.clone().requires_grad_()
    distance = Distance("10*lpips + l2")
    distance.load_networks("alex", WEIGHTS)
    terms = distance.terms(prediction, real)
    assert terms["lpips"].item() == pytest.approx(10 * lpips(fake, real).mean().item(), rel=1e-5)
    terms["lpips"].backward()
    assert prediction.grad is not None and prediction.grad[0].abs().sum() > 0
    nearer = prediction.detach() - 0.1 * prediction.grad / prediction.grad.norm()
    assert distance.terms(nearer, real)["lpips"] < terms["lpips"]


@needs_weights
def test_a_model_trains_on_lpips_and_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "SIZE", 32)
    model = tiny.pix2pix(reconstruction="l1 + 10*lpips")
    model.reconstruction.load_networks("alex", WEIGHTS)
    trainer = tiny.trainer(model, samples=tiny.RandomStream(model)())
    trainer.train_step()
    assert trainer.history.means()["G_LPIPS"] > 0
    assert not [name for name in model.state_dict() if "lpips" in name or "reconstruction" in name]
    assert not [name for name, _ in model.named_parameters() if "lpips" in name]
