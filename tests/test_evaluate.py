"""Judging folders and what test.py writes: the same numbers either way, and errors before any work."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import test as test_script
import train as train_script
from i2i.metrics.card import Card
from i2i.tools import evaluate
from options.test_options import TestOptions
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")
NETS = "--ngf 4 --ndf 4 --load_size 16 --crop_size 16 --num_threads 0 --n_epochs 1 --n_epochs_decay 0 --val_freq 0"
MODELS = {
    "pix2pix": "--netD pixel --netG unet --num_downs 4",
    "cyclegan": "--netD pixel --netG resnet --num_blocks 1",
    "cgan": "--noise_dim 4 --load_size 8 --crop_size 8 --batch_size 4",
}


class Statistics(nn.Module):
    """Features of a judge: the mean and the deviation of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3))], dim=1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a network that judges, and a trained run of every model."""
    root = tmp_path_factory.mktemp("runs")
    tiny.write_pairs(root / "pairs", 3)
    tiny.write_pairs(root / "pairs", 5, phase="test", seed=1)
    tiny.write_domains(root / "domains", 3)
    tiny.write_domains(root / "domains", 8, phase="test")
    tiny.write_classes(root / "classes", 4)
    torch.jit.script(Statistics()).save(root / "judge.pt")
    for model, data in (("pix2pix", "pairs"), ("cyclegan", "domains"), ("cgan", "classes")):
        places = ["--dataroot", str(root / data), "--checkpoints_dir", str(root / "checkpoints"), "--name", model]
        assert train_script.main(["--model", model, *places, *NETS.split(), *MODELS[model].split()]) == 0
    return root


def translate(runs: Path, results: Path, model: str, data: str, *words: str) -> Card:
    """What test.py's card says."""
    places = ["--checkpoints_dir", str(runs / "checkpoints"), "--results_dir", str(results), "--name", model]
    judging = ["--inception", str(runs / "judge.pt"), "--bootstrap", "10", "--num_threads", "0"]
    given = [*places, "--dataroot", str(runs / data), *judging, *words]
    assert test_script.main(given) == 0
    return Card.load(TestOptions(given).folder / "card.json")


def judge(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["i2i.tools.evaluate", *map(str, words)])
    return evaluate.main()


def write(folder: Path, **levels: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, level in levels.items():
        Image.fromarray(np.full((12, 12, 3), level, np.uint8)).save(folder / f"{name}.png")
    return folder


def figures(card: Card) -> dict[str, Any]:
    return {figure.name: figure for figure in card.figures}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {
        "real": write(tmp_path / "real", x=102, y=204),
        "fake": write(tmp_path / "fake", x=51, y=51),
        "inputs": write(tmp_path / "inputs", x=0, y=255),
        "targets": write(tmp_path / "targets", p=51, q=153),
        "sources": write(tmp_path / "sources", p=250, q=20),
    }


# --- folders


def test_two_folders_give_a_card(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = (tmp_path / "card.json", tmp_path / "card.html")
    beside = ["--inputs", folders["inputs"], "--training", folders["targets"], folders["sources"]]
    words = ["--metrics", "l1", "psnr", "--bootstrap", 10, "--json", out[0], "--html", out[1]]
    assert judge(monkeypatch, folders["real"], folders["fake"], *beside, *words) == 0
    card = Card.load(out[0])
    l1 = figures(card)["l1"]
    assert l1.score.value == pytest.approx(0.8)
    found = {name: round(score.value, 6) for name, score in l1.baselines.items()}
    assert found == {"copy": 0.6, "mean": 0.4, "nearest": 0.8, "real": 0.8}
    assert card.protocol["pairs"] == "each image with its truth"
    assert card.subject["generated"] == str(folders["fake"]) and "--bootstrap 10" in card.command
    assert "L1" in out[1].read_text() and "L1" in capsys.readouterr().out


def test_names_without_partners_make_sets_or_an_error(
    folders: dict[str, Path], tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    write(folders["fake"], z=9)
    out, inception = tmp_path / "card.json", ["--inception", runs / "judge.pt"]
    assert judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "fid", *inception, "--json", out) == 0
    assert Card.load(out).protocol["pairs"] == "none"
    with pytest.raises(SystemExit) as stop:
        judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "l1")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "z.png" in error and error.count("\n") == 1


def test_names_of_which_some_match_are_warned_of(
    folders: dict[str, Path], tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    for name in ("fake", "real"):
        write(folders[name], **{f"{name}{row}": 9 * row for row in range(3)})
    write(folders["real"], more=8)
    words = ["--inception", runs / "judge.pt", "--bootstrap", 0, "--json", tmp_path / "c.json"]
    warning = "2 of 6 names match, judged as sets; --paired yes needs a partner for each"
    for more, expected in (([], True), (["--paired", "no"], False), (["--metrics", "fid"], False)):
        caplog.clear()
        assert judge(monkeypatch, folders["real"], folders["fake"], *words, *more) == 0
        assert (warning in caplog.messages) is expected
        assert (warning in Card.load(tmp_path / "c.json").warnings) is expected


def test_an_evaluation_that_writes_nothing_says_what_would(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "l1")
    output = capsys.readouterr().out
    assert output.endswith("\n--json FILE and --html FILE write this card\n") and "checkpoint" not in output
    judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "l1", "--html", tmp_path / "c.html")
    assert "--json FILE" not in capsys.readouterr().out


def test_pairs_can_be_denied(folders: dict[str, Path], runs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    words = ["--paired", "no", "--metrics", "kid", "--inception", runs / "judge.pt", "--json", tmp_path / "c.json"]
    assert judge(monkeypatch, folders["real"], folders["fake"], *words) == 0
    assert Card.load(tmp_path / "c.json").protocol["pairs"] == "none"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "two folders are expected"),
        ("{real}", "two folders are expected"),
        ("{real} {real}/nothing", "nothing is not a folder"),
        ("{real} {fake} --metrics fdi", "choose from auto, l1"),
        ("{real} {fake} --metrics cycle", "cycle needs inputs translated there and back"),
        ("{real} {fake} --metrics l1 --inputs {targets}", "have no partner"),
        ("--metrics fid {real} {fake}", "in front of the options"),
        ("{real} {fake} --json {real}/nothing/x.json", "there is no such folder"),
        ("{real} {fake} --html {real}", "is a folder: a file is expected"),
        ("{real} {fake} --label_maps {inputs} --metrics miou", "say by --classes"),
        ("{real} {fake} --metrics fid --inception {real}/x.pt", "x.pt: there is no such file"),
        ("{real} {fake} --training {real} {real} {real}", "--training takes"),
        ("--compare {real}/x.json", "x.json"),
    ],
)
def test_errors_are_one_line(
    words: str, complaint: str, folders: dict[str, Path], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        judge(monkeypatch, *words.format(**folders).split())
    error = capsys.readouterr().err
    assert stop.value.code == 2 and complaint in error and error.count("\n") == 1


def test_the_smallest_image_decides_which_metrics_suit(
    folders: dict[str, Path], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("real", "fake"):
        Image.new("RGB", (4, 4)).save(folders[name] / "z.png")
    words = ["--inception", runs / "judge.pt", "--json", tmp_path / "c.json"]
    assert judge(monkeypatch, folders["real"], folders["fake"], *words) == 0
    assert list(figures(Card.load(tmp_path / "c.json"))) == ["l1", "psnr", "fid", "kid"]


def test_a_failed_evaluation_leaves_the_old_card(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "card.json"
    out.write_text("old")
    (folders["fake"] / "y.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "l1", "--json", out)
    assert out.read_text() == "old"


def test_cards_are_compared(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, page = (tmp_path / name for name in ("1.json", "2.json", "both.html"))
    judge(monkeypatch, folders["real"], folders["fake"], "--metrics", "l1", "--json", one)
    judge(monkeypatch, folders["inputs"], folders["fake"], "--metrics", "l1", "psnr", "--json", other)
    capsys.readouterr()
    assert judge(monkeypatch, "--compare", one, other, "--html", page) == 0
    output = capsys.readouterr().out
    row = next(line for line in output.splitlines() if line.startswith("PSNR"))
    assert row.split()[:3] == ["PSNR", "higher", "-"]
    assert "warning: the protocols differ in real set" in output
    assert "real set" in page.read_text()


def test_label_maps_in_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in (("true", [0, 1, 1, 255]), ("made", [0, 1, 0, 1])):
        (tmp_path / name).mkdir()
        Image.fromarray(np.array([row], np.uint8)).save(tmp_path / name / "x.png")
    words = ["--label_maps", tmp_path / "true", "--classes", 2, "--json", tmp_path / "c.json"]
    assert judge(monkeypatch, tmp_path / "true", tmp_path / "made", *words) == 0
    found = {name: figure.score.value for name, figure in figures(Card.load(tmp_path / "c.json")).items()}
    assert found == pytest.approx({"pixel_accuracy": 2 / 3, "class_accuracy": 0.75, "miou": 0.5})


# --- test.py


def test_test_py_and_evaluate_give_the_same_numbers(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1", "ssim", "fid", "--pictures", "fake")
    folder = tmp_path / "pix2pix" / "test_latest"
    assert (folder / "card.html").is_file() and "card.html" in capsys.readouterr().out
    words = ["--metrics", "l1", "ssim", "fid", "--inception", runs / "judge.pt", "--bootstrap", 10]
    judge(monkeypatch, folder / "images", folder / "images", *words, "--json", tmp_path / "again.json")
    again = Card.load(tmp_path / "again.json")
    for name, figure in figures(card).items():
        same = figures(again)[name]
        assert figure.score == same.score, name
        for baseline in ("copy", "real"):
            assert figure.baselines[baseline] == same.baselines[baseline], (name, baseline)
    assert {name: text for name, text in card.protocol.items() if again.protocol[name] != text} == {}


def test_the_card_of_a_run_knows_its_training_pairs_and_its_options(runs: Path, tmp_path: Path) -> None:
    card = translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1")
    l1 = figures(card)["l1"]
    pairs = [np.asarray(Image.open(runs / "pairs" / "train" / f"{i}.png")).astype(float) for i in range(3)]
    truths = [np.asarray(Image.open(runs / "pairs" / "test" / f"{i}.png")).astype(float) for i in range(5)]
    mean = np.rint(np.mean([pair[:, 16:] for pair in pairs], axis=0))
    expected = np.mean([np.abs(mean - truth[:, 16:]).mean() for truth in truths]) / 127.5
    assert l1.baselines["mean"].value == pytest.approx(expected, abs=1e-6)
    nearest = [min(pairs, key=lambda pair: np.square(pair[:, :16] - truth[:, :16]).sum()) for truth in truths]
    found = [np.abs(pair[:, 16:] - truth[:, 16:]).mean() for pair, truth in zip(nearest, truths, strict=True)]
    assert l1.baselines["nearest"].value == pytest.approx(np.mean(found) / 127.5, abs=1e-6)
    assert l1.baselines["copy"].value == pytest.approx(
        np.mean([np.abs(truth[:, :16] - truth[:, 16:]).mean() for truth in truths]) / 127.5, abs=1e-6
    )
    assert card.options["train.py"]["generator_filters"] == 4
    assert card.subject["chosen"].startswith("latest.pt: the last one, no selection, at 3 images seen")


def test_other_pictures_in_the_folder_are_not_judged(runs: Path, tmp_path: Path) -> None:
    everything = translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1")
    few = translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1", "--num_test", "2")
    assert everything.protocol["generated images"] == "5" and few.protocol["generated images"] == "2"


def test_jpegs_are_said_to_be_such(runs: Path, tmp_path: Path) -> None:
    card = translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1", "--format", "jpg")
    assert card.protocol["generated files"] == "jpg" and any("JPG" in warning for warning in card.warnings)


@pytest.mark.parametrize(("way", "target"), [("AtoB", "testB"), ("BtoA", "testA")])
def test_unpaired_images_are_judged_by_those_of_the_target_domain(
    way: str, target: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = translate(runs, tmp_path, "cyclegan", "domains", "--metrics", "auto", "--direction", way)
    assert list(figures(card)) == ["kid", "fid", "precision", "recall", "cycle"]
    folder = next((tmp_path / "cyclegan").iterdir()) / "images"
    words = ["--metrics", "fid", "cycle", "--inception", runs / "judge.pt", "--bootstrap", 10]
    judge(monkeypatch, runs / "domains" / target, folder, *words, "--json", tmp_path / "again.json")
    again = figures(Card.load(tmp_path / "again.json"))
    for name in ("fid", "cycle"):
        assert again[name].score == figures(card)[name].score
        assert again[name].baselines["copy"] == figures(card)[name].baselines["copy"]
    assert again["cycle"].baselines["copy"].value == 0
    assert card.baselines["mean"] == "the mean of 3 training images"


def test_generated_images_are_judged_by_real_ones_of_their_classes(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--metrics", "fid", "--phase", "train", "--labels", "light", "--num_per_class", "6"]
    card = translate(runs, tmp_path, "cgan", "classes", *words)
    assert (card.protocol["generated images"], card.protocol["real images"]) == ("6", "4")
    assert figures(card)["fid"].left_out["copy"] == "there are no inputs"
    assert figures(card)["fid"].left_out["training"] == "there are only 4 training images"  # of this class
    assert card.subject["data"] == str(runs / "classes")
    real, fake = runs / "classes" / "train" / "light", tmp_path / "cgan" / "train_latest" / "images"
    words = ["--metrics", "fid", "--inception", runs / "judge.pt", "--bootstrap", 10, "--json", tmp_path / "again.json"]
    judge(monkeypatch, real, fake, *words)
    assert figures(Card.load(tmp_path / "again.json"))["fid"].score == figures(card)["fid"].score


class Shades(nn.Module):
    """Reads class 0 where a photo is dark, else class 1."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([-images.mean(dim=1), images.mean(dim=1)], dim=1)


@pytest.mark.parametrize(
    ("words", "real"),
    [
        ("--in_classes 2", "the classes that the network predicts from the real photos"),
        ("--out_classes 2", "another true label map"),
    ],
)
def test_label_maps_are_judged_on_either_side(words: str, real: str, runs: Path, tmp_path: Path) -> None:
    way = "AtoB" if "--in_classes" in words else "BtoA"
    random = np.random.default_rng(0)
    for phase, row in [(phase, row) for phase in ("train", "test") for row in range(2)]:
        labels = random.integers(0, 2, (16, 16), np.uint8)
        for domain, pixels in (("A", labels), ("B", np.repeat(labels[:, :, None] * 255, 3, axis=2))):
            (tmp_path / "data" / f"{phase}{domain}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / f"{phase}{domain}" / f"{row}.png")
    torch.jit.script(Shades()).save(tmp_path / "shades.pt")
    places = [
        "--dataroot",
        str(tmp_path / "data"),
        "--checkpoints_dir",
        str(tmp_path / "checkpoints"),
        "--name",
        "maps",
    ]
    words = f"{words} {NETS} {MODELS['pix2pix']}"
    assert train_script.main([*places, "--model", "pix2pix", "--direction", way, *words.split()]) == 0
    card = translate(tmp_path, tmp_path, "maps", "data", "--metrics", "miou", "--segmentation", f"{tmp_path}/shades.pt")
    miou = figures(card)["miou"]
    assert 0 <= miou.score.value <= 1 and card.baselines["real"] == real
    assert (miou.baselines["real"].value == 1) == (way == "AtoB")
    assert ("segmentation" in card.protocol) and miou.score.fakes == 2


@pytest.mark.parametrize(
    ("model", "data", "words", "complaint"),
    [
        ("pix2pix", "pairs", "--metrics fid --inception nothing.pt", "nothing.pt: there is no such file"),
        ("pix2pix", "pairs", "--metrics ms_ssim", "ms_ssim needs images of at least"),
        ("pix2pix", "pairs", "--metrics cycle", "cycle needs inputs translated there and back"),
        ("pix2pix", "pairs", "--metrics fdi", "choose from auto"),
        ("pix2pix", "pairs", "--metrics l1 --part 1/2", "--metrics judges a whole folder"),
        (
            "pix2pix",
            "pairs",
            "--metrics precision --num_test 3",
            "4 generated images, there are 3",
        ),
        ("cyclegan", "domains", "--metrics l1", "l1 needs the true image"),
        ("cyclegan", "domains/testA", "--metrics fid", "holds the inputs alone"),
        ("cgan", "classes", "--metrics fid", "no class folders"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_translated(
    model: str, data: str, words: str, complaint: str, runs: Path, tmp_path: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path, model, data, *words.split())
    assert stop.value.code == 2 and complaint in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png"))


def test_pictures_that_an_earlier_test_did_not_write_are_named(runs: Path, tmp_path: Path, capsys: Any) -> None:
    translate(runs, tmp_path, "cyclegan", "domains", "--metrics", "kid")
    with pytest.raises(SystemExit):
        translate(runs, tmp_path, "cyclegan", "domains", "--metrics", "cycle", "--skip_existing")
    assert "0 has no rec_A; translate it without --skip_existing" in capsys.readouterr().err


def test_without_metrics_there_is_no_card(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="card.json"):
        translate(runs, tmp_path, "pix2pix", "pairs")
    assert len(list(tmp_path.rglob("*_fake_B.png"))) == 5


def test_unusable_images_are_left_out_of_a_card_as_well(runs: Path, tmp_path: Path, caplog: Any) -> None:
    for phase in ("testA", "testB"):
        folder = tmp_path / "data" / phase
        folder.mkdir(parents=True)
        for file in sorted((runs / "domains" / phase).iterdir()):
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "9.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        words = ["--metrics", "kid", "--on_bad_image", "skip", "--dataroot", str(tmp_path / "data")]
        card = translate(runs, tmp_path, "cyclegan", "domains", *words)
    assert (card.protocol["generated images"], card.protocol["real images"]) == ("8", "8")


def test_options_are_plain_values_in_the_file(runs: Path, tmp_path: Path) -> None:
    translate(runs, tmp_path, "pix2pix", "pairs", "--metrics", "l1", "--bootstrap", "0")
    plain = json.loads((tmp_path / "pix2pix" / "test_latest" / "card.json").read_text())
    assert plain["options"]["test.py"]["metrics"] == ["l1"]
    assert plain["figures"][0]["low"] is None and plain["protocol"]["intervals"] == "none"
