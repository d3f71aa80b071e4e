"""Validation: figures worked out by hand, and that nobody notices it."""

import copy
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i.config import OptionParser, from_values
from i2i.data import Batch, DataConfig, DataSpec, ImageDataset, build_dataset
from i2i.data.batch import normalise
from i2i.data.derive import lab_to_rgb
from i2i.data.domain import Domain
from i2i.data.images.sheets import to_uint8
from i2i.metrics import METRICS, Metric
from i2i.metrics.card import Card
from i2i.metrics.compute import feature_values
from i2i.metrics.config import MetricNetworksConfig
from i2i.metrics.extractor import load_extractor
from i2i.models import GanModel
from i2i.random_state import random_states
from i2i.tools import evaluate
from i2i.watch.boards.board import Example
from i2i.watch.validation import (
    BestCheckpoint,
    Validation,
    ValidationConfig,
    Validator,
    build_validator,
    validation_data,
)
from i2i.watch.validation import (
    data as samples,
)
from i2i.watch.validation.accumulator import quantised
from i2i.watch.validation.validator import Ranking
from tests import tiny
from tests.pictures import REAL, needs_data, noise, numbered, save
from tests.test_data_classes import write_idx

Change = Callable[[Tensor], Tensor]
Data = tuple[ImageDataset, ImageDataset]  # held out, and trained on
PLAIN = MetricNetworksConfig()


class Toy(GanModel):
    """Makes b of a by one function and a of b by another; without that it has no way back."""

    def __init__(self, there: Change, back: Change | None = None, spec: DataSpec | None = None) -> None:
        super().__init__(None, spec or DataSpec())
        self.there, self.back = there, back
        self.targets = ("b",) if back is None else ("b", "a")  # type: ignore[misc]

    def translate(self, batch: Batch, *, target: str = "b", seed: int = 0, running_statistics: bool = False) -> Tensor:
        if target == "b":
            return self.there(batch.image("a"))
        assert self.back is not None
        return self.back(batch.image("b"))


def same(images: Tensor) -> Tensor:
    return images


def read(root: Path, mode: str = "aligned", phase: str = "val", **options: Any) -> ImageDataset:
    common: dict[str, Any] = {"load_size": (tiny.SIZE,), "crop_size": (tiny.SIZE,)}
    config = DataConfig(str(root), dataset_mode=mode, phase=phase, **common | options)
    return build_dataset(config.for_validation(phase))


def pairs(root: Path, count: int = 6) -> Data:
    """Pairs whose b is the negative of a: to validate on, and to train on."""
    for phase, seed in (("train", 0), ("val", 1)):
        tiny.write_pairs(root, count, phase=phase, seed=seed)
    return read(root), read(root, phase="train")


def domains(root: Path, count: int = 6) -> Data:
    for phase in ("train", "val"):
        tiny.write_domains(root, count, phase=phase)
    return read(root, "unaligned"), read(root, "unaligned", "train")


def classes(root: Path, count: int = 6) -> Data:
    tiny.write_classes(root, count)
    data = read(root, "classes", "train", out_channels=1, load_size=(8,), crop_size=(8,))
    return data, data


def validate(
    model: GanModel,
    data: Data,
    *metrics: str,
    metric_networks: MetricNetworksConfig = PLAIN,
    size: int = 50,
) -> Validation:
    return Validator(*data, metrics, metric_networks, size).run(model)


def images(data: ImageDataset, domain: str) -> Tensor:
    """All images of a or b in order, in [-1, 1]."""
    batches = [getattr(part.batch, domain) for part in samples.ValidationSamples(data, len(data)).batches("cpu")]
    return torch.cat(batches)


class Means(nn.Module):
    """Features: the mean colours of an image's quarters."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture
def metric_networks(tmp_path: Path) -> MetricNetworksConfig:
    file = tmp_path / "features.pt"
    torch.jit.script(Means()).save(str(file))
    return MetricNetworksConfig(inception=str(file))


# Figures


def test_pairs_are_compared_with_their_truth(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    right = validate(Toy(lambda a: -a), data, "l1", "psnr", "ssim")
    assert (right.figures["l1"], right.figures["psnr"]) == (0, math.inf)
    assert right.figures["ssim"] == pytest.approx(1)
    copied = validate(Toy(same), data, "l1", "psnr")
    for figures, part in ((copied.figures, data[0]), (copied.train_figures, data[1])):
        difference = images(part, "a").double().mul(2).div(2).abs()  # a - (-a), of values in [0, 1]
        assert figures["l1"] == pytest.approx(2 * difference.mean().item())
        squares = difference.square().mean(dim=(1, 2, 3))
        assert figures["psnr"] == pytest.approx((-10 * squares.log10()).mean().item(), rel=1e-5)
    assert copied.figures["l1"] != copied.train_figures["l1"]


def test_training_images_are_compared_without_augmentation(tmp_path: Path) -> None:
    pairs(tmp_path)
    config = DataConfig(
        str(tmp_path), dataset_mode="aligned", load_size=(20,), crop_size=(16,), augment_preset="strong"
    )
    training, held_out = validation_data(ValidationConfig(), config)
    validator = build_validator(ValidationConfig(val_metrics=("l1",)), PLAIN, held_out, training)
    assert validator is not None
    found = validator.run(Toy(same))
    assert found.train_figures["l1"] == pytest.approx(
        2 * images(read(tmp_path, phase="train"), "a").abs().mean().item()
    )
    assert training.config == config


def test_outputs_count_as_files_would_hold_them(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    step = 2 / 255
    assert validate(Toy(lambda a: -a + 0.49 * step), data, "l1").figures["l1"] == pytest.approx(0, abs=1e-7)
    off = validate(Toy(lambda a: (-a * 0.5) + 0.51 * step), data, "l1").figures["l1"]
    rounded = normalise(to_uint8(images(data[0], "a") * -0.5 + 0.51 * step))
    assert off == pytest.approx((rounded + images(data[0], "a")).abs().mean().item(), abs=1e-7)


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Domain(), 0.001, 1 / 255),
        (Domain(1, "uint16", 0, 65535), 0.001, 65 / 65535),
        (Domain(1, "uint8", 0, 4), 0.2, 0.0),
        (Domain(1, "float32", -5, 5), 0.123, 0.123),
        (Domain(), 1.5, 1.0),
    ],
)
def test_files_hold_so_many_values(domain: Domain, value: float, expected: float) -> None:
    found = quantised(torch.full((1, domain.channels, 1, 1), value), [domain])
    assert found.flatten()[0].item() == pytest.approx(expected, abs=1e-6)


def test_a_cycle_goes_there_and_back_on_both_sides(tmp_path: Path) -> None:
    data = domains(tmp_path)
    found = validate(Toy(lambda a: a / 2, lambda b: b * 0.5), data, "cycle")
    for way in "AB":
        expected = images(data[0], way.lower()).mul(0.75).abs().mean()
        assert found.figures[f"cycle_{way}"] == pytest.approx(expected.item(), abs=4e-3)
    assert found.figures["cycle"] == (found.figures["cycle_A"] + found.figures["cycle_B"]) / 2
    assert found.train_figures == {}
    assert (found.ranked_by, list(found.best[0].pictures)) == ("cycle", ["real_A", "fake_B", "rec_A"])
    hiding = Toy(lambda a: a * 1e-4, lambda b: b * 1e4)  # in differences that files do not keep
    assert validate(hiding, data, "cycle").figures["cycle"] > 0.1


def test_sets_are_compared_on_both_sides(tmp_path: Path, metric_networks: MetricNetworksConfig) -> None:
    data = domains(tmp_path)
    found = validate(
        Toy(lambda a: a + 0.7, lambda b: b - 1), data, "kid", "fid", metric_networks=metric_networks
    ).figures
    extract = load_extractor(metric_networks.inception)
    a, b = images(data[0], "a"), images(data[0], "b")
    for way, fake, real in (("A", b - 1, a), ("B", a + 0.7, b)):
        expected = feature_values(["kid", "fid"], extract(to_uint8(fake)), extract(to_uint8(real)))
        for name, value in expected.items():
            assert found[f"{name}_{way}"] == pytest.approx(value, abs=1e-9)
            assert found[name] == pytest.approx((found[f"{name}_A"] + found[f"{name}_B"]) / 2)
    assert found["kid_A"] != found["kid_B"]
    one_way = validate(Toy(same), data, "kid", metric_networks=metric_networks).figures
    assert one_way == pytest.approx(feature_values(["kid"], extract(to_uint8(a)), extract(to_uint8(b))))


def test_real_images_are_looked_at_once(tmp_path: Path, metric_networks: MetricNetworksConfig) -> None:
    validator, seen = Validator(*domains(tmp_path), ["kid"], metric_networks), []
    extractor = validator.suite.extractor
    assert extractor is not None

    def counted(pictures: Tensor) -> Any:
        seen.append(len(pictures))
        return extractor(pictures)

    validator.suite.extractor = counted  # type: ignore[assignment]
    runs = [validator.run(Toy(same, same)).figures for _ in range(2)]
    assert seen == [6, 6, 6, 6, 6, 6]  # both kinds of both domains, then generated ones alone
    assert runs[0] == runs[1]


def test_generated_images_of_classes_are_compared_with_real_ones(
    tmp_path: Path, metric_networks: MetricNetworksConfig
) -> None:
    data, model = classes(tmp_path), tiny.cgan()
    found = validate(model, data, "kid", metric_networks=metric_networks, size=10)
    labels = torch.tensor([0] * 5 + [1] * 5)  # as among the real images
    fakes = model.translate(Batch(label=labels))
    extract, part = load_extractor(metric_networks.inception), samples.ValidationSamples(data[0], 10)
    reals = torch.cat([batch.image("b") for _, _, batch in part.batches("cpu")])
    assert torch.equal(torch.cat([batch.labels() for _, _, batch in part.batches("cpu")]), labels)
    assert found.figures == pytest.approx(feature_values(["kid"], extract(to_uint8(fakes)), extract(to_uint8(reals))))
    assert (found.best, found.worst, found.train_figures, found.ranked_by) == ([], [], {}, "")


def label_maps(root: Path) -> ImageDataset:
    """Photos whose red is 100 times the class, in two pictures: all of class 0; half 0, a quarter 1, a quarter void."""
    for number, rows in enumerate(([[0, 0], [0, 0]], [[0, 0], [1, 255]])):
        classes = np.kron(np.array(rows), np.ones((8, 8))).astype(np.uint8)
        red = np.where(classes == 255, 0, classes * 100).astype(np.uint8)
        save(root / "valA" / f"{number}.png", np.stack([red] * 3, axis=2))
        save(root / "valB" / f"{number}.png", classes)
    return read(root, out_classes=3)


def test_label_maps_are_compared_pixel_by_pixel(tmp_path: Path) -> None:
    data = label_maps(tmp_path)

    def always_zero(a: Tensor) -> Tensor:
        return torch.tensor([0.5, 0.4, -1]).view(1, 3, 1, 1).expand(len(a), 3, *a.shape[2:])

    names = ("pixel_accuracy", "class_accuracy", "miou")
    found = validate(Toy(always_zero, spec=data.spec), (data, data), *names)
    # 384 of 448 pixels that count; class 2 occurs nowhere
    expected = {"pixel_accuracy": 384 / 448, "class_accuracy": 0.5, "miou": 384 / 448 / 2}
    assert found.figures == pytest.approx(expected)
    assert found.train_figures == pytest.approx(expected)
    assert [example.name for example in (*found.best, *found.worst)] == ["0", "1"]
    assert found.best[0].figures == {"pixel_accuracy": 1, "class_accuracy": 1, "miou": 1}
    class_1 = found.worst[0].pictures["real_B"][:, -1, 0]
    assert torch.equal(class_1, normalise(torch.tensor([[128, 0, 0]], dtype=torch.uint8))[0])


def test_classes_are_read_off_photos(tmp_path: Path) -> None:
    class Reader(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((-x[:, :1], x[:, :1]), dim=1)

    torch.jit.script(Reader()).save(str(tmp_path / "reader.pt"))
    classes = np.kron(np.array([[0, 1], [1, 1]]), np.ones((8, 8))).astype(np.uint8)
    save(tmp_path / "valA" / "x.png", classes)
    save(tmp_path / "valB" / "x.png", np.zeros((16, 16, 3), np.uint8))
    data = read(tmp_path, in_classes=2)

    def photo(a: Tensor) -> Tensor:  # the left half is bright: class 1
        return torch.cat((torch.ones(len(a), 3, 16, 8), -torch.ones(len(a), 3, 16, 8)), dim=3)

    judged = MetricNetworksConfig(segmentation=str(tmp_path / "reader.pt"))
    found = validate(Toy(photo, spec=data.spec), (data, data), "pixel_accuracy", metric_networks=judged)
    assert found.figures == {"pixel_accuracy": 0.25}


def test_colours_are_compared_with_their_lightness(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "val" / f"{number}.png", noise(16, 16, number))
    data = read(tmp_path, derive="colorization")
    found = validate(Toy(lambda a: a.new_zeros(len(a), 2, 16, 16), spec=data.spec), (data, data), "l1")
    grey = to_uint8(lab_to_rgb(images(data, "a"), torch.zeros(2, 2, 16, 16)))
    real = torch.stack([torch.from_numpy(noise(16, 16, number)).permute(2, 0, 1) for number in range(2)])
    assert found.figures["l1"] == pytest.approx((grey.float() - real).abs().mean().item() / 127.5, abs=2e-3)
    assert found.best[0].pictures["fake_B"].shape == (3, 16, 16)


# The images


def test_the_best_and_the_worst_are_shown(tmp_path: Path) -> None:
    for number in range(12):
        picture = np.concatenate((np.zeros((16, 16, 3)), np.full((16, 16, 3), 20 * number)), axis=1)
        save(tmp_path / "val" / "deep" / f"{number}.png", picture.astype(np.uint8))
    data = read(tmp_path)
    found = validate(Toy(same), (data, data), "psnr", "l1")
    assert found.ranked_by == "psnr"
    assert [example.name for example in found.best] == [f"deep/{number}" for number in range(4)]
    assert [example.name for example in found.worst] == [f"deep/{number}" for number in (11, 10, 9, 8)]
    worst = found.worst[0]
    assert worst.figures["l1"] == pytest.approx(220 / 127.5)
    assert list(worst.pictures) == ["real_A", "fake_B", "real_B"]
    assert worst.pictures["real_B"].unique().tolist() == pytest.approx([220 / 127.5 - 1])


def test_no_image_is_both_among_the_best_and_the_worst() -> None:
    ranking = Ranking("l1")
    for values in ([0.3, math.nan], [0.1, 0.2, 0.5]):
        ranking.add(Example(str(value), {"l1": value}, {}) for value in values)
    assert [example.name for example in ranking.best] == ["0.1", "0.2", "0.3"]
    assert [example.name for example in ranking.worst] == ["nan", "0.5"]
    assert Ranking("l1").best == Ranking("l1").worst == []


@pytest.mark.parametrize(("mode", "make"), [("pairs", pairs), ("domains", domains)])
def test_thumbnails_show_what_is_made_and_what_is_learned_from(tmp_path: Path, mode: str, make: Any) -> None:
    data = make(tmp_path)
    found = validate(Toy(lambda a: a * 0 + 1, same), data, "l1" if mode == "pairs" else "cycle", size=4).thumbnails
    assert found.outputs.shape == (4, 3, 32, 32) and found.outputs.unique().tolist() == [1]
    few = [samples.spread(part, 4) for part in data]
    seen = few[1] if mode == "pairs" else data[1]
    for thumbnails, part in ((found.truths, few[0]), (found.training, seen)):
        magnified = images(part, "b").repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        assert torch.allclose(thumbnails, magnified)


def test_always_the_same_few_images_are_validated_on(tmp_path: Path) -> None:
    data, seen = pairs(tmp_path, count=20), []

    def noted(a: Tensor) -> Tensor:
        seen.append(a)
        return a

    validator = Validator(*data, ["l1"], PLAIN, size=10)
    runs = [validator.run(Toy(noted)) for _ in range(2)]
    assert len(validator) == 10
    assert [len(batch) for batch in seen] == [8, 2, 8, 2] * 2  # held out and trained on, twice
    assert torch.equal(torch.cat(seen[:2]), images(data[0], "a")[::2])
    assert runs[0].figures == runs[1].figures
    assert all(torch.equal(*tensors) for tensors in zip(runs[0].thumbnails, runs[1].thumbnails, strict=True))


def test_images_may_differ_in_size(tmp_path: Path) -> None:
    for number, width in enumerate((16, 16, 24, 16)):
        save(tmp_path / "val" / f"{number}.png", np.concatenate([noise(width, 16, number)] * 2, axis=1))
    data = read(tmp_path, preprocess="none")
    assert [len(part.batch) for part in samples.ValidationSamples(data, 4).batches("cpu")] == [2, 1, 1]
    assert validate(Toy(same), (data, data), "l1").figures == {"l1": 0}


def test_neither_batches_nor_the_cache_change_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = pairs(tmp_path), tiny.pix2pix()
    found = validate(model, data, "l1", "ssim").figures
    for pixels, cached, sizes in ((3 * 16 * 16, 5000, [3, 3]), (100, 0, [1] * 6)):
        monkeypatch.setattr(samples, "BATCH_PIXELS", pixels)
        monkeypatch.setattr(samples, "CACHE_BYTES", cached)
        assert [len(part.batch) for part in samples.ValidationSamples(data[0], 6).batches("cpu")] == sizes
        validator = Validator(*data, ["l1", "ssim"], PLAIN)
        for _ in range(2):
            assert validator.run(model).figures == pytest.approx(found, rel=1e-5)


def test_an_image_without_a_pair_is_not_counted_twice(tmp_path: Path) -> None:
    numbered(tmp_path / "valA", 2, size=16)
    numbered(tmp_path / "valB", 5, size=16)
    data = read(tmp_path, "unaligned")
    validator = Validator(data, data, ["cycle"], PLAIN)
    assert len(validator) == len(validator.run(Toy(same, same)).thumbnails.truths) == 2


def test_an_unusable_file_is_left_out_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = pairs(tmp_path)
    (tmp_path / "val" / "3.png").write_bytes(b"no picture")
    validator = Validator(*data, ["l1"], PLAIN)
    with caplog.at_level(logging.WARNING):
        found = [validator.run(Toy(same)) for _ in range(2)]
    assert len(found[0].best) + len(found[0].worst) == 5
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("1 of 6 images to validate on are left out: ") and "3.png" in message


def test_nothing_but_unusable_files_do_not_stop_a_training(
    tmp_path: Path, metric_networks: MetricNetworksConfig
) -> None:
    data = domains(tmp_path)
    for path in (tmp_path / "valA").iterdir():
        path.write_bytes(b"no picture")
    found = validate(Toy(same, same), data, "kid", "cycle", metric_networks=metric_networks)
    assert (found.figures, found.best, found.worst) == ({}, [], [])
    assert not BestCheckpoint("kid", False).update(found.figures, 10, 6)


# Nobody notices


def everything(model: GanModel) -> dict[str, Any]:
    """All that a training depends on of a model, and the random states."""
    device = torch.device("cpu")
    modes = [module.training for module in model.modules()]
    return {"modes": modes, "random": random_states(device), "weights": copy.deepcopy(model.state_dict())}


def assert_equal(first: Any, second: Any) -> None:
    if isinstance(first, Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert_equal(value, second[name])
    else:
        assert str(first) == str(second)


@pytest.mark.parametrize(
    ("make", "model", "metrics"),
    [
        (pairs, tiny.pix2pix(spectral_norm="both"), ("l1", "ssim", "kid")),
        (domains, tiny.cyclegan(norm="batch", dropout=True), ("cycle", "kid")),
        (classes, tiny.cgan(), ("kid",)),
    ],
    ids=["pix2pix", "cyclegan", "cgan"],
)
def test_nothing_is_changed(
    tmp_path: Path, metric_networks: MetricNetworksConfig, make: Any, model: GanModel, metrics: tuple[str, ...]
) -> None:
    data = make(tmp_path)
    model.train()
    model.players["discriminator"].modules[0].eval()
    before = everything(model)
    validator = Validator(*data, metrics, metric_networks)
    runs = [validator.run(model) for _ in range(2)]
    assert_equal(everything(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert runs[0].figures == runs[1].figures


# Which was the best


@pytest.mark.parametrize(
    ("metric", "higher", "values", "bests", "since_best"),
    [
        ("l1", False, (3.0, 4.0, 3.0, 2.0), [True, False, False, True], 0),
        ("psnr", True, (3.0, 4.0, 3.0, math.inf), [True, True, False, True], 0),
        ("l1", False, (math.nan, 0.5, math.nan), [False, True, False], 1),
        ("l1", False, (0.3172, 0.317199, 0.317198, 0.31, 0.309999), [True] * 5, 1),  # rounding is no improvement
        ("psnr", True, (20.0, 25.0, 24.0, 24.5), [True, True, False, False], 2),
    ],
)
def test_the_best_validation(metric: str, higher: bool, values: Any, bests: list[bool], since_best: int) -> None:
    checkpoint = BestCheckpoint(metric, higher)
    assert [checkpoint.update({metric: value}, images, 5) for images, value in enumerate(values)] == bests
    assert checkpoint.since_best == since_best
    assert checkpoint.best == values[max(row for row, is_best in enumerate(bests) if is_best)]
    assert not checkpoint.exhausted(None) and not checkpoint.exhausted(since_best + 1)
    assert checkpoint.exhausted(since_best) and str(checkpoint.best_images) in str(checkpoint)


def test_without_a_number_nothing_is_the_best() -> None:
    checkpoint = BestCheckpoint("l1", False)
    assert not checkpoint.update({"psnr": 3}, 2, 5)
    assert (checkpoint.best, checkpoint.watched({"l1": math.nan}), checkpoint.watched({"l1": 2})) == (None, math.inf, 2)
    assert "l1" in str(checkpoint) and BestCheckpoint("psnr", True).watched({"psnr": 25.0}) == -25


def test_the_state_of_the_best_checkpoint() -> None:
    first, second = BestCheckpoint("l1", False), BestCheckpoint("l1", False)
    first.update({"l1": 0.2, "ssim": 0.5}, 7, 5)
    first.update({"l1": 0.3, "ssim": 0.6}, 8, 5)
    state = first.state_dict()
    assert state == {
        **{"metric": "l1", "higher_is_better": False, "best": 0.2, "best_images": 7, "mark": 0.2},
        **{"count": 2, "since_best": 1, "size": 5},
        **{"figures": {"l1": 0.3, "ssim": 0.6}, "best_figures": {"l1": 0.2, "ssim": 0.5}},
    }
    second.load_state_dict(state)
    assert [each.update({"l1": 0.25}, 9, 5) for each in (first, second)] == [False, False]
    assert second.state_dict() == first.state_dict()


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_freq": -1}, "--val_freq -1"),
        ({"val_size": 0}, "--val_size 0"),
        ({"patience": 0}, "--patience 0"),
        ({"val_fraction": 1.0}, "--val_fraction 1"),
        ({"val_metrics": ("l1", "lpip")}, "--val_metrics 'lpip'.*l1, psnr"),
        ({"best_metric": "loss"}, "--best_metric 'loss'.*l1, psnr"),
        ({"val_metrics": ("l1", "psnr"), "best_metric": "ssim"}, "--best_metric 'ssim'.*l1, psnr"),
        ({"val_phase": "val", "val_fraction": 0.1}, "--val_phase val and --val_fraction 0.1"),
        ({"val_freq": 0, "patience": 3}, "--val_freq 0 .*--patience"),
        ({"val_freq": 0, "best_metric": "l1"}, "--val_freq 0 .*--best_metric"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ValidationConfig(**options)


def test_a_validation_comes_after_whole_epochs() -> None:
    config = ValidationConfig()
    assert config.frequency(validated=50, epoch=400) == 2800  # 2,500 images and more
    assert config.frequency(validated=50, epoch=60_000) == 60_000
    assert config.frequency(validated=50, epoch=1250) == 2500
    assert ValidationConfig(val_freq=30).frequency(validated=50, epoch=400) == 30
    assert ValidationConfig(val_freq=0).frequency(validated=50, epoch=400) is None


def config_of(root: Path, mode: str, **options: Any) -> DataConfig:
    common: dict[str, Any] = {"load_size": (tiny.SIZE,), "crop_size": (tiny.SIZE,)}
    return DataConfig(str(root), dataset_mode=mode, **common | options)


def test_a_folder_called_val_is_validated_on(tmp_path: Path) -> None:
    pairs(tmp_path, count=3)
    training, held_out = validation_data(ValidationConfig(), config_of(tmp_path, "aligned", max_dataset_size=2))
    assert held_out is not None
    assert (len(training), len(held_out)) == (2, 3)
    assert {Path(path).parent.name for path in held_out.files} == {"val"}
    assert held_out.config.augment_preset == "none"
    assert validation_data(ValidationConfig(val_freq=0), config_of(tmp_path, "aligned"))[1] is None


def test_without_one_nothing_is_validated_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny.write_domains(tmp_path)
    with caplog.at_level(logging.INFO):
        assert validation_data(ValidationConfig(), config_of(tmp_path, "unaligned"))[1] is None
    assert "--val_fraction" in caplog.text
    with pytest.raises(ValueError, match="no images in .*valA"):
        validation_data(ValidationConfig(val_phase="val"), config_of(tmp_path, "unaligned"))


@pytest.mark.parametrize("mode", ["aligned", "unaligned"])
def test_images_that_are_trained_on_are_not_validated_on(tmp_path: Path, mode: str) -> None:
    for name in "AB":
        numbered(tmp_path / name, 3)
    config = config_of(tmp_path, mode, dataroot_A=str(tmp_path / "A"), dataroot_B=str(tmp_path / "B"))
    assert validation_data(ValidationConfig(), config)[1] is None
    with pytest.raises(ValueError, match="--val_phase val"):
        validation_data(ValidationConfig(val_phase="val"), config)


def test_test_images_of_mnist_are_only_validated_on_if_asked(tmp_path: Path) -> None:
    for prefix in ("train", "t10k"):
        write_idx(tmp_path, [0, 1, 0, 1], prefix)
    config = config_of(tmp_path, "classes", out_channels=1)
    assert validation_data(ValidationConfig(), config)[1] is None
    _, held_out = validation_data(ValidationConfig(val_phase="test"), config)
    assert held_out is not None and "t10k" in held_out.files[0]


def test_other_classes_are_not_validated_on(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path)
    numbered(tmp_path / "val" / "dark", 2, size=8)
    with pytest.raises(ValueError, match="--val_phase val: .* dark, .* dark, light"):
        validation_data(ValidationConfig(val_phase="val"), config_of(tmp_path, "classes", out_channels=1))


def test_a_share_is_held_out_and_not_trained_on(tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path, 10)
    config = config_of(tmp_path, "aligned", augment_preset="strong")
    training, held_out = validation_data(ValidationConfig(val_fraction=0.3), config, seed=5)
    assert held_out is not None
    assert (len(training), len(held_out)) == (7, 3)
    assert not set(training.files) & set(held_out.files)
    assert (training.config, held_out.config) == (config, config.for_validation("train"))
    without = validation_data(ValidationConfig(val_fraction=0.3, val_freq=0), config, seed=5)[0]
    assert without.files == training.files


# Which metrics


def built(
    data: Data,
    metric_networks: MetricNetworksConfig = PLAIN,
    targets: tuple[str, ...] = ("b",),
    **options: Any,
) -> Validator | None:
    return build_validator(ValidationConfig(**options), metric_networks, *data, targets)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def chosen(validator: Validator | None) -> tuple[tuple[str, ...], str | None]:
    assert validator is not None
    return validator.metrics, validator.best_metric


@pytest.mark.usefixtures("empty_cache")
def test_data_and_networks_decide_what_is_measured(tmp_path: Path, metric_networks: MetricNetworksConfig) -> None:
    pair, domain, labelled = (make(tmp_path / make.__name__) for make in (pairs, domains, classes))
    maps = label_maps(tmp_path / "maps")
    assert chosen(built(pair)) == (("l1", "psnr", "ssim"), "l1")
    assert chosen(built(domain, metric_networks, ("b", "a"))) == (("cycle", "kid"), "kid")
    assert chosen(built(domain, metric_networks)) == (("kid",), "kid")
    assert chosen(built(labelled, metric_networks)) == (("kid",), "kid")
    assert chosen(built((maps, maps))) == (("pixel_accuracy", "class_accuracy", "miou"), "miou")
    assert chosen(built(pair, best_metric="psnr")) == (("l1", "psnr", "ssim"), "psnr")
    assert chosen(built(pair, metric_networks, best_metric="fid")) == (("l1", "psnr", "ssim", "fid"), "fid")
    assert chosen(built(pair, val_metrics=("psnr", "ssim"))) == (("psnr", "ssim"), "psnr")
    assert chosen(built(domain, targets=("b", "a"), best_metric="cycle")) == (("cycle",), "cycle")


@pytest.mark.usefixtures("empty_cache")
def test_a_cycle_alone_makes_no_checkpoint_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = domains(tmp_path)
    with caplog.at_level(logging.INFO):
        assert chosen(built(data, targets=("b", "a"))) == (("cycle",), None)
        assert built(data) is None
    assert all("--inception" in record.getMessage() for record in caplog.records) and len(caplog.records) == 2
    with pytest.raises(ValueError, match="--patience 3 .*--best_metric"):
        built(data, targets=("b", "a"), patience=3)


def test_images_may_be_too_small_for_a_metric(tmp_path: Path) -> None:
    tiny.write_pairs(tmp_path, 2, size=4, phase="val")
    data = read(tmp_path, load_size=(4,), crop_size=(4,))
    assert chosen(built((data, data))) == (("l1", "psnr"), "l1")
    with pytest.raises(ValueError, match="ssim needs images of at least"):
        built((data, data), val_metrics=("ssim",))


@pytest.mark.parametrize(
    ("make", "metrics", "message"),
    [
        (pairs, ("cycle",), "--val_metrics cycle .*--model"),
        (domains, ("l1",), "--val_metrics l1 .*--dataset_mode unaligned"),
        (classes, ("miou",), "--val_metrics miou .*--dataset_mode classes"),
        (pairs, ("miou",), "--val_metrics miou .*--out_classes.*--segmentation"),
    ],
)
def test_metrics_that_the_data_cannot_give(tmp_path: Path, make: Any, metrics: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(make(tmp_path), val_metrics=metrics)


def test_a_set_takes_some_images(tmp_path: Path, metric_networks: MetricNetworksConfig) -> None:
    data = pairs(tmp_path, count=3)
    with pytest.raises(ValueError, match="--val_metrics precision .*4 images.* 3"):
        built(data, metric_networks, val_metrics=("precision",))


@pytest.mark.parametrize("options", [{"patience": 2}, {"best_metric": "l1"}, {"val_metrics": ("l1",)}, {"val_freq": 5}])
def test_what_goes_by_validations_wants_some(tmp_path: Path, options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"--{name} .*--val_fraction"):
        build_validator(ValidationConfig(**options), PLAIN, None, pairs(tmp_path)[1])
    assert build_validator(ValidationConfig(), PLAIN, None, pairs(tmp_path)[1]) is None


@needs_data
def test_lpips_chooses_where_its_network_is_there() -> None:
    weights = REAL.parent / "weights" / "alexnet_features_torchvision_names.pth"
    config = config_of(REAL / "facades", "aligned", load_size=(64,), crop_size=(64,))
    training, held_out = validation_data(ValidationConfig(), config)
    assert held_out is not None
    judged = MetricNetworksConfig(lpips_weights=str(weights))
    validator = build_validator(ValidationConfig(val_size=4), judged, held_out, training)
    assert chosen(validator) == (("l1", "psnr", "ssim", "lpips"), "lpips")
    assert validator is not None
    blurred = validator.run(Toy(lambda a: torch.zeros_like(a))).figures
    assert 0.5 < blurred["lpips"] < 1.2


def test_the_files_of_lpips_are_those_of_torchvision() -> None:
    from torchvision.models import get_model_weights

    from i2i.metrics.lpips import BACKBONES, SITE

    for model, _, file in BACKBONES.values():
        assert get_model_weights(model).DEFAULT.url == f"{SITE}/{file}"


# A metric from outside


def test_a_new_paired_metric_is_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mae2(prediction: Tensor, target: Tensor) -> Tensor:
        return 2 * (prediction - target).abs().mean(dim=(1, 2, 3))

    monkeypatch.setitem(METRICS, "mae2", Metric("paired", False, "MAE2", "twice the mean absolute error", mae2))
    data = pairs(tmp_path)
    parser = OptionParser()
    parser.add_options("validation", ValidationConfig)
    config = from_values(ValidationConfig, parser.defaults | parser.given(["--val_metrics", "mae2", "l1"]))
    validator = build_validator(config, PLAIN, *data)
    assert validator is not None and (validator.metrics, validator.ranked_by) == (("mae2", "l1"), "l1")
    found = validator.run(Toy(same))
    for figures in (found.figures, found.train_figures, found.worst[0].figures):
        assert figures["mae2"] == pytest.approx(2 * figures["l1"])
    assert chosen(built(data, best_metric="mae2"))[1] == "mae2"

    for name, level in (("real", 100), ("fake", 151)):
        save(tmp_path / name / "x.png", np.full((16, 16, 3), level, np.uint8))
    words = [str(tmp_path / "real"), str(tmp_path / "fake"), "--metrics", "mae2"]
    outputs = ["--json", str(tmp_path / "x.json"), "--html", str(tmp_path / "x.html")]
    monkeypatch.setattr("sys.argv", ["evaluate", *words, *outputs])
    assert evaluate.main() == 0 and "MAE2" in capsys.readouterr().out
    (result,) = Card.load(tmp_path / "x.json").figures
    assert result.score.value == pytest.approx(2 * 51 / 127.5)
    assert "MAE2" in (tmp_path / "x.html").read_text()
    monkeypatch.setattr("sys.argv", ["evaluate", "--help"])
    with pytest.raises(SystemExit):
        evaluate.main()
    assert "mae2" in capsys.readouterr().out and "mae2" in parser.format_help()
