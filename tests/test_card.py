"""Metrics cards: sets of images, their baselines by hand, what is written, and what tells two cards apart."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.data import ImageError
from i2i.metrics import METRICS, Metric
from i2i.metrics.baselines import EvaluationData, TrainingImages, derangement, mean_image, nearest_rows
from i2i.metrics.card import Card, MetricResult
from i2i.metrics.config import CardConfig, MetricNetworksConfig
from i2i.metrics.distribution import Features
from i2i.metrics.evaluation import make_card
from i2i.metrics.image_sets import (
    ImageFiles,
    LabelMapFiles,
    ResizedImages,
    SelectedImages,
    common_names,
    find_images,
    has_role,
    summarize,
)
from i2i.metrics.metric_choice import choose_metrics
from i2i.metrics.rendering import best, by_metric, card_text, comparison_text, differences, save_page, scale
from i2i.metrics.similarity import psnr
from i2i.metrics.suite import MetricSuite, Score
from i2i.translate.metrics import about_weights, chosen_by

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
SIDE = 12


class Means(nn.Module):
    """Features of a judge that can be worked out by hand: the mean of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


class Bright(nn.Module):
    """Class 1 where a photo is bright, else class 0."""

    def forward(self, images: Tensor) -> Tensor:
        red = images[:, :1]
        return torch.cat([-red, red], dim=1)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> MetricNetworksConfig:
    folder = tmp_path_factory.mktemp("networks")
    for name, network in (("means.pt", Means()), ("bright.pt", Bright())):
        torch.jit.script(network).save(folder / name)
    return MetricNetworksConfig(inception=str(folder / "means.pt"), segmentation=str(folder / "bright.pt"))


def grey(level: int, width: int = SIDE, height: int = SIDE, channels: int = 3) -> Tensor:
    return torch.full((channels, height, width), level, dtype=torch.uint8)


def greys(*levels: int, **size: int) -> list[Tensor]:
    return [grey(level, **size) for level in levels]


def save(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)
    return path


def pairs(**changes: Any) -> EvaluationData:
    """Truths of 102 and 204, and what was generated for them: 51 and 51."""
    plain: dict[str, Any] = {
        "generated": greys(51, 51),
        "real": greys(102, 204),
        "paired": True,
        "names": ("x", "y"),
        "formats": ("png",),
        "inputs": greys(0, 255),
    }
    return EvaluationData(**plain | changes)


def judged(
    data: EvaluationData, *metrics: str, metric_networks: MetricNetworksConfig | None = None, replicates: int = 0
) -> Card:
    judge = MetricSuite(metrics, metric_networks or MetricNetworksConfig(), "cpu", replicates, 0)
    about: dict[str, Any] = {"title": "run", "subject": {}, "options": {}, "environment": {}, "command": ""}
    return make_card(data, judge, **about)


def values(figure: MetricResult) -> dict[str, float]:
    return {name: round(score.value, 6) for name, score in figure.baselines.items()}


# --- sets of images


def test_pictures_of_a_test_go_by_the_names_of_their_inputs(tmp_path: Path) -> None:
    for label in ("real_A", "fake_B", "real_B", "rec_A"):
        save(tmp_path / "sub" / f"x_fake_{label}.png", np.zeros((2, 2), np.uint8))
    for role, label in (("generated", "fake_B"), ("real", "real_B"), ("input", "real_A"), ("restored", "rec_A")):
        assert find_images(tmp_path, role) == {"sub/x_fake": str(tmp_path / "sub" / f"x_fake_{label}.png")}
        assert has_role(tmp_path, role)


def test_the_real_images_of_a_translation_back_are_those_of_a(tmp_path: Path) -> None:
    for label in ("real_B", "fake_A"):
        save(tmp_path / f"x_{label}.png", np.zeros((2, 2), np.uint8))
    assert not has_role(tmp_path, "real")  # real_B is the input
    with pytest.raises(ValueError, match="fake_A, real_B"):
        find_images(tmp_path, "real")


@pytest.mark.parametrize(
    ("files", "role", "names"),
    [
        (["x_fake_B.png"], "real", ["x"]),  # pictures of one kind serve as anything
        (["my_real.png", "other.png"], "generated", ["my_real", "other"]),  # not all are named as by test.py
        (["x.tif", "x.png"], "real", ["x"]),
    ],
)
def test_other_folders_go_by_the_names_of_files(files: list[str], role: str, names: list[str], tmp_path: Path) -> None:
    for name in files:
        save(tmp_path / name, np.zeros((2, 2), np.uint8))
    found = find_images(tmp_path, role)
    assert list(found) == names and all(path.endswith(".png") for path in found.values())


def test_who_has_no_partner_is_listed() -> None:
    with pytest.raises(ValueError, match="f/c.png"):
        common_names({"a": "f/a.png", "c": "f/c.png"}, {"a": "r/a.png"})
    with pytest.raises(ValueError, match="r/b.png"):
        common_names({"a": "f/a.png"}, {"a": "r/a.png", "b": "r/b.png"})


def test_files_are_read_as_8_bits_and_floats_are_refused(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 65535]], np.uint16)  # 257 values of 16 bits to one of 8
    transparent = np.full((1, 4, 4), 7, np.uint8)
    files = ImageFiles([str(save(tmp_path / "16.png", deep)), str(save(tmp_path / "alpha.png", transparent))])
    assert files[0].tolist() == [[[0, 0, 1, 255]]]
    assert files[1].shape == (3, 1, 4)
    np.save(tmp_path / "f.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(ImageError, match="f.npy"):
        ImageFiles([str(tmp_path / "f.npy")])[0]


def test_the_digest_is_that_of_the_pixels_whatever_the_file(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", compress_level=0)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    one, other = (summarize(ImageFiles([str(tmp_path / f"a.{end}")])) for end in ("png", "bmp"))
    assert one == other and one.shown_sizes == "4x4" and one.has_colours
    assert summarize([torch.from_numpy(pixels).permute(2, 0, 1).flip(0)]).digest != one.digest
    assert summarize(greys(1, channels=1)).has_colours is False
    assert summarize([grey(0, 4, 2), grey(0, 3, 9), grey(0, 1, 1)]).shown_sizes == "1x1 to 3x9"


# --- baselines


def test_the_mean_image_is_of_one_size_and_grey_only_if_all_are() -> None:
    assert mean_image(greys(10, 21, channels=1), (2, 3)).tolist() == [[[16, 16]] * 3]
    mixed = mean_image([grey(10, channels=1), torch.tensor([20, 30, 40], dtype=torch.uint8)[:, None, None]], (1, 1))
    assert mixed.flatten().tolist() == [15, 20, 25]


def test_the_nearest_image_of_some_rows() -> None:
    training = greys(0, 100, 104, 200)
    assert nearest_rows(greys(103, 150, 10), training, [0, 1, 3]) == [1, 1, 0]  # 150 is as far from 200, and earlier
    assert nearest_rows(greys(103), training, range(4)) == [2]


def test_an_unreadable_training_image_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    files = ImageFiles([str(tmp_path / "bad.png"), str(save(tmp_path / "good.png", np.full((4, 4), 9, np.uint8)))])
    assert nearest_rows(greys(0), files, range(2)) == [1]
    assert mean_image(files, (1, 1)).item() == 9
    with pytest.raises(ValueError):
        mean_image(ImageFiles(files.paths[:1]), (1, 1))


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_shuffle_leaves_nothing_in_its_place(count: int) -> None:
    order = derangement(count, seed=1)
    assert sorted(order) == list(range(count)) and all(row != place for place, row in enumerate(order))
    assert order == derangement(count, seed=1)


def test_baselines_beside_a_paired_metric_by_hand() -> None:
    training = TrainingImages(targets=greys(51, 153), inputs=greys(250, 20))
    (figure,) = judged(pairs(training=training), "l1").figures
    assert figure.score.value == pytest.approx((0.4 + 1.2) / 2)  # 51 where 102 and 204 are right, of 127.5
    # copy: 0 and 255; mean: 102 for both; nearest: 153 and 51; another real image: 204 and 102
    assert values(figure) == {"copy": 0.6, "mean": 0.4, "nearest": 0.8, "real": 0.8}
    assert not figure.left_out
    other = judged(pairs(inputs=greys(0, 255, width=5, channels=1)), "l1")  # of another size, and grey
    assert values(other.figures[0])["copy"] == 0.6


def test_without_training_the_mean_is_of_the_real_images_and_nothing_is_nearest() -> None:
    card = judged(pairs(inputs=None), "l1")
    assert values(card.figures[0]) == {"mean": 0.4, "real": 0.8}
    assert card.figures[0].left_out == {"copy": "there are no inputs", "nearest": "there are no training pairs"}
    assert card.baselines["mean"] == "the mean of 2 real images" and "nearest" not in card.baselines


def test_features_are_compared_with_half_of_the_real_images_against_the_other(networks: MetricNetworksConfig) -> None:
    sets = pairs(real=greys(*range(0, 160, 16)), generated=greys(*range(100, 110)), paired=False, inputs=None)
    card = judged(sets, "fid", "kid", metric_networks=networks, replicates=5)
    figure = card.figures[0]
    assert (figure.score.fakes, figure.score.reals) == (10, 10)
    assert (figure.baselines["real"].fakes, figure.baselines["real"].reals) == (5, 5)
    # Features are means over channels of (level - 128) / 128: of the mean image 72, of real ones 72 with a variance.
    assert figure.baselines["mean"].value == pytest.approx(3 * np.var(range(0, 160, 16), ddof=1) / 128**2, rel=1e-4)
    assert "one half of the real images" in card.baselines["real"]
    assert figure.score.low is not None and figure.score.low < figure.score.value


def test_a_half_with_too_few_images_is_left_out_of_the_metrics_that_need_more(networks: MetricNetworksConfig) -> None:
    sets = pairs(real=greys(1, 2, 3, 4), generated=greys(1, 2, 3, 4), paired=False)
    fid, precision = judged(sets, "fid", "precision", metric_networks=networks).figures
    assert "real" in fid.baselines
    assert "real" not in precision.baselines and precision.left_out["real"] == "too few images"


def test_repeated_images_meet_the_network_once(networks: MetricNetworksConfig) -> None:
    judge = MetricSuite(["fid"], networks, "cpu", 0, 0)
    seen: list[int] = []

    class Counted(list[Tensor]):
        def __getitem__(self, index: Any) -> Any:
            seen.append(index)
            return super().__getitem__(index)

    features = judge.features(SelectedImages(Counted(greys(0, 128, 255)), [2, 0, 2, 2])).features
    assert sorted(seen) == [0, 2]
    assert features[:, 0].tolist() == pytest.approx([127 / 128, -1, 127 / 128, 127 / 128])


def test_a_cycle_is_judged_against_the_input_which_itself_closes_it() -> None:
    sets = pairs(restored=greys(51, 204), real=None, paired=False)
    (figure,) = judged(sets, "cycle").figures
    assert figure.score.value == pytest.approx(0.4)
    assert values(figure) == {"copy": 0, "mean": 1, "real": 2}


def test_label_maps_read_off_photos(networks: MetricNetworksConfig, tmp_path: Path) -> None:
    maps = [np.zeros((SIDE, SIDE), np.uint8), np.ones((SIDE, SIDE), np.uint8)]
    truth = LabelMapFiles([str(save(tmp_path / f"{row}.png", labels)) for row, labels in enumerate(maps)])
    sets = pairs(generated=greys(10, 20), real=greys(10, 250), truth=truth)
    figures = judged(sets, "pixel_accuracy", "miou", metric_networks=networks, replicates=20).figures
    assert [figure.score.value for figure in figures] == [0.5, 0.25]  # all is read as class 0
    assert figures[0].baselines["real"].value == 1  # the photos themselves show their classes
    assert (figures[0].score.low, figures[0].score.high) == (0, 1)


def test_generated_label_maps_are_compared_as_they_are(tmp_path: Path) -> None:
    true, made = np.zeros((2, 4), np.uint8), np.array([[0, 0, 0, 0], [1, 1, 0, 255]], np.uint8)
    truth, maps = (
        LabelMapFiles([str(save(tmp_path / "t.png", true))]),
        LabelMapFiles([str(save(tmp_path / "m.png", made))]),
    )
    sets = pairs(generated=greys(0), real=greys(0), truth=truth, maps=maps, num_classes=2, names=("x",))
    pixels, miou = judged(sets, "pixel_accuracy", "miou", replicates=5).figures
    assert pixels.score.value == 5 / 8  # 255 is of no class, and so is right nowhere
    assert miou.score.value == pytest.approx((5 / 8 + 0) / 2)
    assert pixels.score.low is None  # of one image nothing is known about others
    assert sets.kinds == {"labels"}
    assert pixels.left_out == {"real": "there is only one real image"}


def test_pairs_of_different_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="y .*7x12 and 12x12"):
        judged(pairs(generated=[grey(1), grey(1, width=7)]), "l1")
    sizes = [(20, 12), (12, 20)]  # each image with the size of its target
    data = pairs(generated=list(ResizedImages(greys(51, 51), sizes)), real=list(ResizedImages(greys(102, 204), sizes)))
    assert judged(data, "l1").figures[0].score.value == pytest.approx(0.8)


def test_sets_of_one_names_and_other_sizes_are_judged_as_sets(networks: MetricNetworksConfig) -> None:
    sets = pairs(generated=greys(51, 60, width=20), inputs=None)
    card = judged(sets, "fid", metric_networks=networks)
    assert math.isfinite(card.figures[0].score.value)
    assert any("generated images are of 20x12, real ones of 12x12" in line for line in card.warnings)


def test_training_images_stand_beside_as_many_generated_ones(networks: MetricNetworksConfig) -> None:
    training = TrainingImages(greys(10, 20, 30, 40, 50, 60))
    sets = pairs(generated=greys(100, 110, 120), real=greys(30, 70, 80), paired=False, inputs=None, training=training)
    card = judged(sets, "fid", metric_networks=networks)
    found = card.figures[0].baselines["training"]
    # 10, 30 and 50 of mean 30 and variance 400, beside mean 60 and variance 700; three channels of (level - 128) / 128
    expected = 3 * (30**2 + (700**0.5 - 400**0.5) ** 2) / 128**2
    assert found.value == pytest.approx(expected, rel=1e-3) and (found.fakes, found.reals) == (3, 3)
    few = judged(pairs(training=TrainingImages(greys(10)), paired=False), "fid", metric_networks=networks)
    assert few.figures[0].left_out["training"] == "there are only 1 training images"


@pytest.mark.parametrize(("levels", "is_nearer"), [((110, 190), True), ((204, 102), False), ((0, 102), False)])
def test_pairs_that_may_not_belong_together_are_noticed(levels: tuple[int, int], is_nearer: bool) -> None:
    # Another real image is 102 levels away; these are 11, 102 and 102 in the mean.
    card = judged(pairs(generated=greys(*levels)), "l1", "psnr")
    assert any("do the pairs belong together?" in line for line in card.warnings) is not is_nearer


def test_intervals_that_overlap_tell_nothing_from_other_real_images() -> None:
    sets = pairs(generated=greys(0, 250), real=greys(0, 100))  # 0 and 150 levels away, other real images 100 and 100
    for replicates, is_noticed in ((0, False), (50, True)):
        card = judged(sets, "l1", replicates=replicates)
        assert any("do the pairs" in line for line in card.warnings) is is_noticed
    single = judged(pairs(generated=greys(51), real=greys(102), inputs=None, names=("x",)), "l1", replicates=20)
    assert single.figures[0].score.low is None


def test_new_metrics_of_every_kind_are_one_entry(
    networks: MetricNetworksConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gap(generated: Features, real: Features) -> float:
        return (generated.features.mean() - real.features.mean()).item()

    for kind, compute in (("features", gap), ("cycle", psnr), ("labels", lambda counts: counts[0].sum().item())):
        monkeypatch.setitem(METRICS, f"my_{kind}", Metric(kind, True, kind, "", compute, bounds=(-1, 1)))
    truth = LabelMapFiles([str(save(tmp_path / "0.png", np.zeros((SIDE, SIDE), np.uint8)))] * 2)
    data = pairs(restored=greys(51, 204), truth=truth)
    names = ("my_features", "my_cycle", "my_labels")
    card = judged(data, *names, metric_networks=networks, replicates=3)
    scores = [result.score.value for result in card.figures]
    assert scores == pytest.approx([(51 - 153) / 128, -20 * math.log10(51 / 255), 2 * SIDE**2])
    card.save(tmp_path / "card.json")
    assert Card.load(tmp_path / "card.json") == card and "cycle" in card_text(card)
    assert choose_metrics(names, data.kinds, networks, (9, 9)) == list(names)


# --- the card


def test_infinite_figures_go_through_strict_json(tmp_path: Path) -> None:
    card = judged(pairs(generated=greys(102, 204)), "psnr", "l1", replicates=10)
    assert card.figures[0].score.value == math.inf and card.figures[0].score.low is None
    assert any("pixel by pixel" in line for line in card.warnings)
    card.save(tmp_path / "card.json")
    text = (tmp_path / "card.json").read_text()
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert plain["figures"][0]["value"] is None and plain["figures"][0]["note"] == "inf"
    assert plain["schema"] == 2
    assert Card.load(tmp_path / "card.json") == card
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "{", '{"schema": 7}'])
def test_another_file_is_no_card(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json"):
        Card.load(tmp_path / "x.json")


def test_a_card_says_how_it_was_made(networks: MetricNetworksConfig) -> None:
    card = judged(pairs(formats=("jpg",)), "l1", "fid", metric_networks=networks, replicates=7)
    protocol = card.protocol
    assert (protocol["generated images"], protocol["real images"], protocol["generated files"]) == ("2", "2", "jpg")
    assert protocol["feature weights"].startswith("SHA-256 ") and "299x299" in protocol["feature resizing"]
    assert protocol["intervals"] == "95 %, 7 resamples, seed 0"
    beware = "\n".join(card.warnings)
    assert all(text in beware for text in ("JPG", "2 images on a side", "FID of 2 images", "12 pixels"))


def test_colours_of_either_side_are_told() -> None:
    card = judged(pairs(generated=greys(51, 51, channels=1)), "l1")
    assert card.protocol["quantisation"] == "8 bits, generated images grey, real ones RGB, transparency dropped"
    assert any(line.startswith("generated images grey, real ones RGB: ") for line in card.warnings)
    plain = judged(pairs(), "l1")
    assert plain.protocol["quantisation"] == "8 bits, RGB, transparency dropped"
    assert not any("grey" in line for line in plain.warnings)


def test_text_has_every_number() -> None:
    lines = card_text(judged(pairs(), "l1")).splitlines()
    row = next(line for line in lines if line.startswith("L1"))
    assert row.split() == ["L1", "lower", "0.8", "0.6", "0.4", "0.8"]
    assert lines[lines.index(row) - 1].split() == ["better", "generated", "copy", "mean", "real"]


def test_cards_of_one_protocol_have_no_differences_and_a_best_one(networks: MetricNetworksConfig) -> None:
    one = judged(pairs(), "l1", "fid", metric_networks=networks)
    other = judged(pairs(generated=greys(102, 150)), "l1", "fid", metric_networks=networks, replicates=3)
    assert differences([one, other]) == []
    assert best(by_metric([one, other])["l1"]) == 1
    assert best(by_metric([one, one])["l1"]) is None
    assert "warning" not in comparison_text([one, other])


def test_a_metric_that_only_one_card_has_is_no_difference_of_protocol(networks: MetricNetworksConfig) -> None:
    one, other = judged(pairs(), "l1"), judged(pairs(), "l1", "fid", "kid", metric_networks=networks)
    assert "feature weights" in other.protocol and "KID" in other.protocol
    assert differences([one, other]) == []
    cards = [one, judged(pairs(real=greys(102, 203)), "psnr"), judged(pairs(), "l1", "psnr")]
    assert differences(cards[:2]) == []  # they share no metric
    assert [line.count("run (") for line in differences(cards)] == [2]  # the second and the third


def test_each_difference_of_protocol_is_named(networks: MetricNetworksConfig) -> None:
    one = judged(pairs(), "l1", "fid", metric_networks=networks)
    cases = {
        "real set": judged(pairs(real=greys(102, 203)), "l1", "fid", metric_networks=networks),
        "generated images": judged(
            pairs(generated=greys(1, 2, 3), inputs=None, paired=False), "fid", metric_networks=networks
        ),
        "generated files": judged(pairs(formats=("jpg",)), "l1", "fid", metric_networks=networks),
        "feature resizing": judged(
            pairs(),
            "l1",
            "fid",
            metric_networks=MetricNetworksConfig(inception=networks.inception, inception_resize="tf1"),
        ),
        "quantisation": judged(pairs(generated=greys(5, 6, channels=1)), "l1", "fid", metric_networks=networks),
    }
    for name, other in cases.items():
        found = [line for line in differences([one, other]) if line.startswith(f"the protocols differ in {name}:")]
        assert len(found) == 1 and "run (1): " in found[0] and "run (2): " in found[0], name


def test_a_card_of_metrics_that_are_not_known(tmp_path: Path) -> None:
    judged(pairs(), "l1").save(tmp_path / "x.json")
    (tmp_path / "x.json").write_text((tmp_path / "x.json").read_text().replace('"l1"', '"l7"'))
    with pytest.raises(ValueError, match=r"x\.json has l7"):
        Card.load(tmp_path / "x.json")


class Page(HTMLParser):
    """What a page has_role: its words, and whatever it would fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [tag] if tag in ("link", "script", "img", "iframe") else []
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_pages_need_no_other_file(tmp_path: Path) -> None:
    card = judged(pairs(), "l1", "psnr", replicates=10)
    for cards, words in (([card], ("0.8", "copy", "0.6", "PSNR")), ([card, card], ("run", "(2)", "0.8", "PSNR"))):
        save_page(cards, tmp_path / "card.html")
        page = Page(tmp_path / "card.html")
        assert not page.fetched and "url(" not in (tmp_path / "card.html").read_text()
        assert set(words) <= set(page.words)
    save_page([Card.from_dict(card.as_dict() | {"title": "<script>"})], tmp_path / "card.html")
    assert not Page(tmp_path / "card.html").fetched


def test_a_scale_goes_from_the_worst_to_the_best() -> None:
    scores = {"copy": Score(8.0, 6.0, 10.0, 2, 2), "real": Score(0.0, None, None, 2, 2)}
    rows = scale(MetricResult("fid", Score(4.0, 3.0, 5.0, 2, 2), scores, {}))
    assert [(row.name, row.place, row.low, row.high) for row in rows] == [
        ("real", 100, 100, 100),
        ("generated", 60, 50, 70),
        ("copy", 20, 0, 40),
    ]
    higher = scale(MetricResult("psnr", Score(4.0, None, None, 2, 2), {"copy": Score(math.inf, None, None, 2, 2)}, {}))
    assert [(row.name, row.place) for row in higher] == [("copy", None), ("generated", None)]


# --- choices


def test_the_metrics_of_a_card_are_what_the_data_allows(networks: MetricNetworksConfig) -> None:
    found = choose_metrics(("auto",), {"paired", "features"}, networks, (64, 64))
    assert found[:3] == ["l1", "psnr", "ssim"] and found[-2:] == ["fid", "kid"]
    assert "ssim" not in choose_metrics(None, {"paired", "features"}, networks, (5, 64))
    assert choose_metrics(None, {"features", "cycle"}, networks, (9, 9))[-1] == "cycle"
    assert choose_metrics(("l1", "l1"), {"paired"}, networks, (9, 9)) == ["l1"]


def test_metrics_whose_networks_are_missing_are_left_out_while_others_remain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    metric_networks = MetricNetworksConfig()
    assert choose_metrics(("auto",), {"features", "cycle"}, metric_networks, (64, 64)) == ["cycle"]
    assert choose_metrics(("auto",), {"paired", "features"}, metric_networks, (64, 64)) == ["l1", "psnr", "ssim"]
    messages = [record.getMessage() for record in caplog.records]
    assert all(name in messages[0] for name in ("kid, fid, precision, recall", "--inception FILE"))
    assert all(name in messages[1] for name in ("lpips, fid, kid", "--lpips_weights FILE and --inception FILE"))
    chosen = choose_metrics(
        ("auto",), {"features"}, metric_networks, (64, 64)
    )  # nothing else is there: Judge says what to do
    assert chosen == ["kid", "fid", "precision", "recall"] and len(caplog.records) == 2


@pytest.mark.parametrize(
    ("wanted", "kinds", "words"),
    [
        (("l1",), {"features"}, "l1 needs the true image of every generated one, .* .gone"),
        (("cycle",), {"paired"}, "cycle needs inputs translated there and back"),
        (("auto",), set(), "no real images to compare with .gone"),
        (("ms_ssim",), {"paired"}, "ms_ssim needs images of at least"),
    ],
)
def test_metrics_without_what_they_need(wanted: tuple[str, ...], kinds: set[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose_metrics(wanted, kinds, MetricNetworksConfig(), (64, 64), "gone")


def test_unknown_metrics_and_auto_with_company_are_refused() -> None:
    with pytest.raises(ValueError, match="fdi.*l1"):
        CardConfig(("fdi",))
    with pytest.raises(ValueError, match="--metrics auto l1"):
        CardConfig(("auto", "l1"))


def test_what_a_metric_lacks_is_named_before_any_work(networks: MetricNetworksConfig) -> None:
    with pytest.raises(ValueError, match="precision .*4 real images.* 3"):
        MetricSuite(["precision"], networks, "cpu", 0, 0).check_counts(10, 3)
    with pytest.raises(ValueError, match="inception_score .*--inception"):
        MetricSuite(["inception_score"], networks, "cpu", 0, 0)


# --- which checkpoint


def state(**more: Any) -> dict[str, Any]:
    return {"step": 70, "images": 40_000, "ema": None, "options": {"phase": "train"}, **more}


def test_a_card_tells_by_which_rule_its_checkpoint_was_chosen() -> None:
    found = {"metric": "l1", "higher_is_better": False, "best": 0.25, "size": 50, "count": 12}
    assert chosen_by(Path("r/best.pt"), state(validation=found)) == (
        "best.pt: lowest val_l1, 0.25, of the 12 validations until then on 50 images, at 40,000 images seen"
    )
    assert chosen_by(Path("r/latest.pt"), state()) == "latest.pt: the last one, no selection, at 40,000 images seen"
    assert chosen_by(Path("r/epoch_7.pt"), state()).startswith("epoch_7.pt: by hand")


@pytest.mark.parametrize(
    ("file", "options", "phase", "words"),
    [
        ("best.pt", {}, "val", "chosen on images of --phase val"),
        ("best.pt", {"val_phase": "test"}, "test", "chosen on images of --phase test"),
        ("best.pt", {"val_fraction": 0.1}, "val", ""),
        ("best.pt", {}, "test", ""),
        ("latest.pt", {}, "val", ""),
        ("latest.pt", {"phase": "train"}, "train", "which the run was trained on"),
    ],
)
def test_images_that_had_a_part_in_it_are_warned_of(file: str, options: dict[str, Any], phase: str, words: str) -> None:
    warnings = about_weights(Path(file), state(options=options), True, phase)["warnings"]
    assert words in warnings[0] if words else not warnings


def test_averaged_weights_are_told_from_others() -> None:
    averaged = state(ema={"weights": {}})
    told = [about_weights(Path("a.pt"), averaged, ema, "test")["subject"]["weights"] for ema in (True, False)]
    assert told == ["averaged over training", "those of the last step"]
    assert "nothing is known" in about_weights(Path("net_G.pth"), None, True, "test")["subject"]["chosen"]
