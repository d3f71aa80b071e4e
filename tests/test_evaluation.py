"""Judging generated images: the distances, the classifier and its file, and reports on runs whose images are known."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from i2i.data import DataSpec
from i2i.data.batch import normalise
from i2i.models import build_model
from i2i.tools import digits as evaluation
from i2i.tools.digits import Labelled, Real, RealData, candidate, classifier, classifier_file
from i2i.tools.digits import __main__ as digits
from i2i.tools.digits.distances import diversity, nearest
from i2i.tools.digits.judging import closest_pairs
from i2i.training import checkpoint
from tests import tiny
from tests.pictures import REAL, needs_data

SIZE, CLASSES = 8, ("left", "right", "top")
PER_CLASS = {"train": 40, "test": 12}


def bars(label: int, count: int, seed: int) -> Tensor:
    """Images (count, 1, 8, 8) uint8, light in the half that the class says, no two of them alike."""
    images = torch.randint(0, 60, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    half = [(..., slice(0, 4)), (..., slice(4, 8)), (..., slice(0, 4), slice(None))][label]
    images[half] += 190
    return images.to(torch.uint8)


def write_bars(root: Path, phases: dict[str, int] = PER_CLASS) -> Path:
    """Class folders of these images; gives the data root."""
    for phase, count in phases.items():
        for label, name in enumerate(CLASSES):
            (root / phase / name).mkdir(parents=True)
            for number, image in enumerate(bars(label, count, seed=label + 10 * len(phase))):
                Image.fromarray(image[0].numpy()).save(root / phase / name / f"{number}.png")
    return root


def save_run(folder: Path, epochs: tuple[int, ...] = (), **options: object) -> Path:
    """A run of a tiny cgan that has learnt nothing."""
    torch.manual_seed(0)
    model = tiny.cgan(**options)
    spec = DataSpec(3, 1, (SIZE, SIZE), CLASSES)
    model = build_model("cgan", model.config, spec)
    options = {"model": "cgan"} | {name: getattr(model.config, name) for name in vars(model.config)}
    state = {"options": options, "spec": spec.as_dict(), "model": model.state_dict(), "ema": None, "step": 7}
    folder.mkdir(parents=True)
    for name in ("latest", *(f"epoch_{epoch}" for epoch in epochs)):
        checkpoint.save(state, folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars"))


@pytest.fixture(scope="module")
def real_data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> RealData:
    file = tmp_path_factory.mktemp("classifier") / "classifier.pt"
    return RealData.load(root, SIZE, 1, classifier_file=file, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "tiny", epochs=(1, 2))


def generate(monkeypatch: pytest.MonkeyPatch, draw) -> None:
    """Let every candidate generate `draw(labels, seed)`, uint8."""
    monkeypatch.setattr(
        candidate.Translator, "generate", lambda self, labels, seed, truncation=None: normalise(draw(labels, seed))
    )


def fresh_bars(labels: Tensor, seed: int) -> Tensor:
    return torch.cat([bars(int(label), 1, seed=1000 + seed + row) for row, label in enumerate(labels)])


# distances


def test_diversity_is_a_mean_over_pairs_within_groups() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [100.0, 1.0], [100.0, 2.0]])
    within = (5 + (1 + 2 + 1) / 3) / 2
    assert diversity(features, torch.tensor([0, 0, 1, 1, 1])) == pytest.approx(within)
    assert diversity(torch.ones(4, 3), torch.zeros(4)) == 0


def test_the_nearest_image_and_its_exact_distance() -> None:
    training = torch.randint(0, 256, (700, 1, SIZE, SIZE), dtype=torch.uint8)
    changed = training[[3]].clone()
    changed[0, 0, 0, 0] ^= 1  # by a 255th
    images = torch.cat([training[torch.arange(699, -1, -1)], changed])
    distances, rows = nearest(images, training)
    assert rows.tolist() == [*range(699, -1, -1), 3]
    assert not distances[:700].any()
    features = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) + 100
    distances_of_features, rows = nearest(features[[7, 5]] + torch.tensor([[0.0], [0.5]]), features)
    assert distances_of_features.tolist() == pytest.approx([0, 2], abs=1e-4) and rows[0] == 7
    assert distances[700].item() == pytest.approx(1 / 255, rel=1e-4)


# real images and the classifier


def test_a_tenth_of_each_class_is_held_out_where_there_is_nothing_to_test_with(tmp_path: Path) -> None:
    write_bars(tmp_path, {"train": 30})
    real = evaluation.read_real(tmp_path, SIZE, 1)
    assert real.classes == CLASSES
    assert real.train.labels.bincount().tolist() == [27, 27, 27]
    assert real.test.labels.bincount().tolist() == [3, 3, 3]
    both = torch.cat([real.train.images, real.test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 90  # none is in both, and none is lost


def test_real_images_are_read_as_they_are_in_an_order_of_their_own(root: Path) -> None:
    real = evaluation.read_real(root, SIZE, 1)
    assert len(real.train.labels) == 120 and len(real.test.labels) == 36
    assert real.train.labels.tolist() != sorted(real.train.labels.tolist())
    assert torch.equal(evaluation.read_real(root, SIZE, 1).train.images, real.train.images)
    expected = bars(1, PER_CLASS["train"], seed=1 + 50).flatten(1)
    found = real.train.images[real.train.labels == 1].flatten(1)
    assert torch.equal(found.unique(dim=0), expected.unique(dim=0))


def test_the_same_seed_gives_the_same_classifier_and_leaves_torch_s_generator_alone(real_data: RealData) -> None:
    train = real_data.real.train
    torch.manual_seed(5)
    first = classifier.train_classifier(train, 3, passes=1, seed=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    for same, seed in ((True, 1), (False, 2)):
        other = classifier.train_classifier(train, 3, passes=1, seed=seed)
        assert torch.equal(other.head.weight, first.head.weight) is same


def test_shifts_move_each_image_by_whole_pixels_and_repeat_its_border() -> None:
    images = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(64, 1, 6, 6)
    moved = classifier.shifted(images, 1)
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    found = set()
    for image in moved[:, 0].int():
        down, right = (number - 1 for number in divmod(int(image[2, 2]) - 14 + 7, 6))
        rows = (torch.arange(6) + down).clamp(0, 5)
        columns = (torch.arange(6) + right).clamp(0, 5)
        assert torch.equal(image, images[0, 0].int()[rows][:, columns])
        found.add((down, right))
    assert len(found) == 9


def test_classify_takes_bytes_and_floats(real_data: RealData) -> None:
    network, images = real_data.classifier.network, real_data.real.test.images
    logits, features = evaluation.classify(network, images)
    assert logits.shape == (36, 3) and features.shape == (36, 128)
    again = evaluation.classify(network, normalise(images))
    assert torch.equal(again[0], logits) and torch.equal(again[1], features)
    assert torch.equal(network.head(features), logits)


def real_bars(counts: dict[str, int] = PER_CLASS) -> Real:
    labels = {phase: torch.arange(3).repeat_interleave(count) for phase, count in counts.items()}
    images = {
        phase: torch.cat([bars(label, count, seed=label + len(phase)) for label in range(3)])
        for phase, count in counts.items()
    }
    return Real(*(Labelled(images[phase], labels[phase]) for phase in ("train", "test")), CLASSES)


def test_the_classifier_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = real_bars()
    first = evaluation.load_or_train_classifier(real, device="cpu")
    assert first.file.parent == tmp_path / "i2i" and first.digest in first.file.name
    assert first.accuracy == 1

    trained = []
    monkeypatch.setattr(
        classifier_file, "train_classifier", lambda *a, **k: trained.append(1) or evaluation.train_classifier(*a, **k)
    )
    second = evaluation.load_or_train_classifier(real, device="cpu")
    assert not trained and second.accuracy == first.accuracy
    assert torch.equal(second.network.head.weight, first.network.head.weight)

    first.file.write_bytes(first.file.read_bytes()[:1000])
    third = evaluation.load_or_train_classifier(real, device="cpu")
    assert trained == [1] and torch.equal(third.network.head.weight, first.network.head.weight)
    assert [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()] == [
        f"{first.file} is damaged (RuntimeError): trained again"
    ]

    other = evaluation.load_or_train_classifier(real, device="cpu", seed=1)
    assert trained == [1, 1] and other.file != first.file


def test_a_weak_classifier_is_said_to_be_one(tmp_path: Path, caplog) -> None:
    real = real_bars()
    hopeless = real._replace(test=Labelled(real.test.images, real.test.labels.roll(12)))
    found = evaluation.load_or_train_classifier(hopeless, file=tmp_path / "c.pt", device="cpu")
    assert found.accuracy == 0
    assert "right about 0.00 % of real images is a weak judge" in caplog.text


def test_the_file_of_another_classifier_is_refused(tmp_path: Path) -> None:
    evaluation.load_or_train_classifier(real_bars(), file=tmp_path / "c.pt", device="cpu")
    with pytest.raises(ValueError, match="--classifier .*c.pt was trained on other images or settings"):
        evaluation.load_or_train_classifier(real_bars({"train": 41, "test": 12}), file=tmp_path / "c.pt", device="cpu")


# reports


def test_images_of_the_classes_that_were_asked_for(
    run: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[list[int], int]] = []

    def draw(labels: Tensor, seed: int) -> Tensor:
        asked.append((labels.tolist(), seed))
        return fresh_bars(labels, seed)

    generate(monkeypatch, draw)
    report = evaluation.judge(run, real_data, samples=32, seed=3, gan_train_samples=90, device="cpu", folder=tmp_path)
    assert asked[0] == ([0, 1, 2] * 10, 3) and asked[1] == ([0, 1, 2] * 30, 3 + 30)
    assert report.samples == 30 and report.compared == 30 and report.step == 7
    assert report.accuracy == evaluation.Pair(1, 1)
    assert report.predicted == ((10, 0, 0), (0, 10, 0), (0, 0, 10))
    assert report.class_accuracies == (1, 1, 1)
    assert report.gan_train == evaluation.GanTrain(90, evaluation.Pair(1, 1))
    assert report.entropy == pytest.approx(math.log(3))
    assert 0.5 < report.diversity.ratio < 2 and 0.8 < report.nearest_distance.ratio < 1.25
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "nearest.png"}
    values = json.loads(json.dumps(report.as_dict()))
    assert values["accuracy"] == {"generated": 1, "real": 1} and values["class_accuracies"] == [1, 1, 1]
    text = report.text()
    assert "class-conditional accuracy (GAN-test)" in text and "100.00%" in text and "left 100.0%" in text
    assert real_data.classifier.digest in text


def test_images_of_the_next_class(run: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(monkeypatch, lambda labels, seed: fresh_bars((labels + (labels > 0)) % 3, seed))  # 0, 2, 0
    report = evaluation.judge(run, real_data, samples=30, gan_train_samples=0, device="cpu")
    assert report.gan_train is None
    assert report.predicted == ((10, 0, 0), (0, 0, 10), (10, 0, 0))
    assert report.class_accuracies == (1, 0, 0)
    assert report.accuracy == evaluation.Pair(pytest.approx(1 / 3), 1)
    assert report.entropy == pytest.approx(-(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3))


def test_real_images_for_testing_are_as_good_as_themselves(
    run: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = real_data.real.test
    of_class = [test.images[test.labels == label] for label in range(3)]
    generate(monkeypatch, lambda labels, seed: torch.stack([of_class[c][r // 3] for r, c in enumerate(labels)]))
    report = evaluation.judge(run, real_data, samples=36, gan_train_samples=0, device="cpu")
    for name in ("fid", "precision", "recall", "diversity", "nearest_distance", "nearest_share"):
        pair = getattr(report, name)
        assert pair.generated == pytest.approx(pair.real, rel=1e-5), name
    assert report.fid.real > 0
    assert report.nearest_feature_share.generated == report.nearest_feature_share.real


def test_copies_are_found_out(run: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    train = real_data.real.train
    of_class = [train.images[train.labels == label] for label in range(3)]
    generate(monkeypatch, lambda labels, seed: torch.stack([of_class[c][r // 3] for r, c in enumerate(labels)]))
    report = evaluation.judge(run, real_data, samples=36, gan_train_samples=0, device="cpu")
    assert report.nearest_distance.generated == 0 and report.nearest_distance.real > 0.1
    assert report.nearest_share.generated == 1 and report.nearest_share.real < 0.05
    assert report.nearest_feature_distance.generated == 0 < report.nearest_feature_distance.real
    assert report.nearest_feature_share.generated == 1 and report.nearest_feature_share.real < 0.05


def test_a_collapsed_generator_is_found_out(run: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(monkeypatch, lambda labels, seed: torch.cat([bars(int(label), 1, seed=99) for label in labels]))
    report = evaluation.judge(run, real_data, samples=36, gan_train_samples=0, device="cpu")
    assert report.accuracy == evaluation.Pair(1, 1)
    assert report.diversity.generated == 0 < report.diversity.real
    assert report.recall.generated < 0.1 < report.recall.real
    assert report.fid.generated > report.fid.real


def test_sets_are_compared_class_by_class(real_data: RealData) -> None:
    labels = torch.tensor([0] * 9 + [1] * 5 + [2] * 20)
    rows = real_data.comparable(Labelled(torch.zeros(34, 1, SIZE, SIZE), labels), by_class=True)
    assert labels[rows.generated].tolist() == [0] * 5 + [1] * 5 + [2] * 5 == rows.groups.tolist()
    assert real_data.real.test.labels[rows.test].tolist() == rows.groups.tolist()
    assert real_data.real.train.labels[rows.train].tolist() == rows.groups.tolist()
    assert real_data.real.train.labels[rows.all_train].bincount().tolist() == [40, 40, 40]
    rows = real_data.comparable(Labelled(torch.zeros(34, 1, SIZE, SIZE), labels), by_class=False)
    assert [len(part) for part in rows] == [34, 34, 34, 120, 34]


def test_the_pairs_that_are_shown_are_the_closest_of_each_class() -> None:
    distances = torch.tensor([0.1, 0.2, 0.3, 5.0, 4.0, 6.0])
    assert closest_pairs(distances, torch.tensor([0, 0, 0, 1, 1, 1])).tolist() == [0, 1, 2, 4, 3, 5]
    many = torch.arange(40).flip(0)
    assert closest_pairs(many.float(), torch.arange(40) % 20).tolist() == list(range(39, 27, -1))


def test_an_unconditional_run_is_asked_for_no_class(tmp_path: Path, real_data: RealData, monkeypatch) -> None:
    run = save_run(tmp_path / "free", unconditional=True)
    generate(monkeypatch, lambda labels, seed: fresh_bars(labels // 2, seed))  # 0, 0, 1
    report = evaluation.judge(run, real_data, samples=30, device="cpu", folder=tmp_path / "out")
    assert report.accuracy is None and report.gan_train is None and report.class_accuracies == ()
    assert report.predicted == ((20, 10, 0),)
    assert report.entropy == pytest.approx(-(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3))
    assert "classes seen: left 20, right 10, top 0; entropy 0.637 nats of at most 1.099" in report.text()
    assert "diversity (30 images)" in report.text() and "within a class" not in report.text()
    collapsed = dataclasses.replace(report, predicted=((30, 0, 0),))
    assert "entropy 0.000 nats" in collapsed.text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"classes.png", "nearest.png"}


# the command line


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["digits", *map(str, words)])
    return digits.main()


def test_the_command_judges_a_checkpoint_and_all_of_them(
    root: Path, run: Path, tmp_path: Path, real_data: RealData, monkeypatch, capsys
) -> None:
    common = ["--dataroot", root, "--classifier", real_data.classifier.file, "--samples", 30, "--device", "cpu"]
    common += ["--results_dir", tmp_path, "--json", tmp_path / "copy.json"]
    assert command(monkeypatch, run, *common, "--no-gan_train", "--truncation", 1.5) == 0
    assert "truncation 1.5" in capsys.readouterr().out
    folder = tmp_path / "tiny" / "digits_latest_truncation1.5"
    assert {path.name for path in folder.iterdir()} == {"report.json", "confusion.png", "nearest.png"}
    values = json.loads((folder / "report.json").read_text())
    assert values == json.loads((tmp_path / "copy.json").read_text())
    assert (values["samples"], values["truncation"], values["epoch"], values["gan_train"]) == (30, 1.5, "latest", None)

    assert command(monkeypatch, "tiny", "--checkpoints_dir", run.parent, *common, "--epoch", "all") == 0
    assert "epoch 2 (step 7): accuracy" in capsys.readouterr().out
    rows = json.loads((tmp_path / "tiny" / "digits_all" / "curve.json").read_text())
    assert [(row["epoch"], row["step"], row["samples"]) for row in rows] == [(1, 7, 30), (2, 7, 30)]
    assert all(0 <= row["accuracy"] <= 1 and row["fid"] > row["fid_floor"] > 0 for row in rows)
    assert (tmp_path / "tiny" / "digits_all" / "curve.png").is_file()


def test_what_a_user_got_wrong_is_said_in_one_line(
    root: Path, run: Path, tmp_path: Path, real_data: RealData, monkeypatch, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    large = save_run(tmp_path / "other")
    state = torch.load(large / "latest.pt", weights_only=False)
    checkpoint.save(state | {"spec": DataSpec(3, 1, (SIZE, SIZE), ("x", "y", "z")).as_dict()}, large / "latest.pt")
    translation = tmp_path / "pix2pix"
    translation.mkdir()
    model = tiny.pix2pix()
    options = {"model": "pix2pix"} | {name: getattr(model.config, name) for name in vars(model.config)}
    state = {"options": options, "spec": model.spec.as_dict(), "model": model.state_dict(), "ema": None, "step": 1}
    checkpoint.save(state, translation / "latest.pt")
    here = ["--dataroot", root, "--classifier", real_data.classifier.file, "--results_dir", tmp_path / "results"]
    cases = [
        ([tmp_path / "nothing", *here], "there is no run in"),
        ([run, *here, "--epoch", "9"], "--epoch can be: 1, 2, latest"),
        ([run], "--dataroot is missing"),
        ([run, "--dataroot", tmp_path / "empty"], "no class folders with images"),
        ([large, *here], "was trained on the classes x, y, z"),
        ([translation, *here], "is a pix2pix"),
        ([large, *here, "--epoch", "all"], "has kept no epoch_N.pt"),
        ([run, *here, "--samples", "11"], "--samples 11: must be at least 12"),
        ([run, *here, "--gan_train_samples", "11"], "--gan_train_samples 11: must be at least 12"),
        ([run / "latest.pt", *here], "latest.pt is a file: give the run's folder"),
        ([run, *here, "--truncation", "-1"], "--truncation -1: must be at least 0"),
        ([run, *here, "--json", tmp_path / "no" / "x.json"], "x.json: there is no such folder"),
        ([run, *here, "--sample", "11"], "did you mean --samples?"),
        ([*here], "required: RUN"),
    ]
    for words, message in cases:
        with pytest.raises(SystemExit) as stop:
            command(monkeypatch, *words)
        error = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and message in error[-1], (words, error)


def test_too_few_images_are_refused_before_anything_is_done(
    run: Path, root: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was trained or drawn")

    monkeypatch.setattr(classifier_file, "train_classifier", never)
    generate(monkeypatch, never)
    for numbers, message in (({"samples": 11}, "--samples 11"), ({"gan_train_samples": 1}, "--gan_train_samples 1")):
        with pytest.raises(ValueError, match=f"{message}: must be at least 12"):
            evaluation.judge(run, real_data, device="cpu", **numbers)
        with pytest.raises(ValueError, match=f"{message}: must be at least 12"):
            digits.report(run, digits.DigitsConfig(dataroot=str(root), **numbers))


def test_a_reference_for_other_sizes_is_refused(run: Path, root: Path, tmp_path: Path) -> None:
    larger = RealData.load(root, 16, 1, classifier_file=tmp_path / "c.pt", device="cpu")
    with pytest.raises(ValueError, match=r"makes images of 1x8x8 \(channels, height, width\), the real .* as 1x16x16"):
        evaluation.judge(run, larger, samples=30, device="cpu")


def test_too_few_images_to_test_with(tmp_path: Path) -> None:
    write_bars(tmp_path, {"train": 20})
    with pytest.raises(ValueError, match="class left has 2 images to test with; 4 is the least"):
        RealData.load(tmp_path, SIZE, 1, classifier_file=tmp_path / "c.pt", device="cpu")


@needs_data
def test_the_classifier_learns_digits() -> None:
    from i2i.data.layouts.classes import read_idx

    folder = REAL / "mnist"
    parts = []
    for prefix, count in (("train", 2000), ("t10k", 1000)):
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)[:count]
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)[:count]
        parts.append(Labelled(torch.from_numpy(images.copy())[:, None], torch.from_numpy(labels.astype(np.int64))))
    network = classifier.train_classifier(parts[0], 10, passes=3)
    logits, _ = classifier.classify(network, parts[1].images)
    assert classifier.accuracy(logits, parts[1].labels) > 0.85
