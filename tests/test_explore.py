"""Latents of a class-conditional run: paths between images, directions that change one thing, synthetic data sets."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import DataConfig, build_dataset
from i2i.models.cgan import CGAN
from i2i.tools.explore.__main__ import main
from i2i.tools.explore.animation import write_gif, write_mp4
from i2i.tools.explore.attributes import height, ink, slant, width
from i2i.tools.explore.directions import Directions, read_table, traversal
from i2i.tools.explore.fitting import deviations, fit, sefa
from i2i.tools.explore.interpolation import between, linear, spherical
from i2i.tools.explore.sampler import Sampler, Seed
from i2i.training import checkpoint
from i2i.translate.translator import Translator
from tests import tiny

FAMILY = {"dcgan": {}, "stylegan": {"generator": "stylegan"}, "unconditional": {"unconditional": True}}


def varied(**options: object) -> CGAN:
    """A cgan whose random weights are so large that its images differ."""
    torch.manual_seed(0)
    return tiny.cgan(**{"noise_dim": 6, "init_gain": 1.0} | options)


def sampler(**options: object) -> Sampler:
    return Sampler(Translator(varied(**options), "cpu"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind, as training saves it."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in FAMILY.items():
        save(varied(**options), "cgan", folder / name)
    save(tiny.pix2pix(), "pix2pix", folder / "pix2pix")
    return folder


def save(model: tiny.GanModel, kind: str, folder: Path) -> None:
    folder.mkdir()
    options = {"model": kind} | vars(model.config)
    state = {"options": options, "spec": model.spec.as_dict(), "model": model.state_dict(), "ema": None, "step": 0}
    checkpoint.save(state, folder / "latest.pt")


def explore(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["explore", *map(str, words)])
    assert main() == 0


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: object) -> str:
    monkeypatch.setattr(sys, "argv", ["explore", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and len(error.splitlines()) == 1
    return error


def image_of(source: Sampler, label: int, seed: int) -> torch.Tensor:
    return source.translator.generate(torch.tensor([label]), seed, source.truncation)[0]


def test_a_straight_line_by_hand() -> None:
    points = linear(torch.tensor([0.0, 2.0]), torch.tensor([4.0, 0.0]), torch.tensor([0.0, 0.25, 1.0]))
    assert points.tolist() == [[0, 2], [1, 1.5], [4, 0]]


def test_an_arc_by_hand() -> None:
    points = spherical(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1 / 3, 0.5, 1.0]))
    half = math.sqrt(2)
    expected = torch.tensor([[2, 0], [2 * math.cos(math.pi / 6), 1], [half, half], [0, 2]])
    assert torch.allclose(points, expected, atol=1e-6)


def test_an_arc_keeps_the_length_and_its_halves_are_equally_wide() -> None:
    start, end = torch.nn.functional.normalize(torch.randn(2, 50, generator=torch.Generator().manual_seed(0))) * 7
    points = spherical(start, end, torch.linspace(0, 1, 9))
    assert torch.allclose(points.norm(dim=1), torch.full((9,), 7.0), atol=1e-4)
    steps = torch.cosine_similarity(points[1:], points[:-1])
    assert torch.allclose(steps, steps[:1].expand(8), atol=1e-5)


def test_an_arc_between_equal_vectors_stays_where_it_is() -> None:
    start = torch.tensor([1.0, 2.0, 3.0])
    assert torch.allclose(spherical(start, start, torch.linspace(0, 1, 3)), start.expand(3, 3))


@pytest.mark.parametrize("kind", ["dcgan", "stylegan"])
@pytest.mark.parametrize("truncation", [None, 0.5])
def test_the_ends_of_an_interpolation_are_the_images_of_their_seeds(kind: str, truncation: float | None) -> None:
    source = Sampler(Translator(varied(**FAMILY[kind]), "cpu"), truncation)
    images = between(source, "x:3", "z:11", 5)
    assert images.shape == (5, 1, 8, 8)
    assert torch.allclose(images[0], image_of(source, 0, 3), atol=1e-5)
    assert torch.allclose(images[-1], image_of(source, 2, 11), atol=1e-5)
    assert all((images[i] - images[i + 1]).abs().max() > 1e-3 for i in range(4))


def test_between_classes_the_middle_is_the_image_of_their_mixture() -> None:
    source = sampler()
    middle = between(source, "x:3", "y:3", 3)[1]
    noise = source.latents([Seed(0, 3)])
    assert torch.allclose(middle, source.model.images(noise, torch.tensor([[0.5, 0.5, 0.0]]))[0], atol=1e-5)
    assert not torch.allclose(middle, image_of(source, 0, 3), atol=1e-3)


def test_an_unconditional_model_has_seeds_and_no_classes() -> None:
    source = sampler(unconditional=True)
    images = between(source, "3", "4", 2)
    assert torch.allclose(images[1], image_of(source, 0, 4), atol=1e-5)
    assert source.classes == () and source.seed("7") == Seed(None, 7)
    with pytest.raises(ValueError, match="unconditional"):
        source.seed("x:7")


def test_names_of_images() -> None:
    source = sampler()
    assert source.seed("y:12") == Seed(1, 12) and source.seed("y") == Seed(1, 0)
    for wrong, why in (
        ("w:1", "'w' is none of the run's classes: x, y, z"),
        ("1", "x:1"),
        ("x:a", "x:1"),
        ("x:", "x:1"),
    ):
        with pytest.raises(ValueError, match=why):
            source.seed(wrong)


def test_interpolations_are_a_strip_and_films_there_and_back(runs: Path, tmp_path: Path, monkeypatch) -> None:
    import cv2

    words = ["--from", "x:1", "y", "--to", "z:2", "y:5", "--steps", 4, "--fps", 10, "--out", tmp_path]
    explore(monkeypatch, "interpolate", runs / "dcgan", *words)
    strip, gif = Image.open(tmp_path / "strip.png"), Image.open(tmp_path / "interpolation.gif")
    assert strip.height == 2 * 128 + 3 * 4 and strip.width > 4 * 128
    assert gif.n_frames == 6 and gif.info["loop"] == 0 and gif.info["duration"] == 100
    film = cv2.VideoCapture(str(tmp_path / "interpolation.mp4"))
    frames = [film.read()[1] for _ in range(int(film.get(cv2.CAP_PROP_FRAME_COUNT)))]
    assert len(frames) == 6 and film.get(cv2.CAP_PROP_FPS) == 10
    assert frames[0].shape == (gif.height, gif.width, 3)
    first = np.asarray(gif.convert("L")).astype(int)
    assert np.abs(first - frames[0].mean(axis=2)).mean() < 8


def test_films_have_the_colours_and_the_order_of_their_pictures(tmp_path: Path) -> None:
    import cv2

    colours = [(255, 0, 0), (0, 0, 255)]
    pictures = [Image.new("RGB", (17, 15), colour) for colour in colours]
    write_gif(pictures, tmp_path / "a.gif", 4)
    assert write_mp4(pictures, tmp_path / "a.mp4", 4)
    gif, film = Image.open(tmp_path / "a.gif"), cv2.VideoCapture(str(tmp_path / "a.mp4"))
    for number, colour in enumerate(colours):
        gif.seek(number)
        assert gif.convert("RGB").getpixel((8, 7)) == colour
        frame = film.read()[1]
        assert frame.shape == (16, 18, 3) and np.abs(frame[7, 8, ::-1].astype(int) - colour).max() < 16


def test_without_an_encoder_the_others_are_written(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    import cv2

    class NoEncoder:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: object) -> None: ...

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(cv2, "VideoWriter", NoEncoder)
    explore(monkeypatch, "interpolate", runs / "dcgan", "--from", "x", "--to", "z", "--steps", 2, "--out", tmp_path)
    assert "no MP4: this build of OpenCV" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interpolation.gif", "strip.png"]


def test_closed_form_directions_are_those_that_a_matrix_lengthens_most() -> None:
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    directions = sefa(torch.diag(torch.tensor([1.0, 5.0, 0.5, 3.0])) @ rotation, 2)
    assert torch.allclose((directions * rotation[[1, 3]]).sum(dim=1).abs(), torch.ones(2), atol=1e-5)
    assert (directions.max(dim=1).values == directions.abs().max(dim=1).values).all()
    with pytest.raises(ValueError, match="--count 5.*1 to 4"):
        sefa(rotation, 5)


@pytest.mark.parametrize("kind", FAMILY)
def test_closed_form_directions_of_a_run(kind: str, runs: Path, tmp_path: Path, monkeypatch) -> None:
    explore(monkeypatch, "directions", runs / kind, "--count", 3, "--seeds", 4, 9, "--steps", 5, "--out", tmp_path)
    model = varied(**FAMILY[kind])
    expected = torch.linalg.svd(model.generator.latent_weights().detach(), full_matrices=False).Vh[:3]
    with np.load(tmp_path / "directions.npz") as saved:
        directions, names = torch.from_numpy(saved["directions"]), saved["names"].tolist()
        assert saved["deviations"].shape == (3,) and (saved["deviations"] > 0).all()
    assert names == ["1", "2", "3"]
    assert torch.allclose(directions.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose((directions * expected).sum(dim=1).abs(), torch.ones(3), atol=1e-3)
    picture = Image.open(tmp_path / "traversal.png")
    assert picture.width > 5 * 128 and 6 * 132 < picture.height < 6 * 132 + 64


def test_a_traversal_moves_by_standard_deviations_and_passes_the_image_itself() -> None:
    source = sampler()
    found = Directions(["one"], torch.eye(6)[:1], torch.tensor([2.0]))
    seeds = [Seed(1, 3), Seed(1, 8)]
    images = traversal(source, found, 0, seeds, torch.tensor([-3.0, 0.0, 3.0]))
    assert images.shape == (2, 3, 1, 8, 8)
    assert torch.allclose(images[1, 1], image_of(source, 1, 8), atol=1e-5)
    moved = source.latents(seeds[:1]) + torch.tensor([[6.0, 0, 0, 0, 0, 0]])
    assert torch.allclose(images[0, 2], source.model.images(moved, torch.tensor([1]))[0], atol=1e-5)


def test_deviations_are_within_classes() -> None:
    latents = torch.tensor([[1.0, 0.0], [3.0, 0.0], [101.0, 4.0], [103.0, -4.0]])
    spread = deviations(torch.eye(2), latents, torch.tensor([0, 0, 1, 1]))
    assert torch.allclose(spread, torch.tensor([1.0, math.sqrt(8)]))


def toy_samples(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An attribute that grows by 3 along [2, -1, 2] / 3 and, far more, from class to class."""
    random = np.random.default_rng(0)
    labels = np.arange(500) % 2
    latents = random.normal(size=(500, 3)) * [1, 2, 3] + 10 * labels[:, None]
    values = latents @ np.array([2.0, -1.0, 2.0]) - 500 * labels + noise * random.normal(size=500)
    return latents, labels, values


def test_a_fitted_direction_is_the_true_one() -> None:
    fitted = fit("toy", *toy_samples(noise=0))
    assert np.allclose(fitted.direction, np.array([2, -1, 2]) / 3, atol=0.02)
    assert fitted.r2 > 0.99 and fitted.correlation > 0.99 and fitted.held_out == 100


def test_what_a_fit_says_of_itself_is_the_share_that_it_explains() -> None:
    # The variance is 4 * 1 + 4 + 4 * 9 = 44 by the latents, and as much by noise: half of it can be explained.
    fitted = fit("toy", *toy_samples(noise=math.sqrt(44)))
    assert fitted.r2 == pytest.approx(0.5, abs=0.15) and fitted.correlation == pytest.approx(math.sqrt(0.5), abs=0.12)
    latents, labels, values = toy_samples(noise=0)
    shuffled = np.random.default_rng(1).permutation(len(values) // 2) * 2
    values[labels == 0], values[labels == 1] = values[shuffled], values[shuffled + 1]
    assert fit("nothing", latents, labels, values).r2 < 0.1


def test_what_cannot_be_fitted_is_said() -> None:
    latents, labels, values = toy_samples(noise=0)
    with pytest.raises(ValueError, match="toy: 9 samples are too few"):
        fit("toy", latents[:9], np.zeros(9, int), values[:9])
    with pytest.raises(ValueError, match="toy is the same in all samples of a class"):
        fit("toy", latents, labels, labels.astype(float))


def drawn(*rows: str) -> torch.Tensor:
    """An image of strokes (#) on a dark ground."""
    return torch.tensor([[[1.0 if mark == "#" else -1.0 for mark in row] for row in rows]])[None]


def test_attributes_by_hand() -> None:
    slash, wide = drawn("....#", "...#.", "..#..", ".#..."), drawn(".....", ".###.", ".###.", ".....")
    assert slant(slash).item() == pytest.approx(45) and slant(slash.flip(3)).item() == pytest.approx(-45)
    assert slant(wide).item() == pytest.approx(0, abs=1e-4)
    half = drawn("...##.", "..##..", "..##..", ".##...", ".##...", "##....")  # leans by 1 a row at first, then by half
    assert 26 < slant(half).item() < 45
    assert (width(slash).item(), height(slash).item()) == (4, 4) and (width(wide).item(), height(wide).item()) == (3, 2)
    assert ink(wide).item() == pytest.approx(6 / 20)
    empty = drawn("...", "...")
    assert [attribute(empty).item() for attribute in (ink, slant, width, height)] == [0, 0, 0, 0]
    gap = drawn("#..#.")
    assert width(gap).item() == 4 and ink(torch.cat([gap, empty[..., :1, :1].expand(1, 1, 1, 5)])).tolist()[1] == 0


def test_fitted_directions_say_what_moves_along_them(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    words = ["--method", "fitted", "--attribute", "ink", "--samples", 300, "--label", "y", "--steps", 3, "--span", 2]
    explore(monkeypatch, "directions", runs / "dcgan", *words, "--out", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ink: R2 0.") and "60 samples that were held out" in lines[0]
    assert lines[1].split() == ["moved", "by", "-2", "0", "+2"]
    name, *means = lines[2].split()
    assert name == "ink" and float(means[0]) < float(means[1]) < float(means[2])
    with np.load(tmp_path / "directions.npz") as saved:
        assert saved["names"].tolist() == ["ink"] and np.linalg.norm(saved["directions"]) == pytest.approx(1)


def test_a_table_names_images_and_values(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    source, table = sampler(), tmp_path / "boldness.csv"
    seeds = [Seed(row % 3, row) for row in range(60)]
    values = source.latents(seeds)[:, 2].tolist()
    rows = [f"{'xyz'[seed.label or 0]},{seed.seed},{value}" for seed, value in zip(seeds, values, strict=True)]
    table.write_text("\n".join(["class,seed,value", *rows]))
    samples = read_table(source, table)
    assert samples.seeds == seeds and np.allclose(samples.values["boldness"], values)
    explore(monkeypatch, "directions", runs / "dcgan", "--method", "fitted", "--table", table, "--out", tmp_path)
    assert "boldness: R2 1.000, correlation 1.000" in capsys.readouterr().out
    with np.load(tmp_path / "directions.npz") as saved:
        assert saved["directions"][0, 2] > 0.99
    table.write_text("class,seed,value\nx,1,0.5\nw,1,0.5\n")
    with pytest.raises(ValueError, match="boldness.csv, line 3: 'w' is none of"):
        read_table(source, table)
    for value in ("nan", "inf", "-inf", "much"):
        table.write_text(f"class,seed,value\nx,1,0.5\nx,2,0.5\nx,3,{value}\n")
        with pytest.raises(ValueError, match=f"boldness.csv, line 4: .*'{value}'"):
            read_table(source, table)
    table.write_text("class,seed\nx,1\n")
    with pytest.raises(ValueError, match="columns class, seed, value"):
        read_table(source, table)


def test_a_data_set_of_generated_images_is_read_back(runs: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "set"
    words = ["--num_per_class", 3, "--seed", 5, "--labels", "x", "z", "--truncation", 0.8]
    explore(monkeypatch, "export", runs / "dcgan", "--out", out, *words)
    config = DataConfig(str(out), dataset_mode="classes", out_channels=1, load_size=(8,), crop_size=(8,), flip=False)
    dataset = build_dataset(config)
    assert dataset.classes == ("x", "z") and dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [Path(path).name for path in dataset.files[:3]] == ["seed5.png", "seed6.png", "seed7.png"]
    source = Sampler(Translator(varied(), "cpu"), 0.8)
    pixels = np.asarray(Image.open(out / "train" / "z" / "seed6.png")).astype(float)
    expected = (image_of(source, 2, 6)[0].numpy() + 1) * 127.5
    assert pixels.shape == (8, 8) and np.abs(pixels - expected).max() <= 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 5 and manifest["truncation"] == 0.8 and manifest["classes"] == {"x": "x", "z": "z"}
    assert manifest["checkpoint"] == str((runs / "dcgan" / "latest.pt").resolve()) and len(manifest["sha256"]) == 64


def test_results_have_the_name_of_the_run_and_the_method(runs: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(runs / "dcgan", tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    explore(monkeypatch, "directions", ".", "--count", 1, "--samples", 60)
    explore(monkeypatch, "directions", ".", "--method", "fitted", "--attribute", "ink", "--samples", 60)
    folder = tmp_path / "mine" / "results" / "mine"
    assert {path.name for path in folder.iterdir()} == {"directions_sefa", "directions_fitted"}


def test_a_run_is_a_folder_or_a_name(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    words = ["--checkpoints_dir", runs, "--out", tmp_path / "set", "--num_per_class", 2]
    (tmp_path / "unconditional").mkdir()  # of the run's name, but without a checkpoint
    monkeypatch.chdir(tmp_path)
    explore(monkeypatch, "export", "unconditional", *words)
    assert "images: 2, classes: 1;" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "set" / "train" / "all").iterdir()) == ["seed0.png", "seed1.png"]


def test_what_is_wrong_is_said_in_one_line(runs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run = runs / "dcgan"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    cases = {
        ("paint", run): "'paint' is no command: choose from interpolate, directions, export",
        ("interpolate", "--from", "x", "--to", "y"): "which run?",
        ("interpolate", run, "--from", "x"): "--from has 1 images and --to 0",
        ("interpolate", run, "--from", "x", "--to", "y", "--fps", 0): "--fps 0: must be between 1 and 50",
        ("interpolate", run, "--from", "x", "--to", "y", "--steps", 1): "--steps 1: must be at least 2",
        ("interpolate", run, "--from", "x", "--to", "w:1"): "'w' is none of the run's classes: x, y, z",
        ("interpolate", run, "--from", "x", "--to", "y", "--path", "crooked"): "invalid choice: 'crooked'",
        ("interpolate", run, "--from", "x", "--to", "y", "--truncation", -1): "--truncation -1: must be at least 0",
        ("directions", runs / "nobody"): "runs beside it: dcgan, pix2pix, stylegan, unconditional",
        ("directions", runs / "pix2pix"): "only a cgan",
        ("directions", run, "--epoch", 7): "--epoch can be: latest",
        ("directions", run, "--count", 50): "--count 50: this generator's latents have 1 to 6 directions",
        ("directions", run, "--label", "w"): "'w' is none of the run's classes: x, y, z",
        ("directions", run, "--table", "a.csv"): "--table is what --method fitted fits to",
        ("directions", run, "--attribute", "ink"): "--attribute is what --method fitted fits to",
        ("directions", run, "--method", "fitted", "--count", 3): "--count is of --method sefa",
        ("directions", run, "--method", "fitted", "--table", "a.csv", "--attribute", "ink"): "--attribute goes without",
        ("directions", run, "--method", "fitted", "--table", "a.csv", "--samples", 60): "--samples goes without",
        ("directions", run, "--truncation", 0): "--truncation 0 leaves one latent a class",
        ("directions", run / "latest.pt"): "latest.pt is a file: give the run's folder",
        ("export", runs / "unconditional", "--out", tmp_path / "new", "--labels", "all"): "this run is unconditional",
        ("directions", run, "--method", "fitted", "--table", "a.csv"): "--table a.csv cannot be read",
        ("export", run): "--out is missing",
        ("export", run, "--out", tmp_path / "full"): "exists and is no empty folder",
        ("export", run, "--out", tmp_path / "new", "--labels", "4"): "--labels 4: '4' is none of the classes x, y, z",
    }
    for words, expected in cases.items():
        assert expected in refused(monkeypatch, capsys, *words), words
    assert not (tmp_path / "new").exists()


def test_help_lists_the_commands_and_their_options(monkeypatch, capsys) -> None:
    for words, expected in (([], "interpolate RUN"), (["export", "--help"], "--num_per_class")):
        monkeypatch.setattr(sys, "argv", ["explore", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0 and expected in capsys.readouterr().out
