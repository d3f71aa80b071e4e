"""Metrics of two sets of images: the networks' files, the distances by hand and by the libraries, and the intervals."""

from __future__ import annotations

import hashlib
import math
import random
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from i2i.metrics.bootstrap import feature_intervals, mean_interval
from i2i.metrics.compute import feature_values
from i2i.metrics.distribution import (
    Features,
    frechet_distance,
    frechet_distance_of_few,
    inception_score,
    kernel_distance,
    kernel_distance_of_all,
    precision_recall,
)
from i2i.metrics.extractor import Extractor, find_inception, load_extractor
from tests.pictures import REAL, needs_data

SETS = ("fid", "kid", "precision", "recall")


class Colours(nn.Module):
    """Features are an image's mean colour."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=[2, 3])


class Pixels(nn.Module):
    """Features are all that the network is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class LikeNvidia(nn.Module):
    """Mean colours as features and two classes, with the names that NVIDIA's Inception has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(299))
        self.output = nn.Linear(3, 2)
        nn.init.constant_(self.output.bias, 5)
        self.output.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])

    def forward(
        self, img: Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        features = self.layers(img.float() / 128 - 1).flatten(1)
        return features if return_features else self.output(features).softmax(dim=1)


def script(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


def plain(red: int, green: int, blue: int, count: int = 1) -> Tensor:
    """Images (count, 3, 20, 30) of one colour."""
    return torch.tensor([red, green, blue], dtype=torch.uint8)[None, :, None, None].repeat(count, 1, 20, 30)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def rows(number: int, dimensions: int = 8, seed: int = 0, shift: float = 0.0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(number, dimensions, generator=generator, dtype=torch.float64) + shift
    return Features(features, torch.rand(number, 3, generator=generator, dtype=torch.float64).square().softmax(dim=1))


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in torch-fidelity's layout that nobody trained."""
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({}, file)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=str(file))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(0.1)  # type: ignore[union-attr]  # lets differences between images through
    torch.save(network.state_dict(), file)
    return file


# the networks' files


def test_features_of_a_torchscript_network_are_of_images_scaled_to_one(tmp_path: Path) -> None:
    extractor = load_extractor(script(Colours(), tmp_path / "colours.pt"))
    found = extractor(plain(0, 128, 192, count=40))
    assert torch.allclose(found.features, torch.tensor([-1, 0, 0.5]).expand(40, 3), atol=1e-5)
    assert found.features.dtype == torch.float32 and found.probabilities is None and not extractor.has_classes
    digest = hashlib.sha256((tmp_path / "colours.pt").read_bytes()).hexdigest()[:16]
    assert "colours.pt" in extractor.name and extractor.digest == digest


def test_grey_images_count_as_coloured_and_alpha_is_dropped(tmp_path: Path) -> None:
    extractor = load_extractor(script(Pixels(), tmp_path / "pixels.pt"))
    grey, alpha = noise(2, 1, 30, 20), noise(2, 1, 30, 20, seed=1)
    coloured = extractor(grey.repeat(1, 3, 1, 1)).features
    for images in (grey, torch.cat([grey, alpha], dim=1), torch.cat([grey, grey, grey, alpha], dim=1)):
        assert torch.equal(extractor(images).features, coloured)


def test_nvidias_layout_gives_features_and_classes_without_a_bias(tmp_path: Path) -> None:
    extractor = load_extractor(script(LikeNvidia(), tmp_path / "nvidia.pt"))
    found = extractor(plain(192, 224, 0))
    odds = math.exp(0.5), math.exp(2 * 0.75)
    assert extractor.has_classes and found.probabilities is not None
    assert found.features[0].tolist() == pytest.approx([0.5, 0.75, -1], abs=1e-5)
    assert found.probabilities[0].tolist() == pytest.approx([part / sum(odds) for part in odds], rel=1e-5)


def test_torch_fidelitys_weights_give_what_its_own_network_gives(random_inception: Path) -> None:
    images, layers = noise(2, 3, 40, 50), ["2048", "logits_unbiased"]
    network = FeatureExtractorInceptionV3("library", layers, feature_extractor_weights_path=str(random_inception))
    features, logits = network(images)
    assert (features[0] - features[1]).abs().max() > 0.01 * features.abs().max()  # the weights tell images apart
    found = load_extractor(random_inception, resize="tf1")(images)
    assert found.probabilities is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):  # of a training around it
        assert torch.equal(load_extractor(random_inception, resize="tf1")(images).features, found.features)
    assert torch.allclose(found.features, features, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.probabilities, logits.softmax(dim=1), rtol=1e-5)


@pytest.mark.parametrize("size", [(40, 50), (299, 299), (400, 310)])
def test_clean_resizing_is_pillows_on_floats(size: tuple[int, int], tmp_path: Path) -> None:
    (image,) = images = noise(1, 3, *size)
    found = load_extractor(script(Pixels(), tmp_path / "pixels.pt"), "clean")(images).features.view(3, 299, 299)
    # As clean-fid does it: each channel in mode F, without rounding, clipped.
    for channel, values in zip(image.numpy(), found, strict=True):
        resized = Image.fromarray(channel.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
        assert np.allclose(values * 128 + 128, np.asarray(resized).clip(0, 255), atol=1e-4)


def test_tf1_resizing_is_torch_fidelitys_and_another(tmp_path: Path) -> None:
    images, file = noise(2, 3, 40, 50), script(Pixels(), tmp_path / "pixels.pt")
    expected = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)
    found = load_extractor(file, "tf1")(images).features
    assert torch.allclose(found, expected.flatten(1) / 128 - 1, atol=1e-5)
    assert not torch.allclose(found, load_extractor(file, "clean")(images).features, atol=0.1)


def test_the_file_is_the_given_one_or_in_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    given = script(Colours(), tmp_path / "given.pt")
    assert find_inception(None) is None and find_inception(given) == given
    cached = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    cached.parent.mkdir(parents=True)
    script(LikeNvidia(), cached)
    assert find_inception(None) == cached and find_inception(given) == given
    assert load_extractor(None).has_classes
    with pytest.raises(ValueError, match=r"--inception .*nothing\.pt: there is no such file"):
        find_inception(tmp_path / "nothing.pt")


def test_one_download_is_tried_and_its_failure_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def download(url: str, path: str, hash_prefix: str) -> None:
        tries.append((url, hash_prefix))
        if len(tries) == 1:
            raise urllib.error.URLError("no network")
        script(Colours(), Path(path))

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ValueError) as raised:
        load_extractor(None)
    assert len(tries) == 1 and "\n" not in str(raised.value)
    for part in ("--inception FILE", tries[0][0], str(tmp_path / "checkpoints"), "no network"):
        assert part in str(raised.value)
    assert "colours" not in load_extractor(None).name
    assert tries[1] == tries[0] and tries[0][1] == "6726825d" and find_inception(None) is not None


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no network")
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    torch.save(Colours(), tmp_path / "pickled.pth")  # code, which is not run
    script(nn.Conv2d(3, 4, 1), tmp_path / "maps.pt")
    script(nn.Conv2d(1, 4, 1), tmp_path / "grey.pt")
    for name in ("text.pth", "other.pth", "pickled.pth", "grey.pt", "maps.pt"):
        with pytest.raises(ValueError, match=f"^--inception .*{name}.*") as raised:
            load_extractor(tmp_path / name)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"\(1, 4, 299, 299\)"):
        load_extractor(tmp_path / "maps.pt")
    with pytest.raises(ValueError, match="inception_resize.*nearest.*clean.*tf1"):
        load_extractor(tmp_path / "text.pth", resize="nearest")


def test_random_states_and_settings_stay_as_they_are(random_inception: Path) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = True, True
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    load_extractor(random_inception)
    fake, real = rows(30), rows(20, seed=1)
    names = (*SETS, "inception_score")
    feature_intervals(names, fake, real, replicates=3, values=feature_values(names, fake, real))
    mean_interval(torch.arange(9.0), replicates=3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1] and random.getstate() == states[2]  # type: ignore[index]
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False


# FID, by real weights, by the definition and by the closed form


def photos(domain: str, count: int) -> Tensor:
    files = sorted((REAL / "horse2zebra" / domain).iterdir())[:count]
    return torch.stack([torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1) for file in files])


@pytest.fixture(scope="module")
def inception(inception_file: Path) -> Extractor:
    return load_extractor(inception_file)


@needs_data
def test_fid_of_photos_is_the_definition(inception: Extractor) -> None:
    fake, real = (inception(photos(domain, count)) for domain, count in (("testA", 3), ("testB", 4)))
    assert fake.features.shape == (3, 2048)
    alone = inception(photos("testA", 1)).features
    assert torch.allclose(fake.features[:1], alone, rtol=1e-4, atol=1e-5)  # whatever else is in the batch
    found = feature_values(["fid"], fake, real)["fid"]
    # All differences lie within the 7 dimensions that the rows span, where the definition's roots are exact.
    sets = [side.features.double().numpy() for side in (fake, real)]
    sets = [features @ scipy.linalg.orth(np.concatenate(sets).T) for features in sets]
    means, (first, second) = [features.mean(axis=0) for features in sets], [np.cov(features.T) for features in sets]
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    covariance = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * covariance
    assert found == pytest.approx(expected, rel=1e-6)
    assert frechet_distance_of_few(*(side.features.double() for side in (fake, real))) == pytest.approx(expected)


def gaussian(number: int, dimensions: int, seed: int) -> np.ndarray:
    """Rows (number, dimensions) whose mean is 0 and whose covariance is 1, exactly."""
    samples = np.random.default_rng(seed).standard_normal((number, dimensions))
    samples -= samples.mean(axis=0)
    return samples @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(samples.T)))).T


@pytest.mark.parametrize("distance", [frechet_distance, frechet_distance_of_few])
def test_the_frechet_distance_of_gaussians_is_the_closed_form(distance) -> None:
    deviations, mean = np.array([1.0, 2.0, 0.5, 3.0]), np.array([1.0, -2.0, 0.0, 0.5])
    first = torch.from_numpy(gaussian(500, 4, seed=0))
    second = torch.from_numpy(gaussian(400, 4, seed=1) * deviations + mean)
    expected = (mean**2).sum() + ((deviations - 1) ** 2).sum()  # of covariances that commute
    assert distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert distance(first, first) == pytest.approx(0, abs=1e-9)
    # Of 2x2 covariances S and 1 in general: the trace of S + 1 - 2 sqrt(S), by the eigenvalues of S.
    mixing, square = np.array([[2.0, 0.0], [1.0, 1.0]]), gaussian(300, 2, seed=2)
    eigenvalues = np.linalg.eigvalsh(mixing @ mixing.T)
    expected = (eigenvalues + 1 - 2 * np.sqrt(eigenvalues)).sum()
    assert distance(torch.from_numpy(square), torch.from_numpy(square @ mixing.T)) == pytest.approx(expected, rel=1e-6)


# the other distances, by hand


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None].double()


def test_kid_is_the_definition() -> None:
    # (x y + 1)^3: 1 between 0 and 1, 343 between 2 and 3, and (1 + 1 + 27 + 64) / 4 across.
    expected = 1 + 343 - 2 * 93 / 4
    assert kernel_distance(column(0, 1), column(2, 3)) == pytest.approx(expected)
    assert kernel_distance_of_all(column(0, 1), column(2, 3)) == pytest.approx(expected)
    # Of 0, 1 and 2 there are three pairs: the mean over subsets comes near that over all.
    of_all = (1 + 1 + 27) / 3 + 343 - 2 * (1 + 1 + 27 + 64 + 125 + 343) / 6
    assert kernel_distance_of_all(column(0, 1, 2), column(2, 3)) == pytest.approx(of_all)
    assert kernel_distance(column(0, 1, 2), column(2, 3)) == pytest.approx(of_all, rel=0.2)
    assert kernel_distance(column(0, 1, 2), column(2, 3), seed=1) != kernel_distance(column(0, 1, 2), column(2, 3))
    features, others = rows(30).features, rows(30, seed=1, shift=0.5).features
    for wide in (1, 5):  # repeated dimensions change nothing
        distance = kernel_distance(features.repeat(1, wide), others.repeat(1, wide))
        assert distance == pytest.approx(kernel_distance_of_all(features, others))


def test_precision_and_recall_by_hand() -> None:
    # Among 0, 1, 2, 3 and 10 the third neighbours are 3, 2, 2, 3 and 9 away: 4 and 1.5 are near, 30 and 31 are not.
    real, generated = column(0, 1, 2, 3, 10), column(4, 1.5, 30, 31)
    assert precision_recall(generated, real) == (0.5, 1)
    assert precision_recall(real, generated) == (1, 0.5)
    features = rows(200, 6).features
    assert precision_recall(features, features) == (1, 1)
    assert precision_recall(features + 100, features) == (0, 0)
    assert precision_recall(features, torch.cat([features, features + 100])) == (1, 0.5)


def test_the_inception_score_goes_from_one_to_the_number_of_classes() -> None:
    assert inception_score(torch.eye(5).repeat(4, 1)) == pytest.approx(5)
    assert inception_score(torch.tensor([[0.25, 0.75, 0.0]]).repeat(9, 1)) == pytest.approx(1)
    assert inception_score(torch.tensor([[0.9, 0.1], [0.1, 0.9]])) == pytest.approx(1.8**0.9 * 0.2**0.1)


@pytest.mark.parametrize(("name", "least"), [("fid", 2), ("kid", 2), ("precision", 4), ("recall", 4)])
def test_too_few_images_are_named(name: str, least: int) -> None:
    assert math.isfinite(feature_values([name], rows(least), rows(least, seed=1))[name])
    with pytest.raises(ValueError, match=f"{name} .*{least} .*{least - 1} generated"):
        feature_values([name], rows(least - 1), rows(50))
    with pytest.raises(ValueError, match=f"{least - 1} real"):
        feature_values([name], rows(50), rows(least - 1))


def test_values_come_in_the_order_asked_for() -> None:
    fake, real = rows(30), rows(20, seed=1)
    assert list(feature_values(["recall", "inception_score", "fid"], fake, real)) == [
        "recall",
        "inception_score",
        "fid",
    ]
    with pytest.raises(ValueError, match="inception_score"):
        feature_values(["inception_score"], Features(torch.ones(9, 2), None), real)


# the intervals


def test_the_interval_of_a_mean_is_what_theory_says() -> None:
    def width(number: int, seed: int = 0) -> float:
        values = torch.from_numpy(gaussian(number, 1, seed=5)[:, 0])
        low, high = mean_interval(values, replicates=2000, seed=seed)
        assert low < 0 < high and -low == pytest.approx(high, rel=0.15)
        return high - low

    assert width(400) == pytest.approx(2 * 1.96 / 20, rel=0.08)
    assert width(1600) == pytest.approx(width(400) / 2, rel=0.08)
    assert width(400) != width(400, seed=1)


def test_intervals_lie_about_the_values_and_shrink_with_the_number_of_images() -> None:
    names = (*SETS, "inception_score")
    few, many = ((rows(number, shift=0.3), rows(number, seed=1)) for number in (150, 600))
    values = feature_values(names, *few)
    intervals = feature_intervals(names, *few, replicates=60)
    assert list(intervals) == list(names)
    for name, (low, high) in intervals.items():
        assert low < values[name] < high
    for name, (low, high) in feature_intervals(names, *many, replicates=60).items():
        shrunk = (high - low) / (intervals[name].high - intervals[name].low)
        assert 0.25 < shrunk < 0.85, name  # half in theory; of the larger sets only a part of each half is looked at
    assert feature_intervals(names, *few, replicates=60, values=values) == intervals
    assert feature_intervals(["kid"], *few, replicates=60, seed=1)["kid"] != intervals["kid"]


@pytest.mark.parametrize(("number", "real"), [(90, 61), (520, 600)])
def test_intervals_are_as_wide_as_fresh_images_spread(number: int, real: int) -> None:
    def measure(seed: int) -> dict[str, float]:
        fake, others = rows(number, 8, 2 * seed, shift=0.5), rows(real, 8, 2 * seed + 1)
        kid = kernel_distance_of_all(fake.features, others.features)
        fid = frechet_distance_of_few(fake.features, others.features)
        assert fake.probabilities is not None
        return {"kid": kid, "fid": fid, "inception_score": inception_score(fake.probabilities)}

    drawn = [measure(seed) for seed in range(40)]
    sets = rows(number, 8, 1000, shift=0.5), rows(real, 8, 1001)
    for name, (low, high) in feature_intervals(list(drawn[0]), *sets, replicates=60).items():
        spread = torch.tensor([each[name] for each in drawn]).std().item()
        assert 0.65 < (high - low) / (2 * 1.96 * spread) < 1.8, name


def test_intervals_stay_within_the_bounds_of_a_metric() -> None:
    features = rows(40)
    intervals = feature_intervals(["fid", "precision", "recall"], features, features, replicates=20)
    assert intervals["precision"].high == intervals["recall"].high == 1 and intervals["fid"].low == 0
    assert mean_interval(torch.tensor([30.0] * 60 + [math.inf]), replicates=200) == (30, math.inf)


@pytest.mark.parametrize(
    ("fake", "real", "names"),
    [
        (rows(30, shift=100), rows(30, seed=1), {"fid"}),  # a precision of 0 in every replicate
        (rows(8), rows(9), {"fid", "precision"}),
        (rows(7), rows(9), {"fid"}),
        (rows(4), rows(9), {"fid"}),
    ],
)
def test_metrics_of_whose_spread_nothing_is_known_have_no_interval(
    fake: Features, real: Features, names: set[str]
) -> None:
    assert set(feature_intervals(["fid", "precision"], fake, real, replicates=5)) == names
    assert not feature_intervals(["fid"], rows(3), real, replicates=5)
