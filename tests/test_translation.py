"""train.py and test.py from folder to pictures, and the translator: sizes, names, directions, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

import test as test_script
import train as train_script
from i2i.translate import chosen_classes
from i2i.translate.translator import Translator
from tests import tiny

NETS = "--ngf 4 --ndf 4 --netD pixel --load_size 16 --crop_size 16 --num_threads 0 --n_epochs 1 --n_epochs_decay 0"
MODELS = {
    "pix2pix": "--netG unet --num_downs 6",
    "cyclegan": "--netG resnet --num_blocks 1",
    "cgan": "--noise_dim 4 --load_size 8 --crop_size 8 --batch_size 4",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a trained run of every model."""
    root = tmp_path_factory.mktemp("runs")
    tiny.write_pairs(root / "pairs", 4)
    tiny.write_pairs(root / "pairs", 3, phase="test", seed=1)
    tiny.write_domains(root / "domains", 4)
    tiny.write_domains(root / "domains", 3, phase="test")
    tiny.write_classes(root / "classes", 4)
    for model, data in (("pix2pix", "pairs"), ("cyclegan", "domains"), ("cgan", "classes")):
        nets = NETS.replace("--netD pixel", "") if model == "cgan" else NETS
        train(root, model, root / data, *nets.split(), *MODELS[model].split())
    return root


def train(root: Path, model: str, data: Path, *words: str, name: str | None = None) -> None:
    files = ["--dataroot", str(data), "--checkpoints_dir", str(root / "checkpoints"), "--name", name or model]
    assert train_script.main(["--model", model, *files, *words]) == 0


def translate(root: Path, results: Path, *words: str) -> None:
    places = ["--checkpoints_dir", str(root / "checkpoints"), "--results_dir", str(results), "--num_threads", "0"]
    assert test_script.main([*places, *words]) == 0


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def noise(path: Path, width: int, height: int, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(width * 1000 + height)
    shape = (height, width) if mode == "L" else (height, width, 3)
    Image.fromarray(random.integers(0, 256, shape).astype(np.uint8)).save(path)
    return path


def test_a_trained_run_leaves_everything_that_is_promised(runs: Path) -> None:
    for model in MODELS:
        held = files(runs / "checkpoints" / model)
        assert {"latest.pt", "options.yaml", "metrics.jsonl", "web/index.html"} <= set(held)
        assert any(name.startswith("web/images/") for name in held) and "web/loss_curves.png" in held


def test_pix2pix_translates_a_side_by_side_test_set(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    translate(runs, tmp_path, "--name", "pix2pix", "--dataroot", str(runs / "pairs"))
    folder = tmp_path / "pix2pix" / "test_latest"
    expected = [f"images/{i}_{label}.png" for i in range(3) for label in ("fake_B", "real_A", "real_B")]
    assert files(folder) == [*expected, "index.html", "results.jsonl"]
    pair = pixels(runs / "pairs" / "test" / "0.png")
    assert (pixels(folder / "images" / "0_real_A.png") == pair[:, :16]).all()
    assert (pixels(folder / "images" / "0_real_B.png") == pair[:, 16:]).all()
    page = (folder / "index.html").read_text()
    assert page.count("<img") == 9 and "images/2_fake_B.png" in page
    output = capsys.readouterr().out
    assert "3 images translated" in output and str(folder / "index.html") in output


def test_results_do_not_depend_on_the_batch_nor_on_the_worker(runs: Path, tmp_path: Path) -> None:
    for name, words in (("one", "--batch_size 1"), ("three", "--batch_size 3 --num_threads 1")):
        translate(runs, tmp_path / name, "--name", "pix2pix", "--dataroot", str(runs / "pairs"), *words.split())
    one, three = (tmp_path / name / "pix2pix" / "test_latest" / "images" for name in ("one", "three"))
    for name in files(one):
        assert np.abs(pixels(one / name) - pixels(three / name)).max() <= 1, name


def test_cyclegan_translates_either_way_and_pix2pix_only_its_own(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    translate(runs, tmp_path, "--name", "cyclegan", "--dataroot", str(runs / "domains"))
    words = ["--dataroot", str(runs / "domains"), "--direction", "BtoA"]
    translate(runs, tmp_path, "--name", "cyclegan", *words)
    there, back = (tmp_path / "cyclegan" / f"test_latest{way}" / "images" for way in ("", "_BtoA"))
    assert files(there) == [f"{i}_{label}.png" for i in range(3) for label in ("fake_B", "real_A")]
    assert files(back) == [f"{i}_{label}.png" for i in range(3) for label in ("fake_A", "real_B")]
    assert (pixels(back / "1_real_B.png") == pixels(runs / "domains" / "testB" / "1.png")).all()

    folder = runs / "checkpoints" / "cyclegan"
    image = Image.open(runs / "domains" / "testB" / "1.png")
    expected = Translator.from_run(folder, device="cpu", target="a")(image)
    assert np.abs(np.asarray(expected).astype(int) - pixels(back / "1_fake_A.png")).max() <= 1

    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path, "--name", "pix2pix", "--dataroot", str(runs / "pairs"), "--direction", "BtoA")
    assert stop.value.code == 2 and "has no generator for the other direction" in capsys.readouterr().err


def test_a_run_trained_backwards_goes_on_backwards(runs: Path, tmp_path: Path) -> None:
    words = [*NETS.split(), *MODELS["cyclegan"].split(), "--direction", "BtoA"]
    train(runs, "cyclegan", runs / "domains", *words, name="backwards")
    translate(runs, tmp_path, "--name", "backwards", "--dataroot", str(runs / "domains"))
    images = tmp_path / "backwards" / "test_latest" / "images"
    assert (pixels(images / "0_real_A.png") == pixels(runs / "domains" / "testB" / "0.png")).all()
    translate(runs, tmp_path, "--name", "backwards", "--dataroot", str(runs / "domains"), "--direction", "AtoB")
    images = tmp_path / "backwards" / "test_latest_AtoB" / "images"
    assert (pixels(images / "0_real_B.png") == pixels(runs / "domains" / "testA" / "0.png")).all()


def test_all_that_a_cyclegan_shows(runs: Path, tmp_path: Path) -> None:
    translate(runs, tmp_path, "--name", "cyclegan", "--dataroot", str(runs / "domains"), "--pictures", "all")
    images = tmp_path / "cyclegan" / "test_latest" / "images"
    assert files(images)[:3] == ["0_fake_B.png", "0_real_A.png", "0_rec_A.png"]


@pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])
def test_results_have_the_exact_size_of_their_inputs(model: str, runs: Path, tmp_path: Path) -> None:
    sizes = [(1, 1), (17, 5), (64, 31), (33, 100), (33, 100)]
    for index, (width, height) in enumerate(sizes):
        noise(tmp_path / "in" / f"{index}.png", width, height)
    translate(runs, tmp_path / "out", "--name", model, "--input", str(tmp_path / "in"))
    images = tmp_path / "out" / model / "in_latest" / "images"
    assert [Image.open(images / f"{index}_fake_B.png").size for index in range(5)] == sizes


def test_subfolders_equal_stems_and_odd_names_are_kept_apart(runs: Path, tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", "A.bmp", "sub/a.png", "sub/deep er/ü & <b>#.png", "x.y.png"]
    for index, name in enumerate(names):
        noise(tmp_path / "in" / name, 16 + index, 16)
    translate(runs, tmp_path / "out", "--name", "cyclegan", "--input", str(tmp_path / "in"), "--pictures", "fake")
    images = tmp_path / "out" / "cyclegan" / "in_latest" / "images"
    widths = sorted(Image.open(path).width for path in images.rglob("*.png"))
    assert widths == [16 + index for index in range(len(names))]
    assert (images / "sub" / "a_fake_B.png").is_file() and (images / "x.y_fake_B.png").is_file()
    assert len({name.casefold() for name in files(images)}) == len(names)


def test_some_images_existing_results_and_a_single_file(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--name", "cyclegan", "--dataroot", str(runs / "domains")]
    images = tmp_path / "cyclegan" / "test_latest" / "images"
    translate(runs, tmp_path, *words, "--num_test", "1")
    assert files(images) == ["0_fake_B.png", "0_real_A.png"]
    (images / "0_fake_B.png").write_bytes(b"mine")
    translate(runs, tmp_path, *words, "--skip_existing")
    assert len(files(images)) == 6 and (images / "0_fake_B.png").read_bytes() == b"mine"
    assert "2 images translated" in capsys.readouterr().out
    translate(runs, tmp_path, *words, "--skip_existing")
    assert (images.parent / "index.html").read_text().count("<img") == 6  # what was left out is shown all the same
    translate(runs, tmp_path, "--name", "cyclegan", "--input", str(runs / "domains" / "testA" / "2.png"))
    assert files(tmp_path / "cyclegan" / "2_png_latest" / "images") == ["2_fake_B.png", "2_real_A.png"]


def test_bad_images_stop_or_are_skipped(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture, caplog) -> None:
    noise(tmp_path / "in" / "1.png", 16, 16)
    (tmp_path / "in" / "2.png").write_bytes((tmp_path / "in" / "1.png").read_bytes()[:200])
    noise(tmp_path / "in" / "3.png", 16, 16)
    words = ["--name", "cyclegan", "--input", str(tmp_path / "in")]
    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path / "out", *words)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and "2.png cannot be read" in error and "--on_bad_image skip" in error
    translate(runs, tmp_path / "out", *words, "--on_bad_image", "skip")
    assert [name for name in files(tmp_path / "out") if "fake" in name] == [
        f"cyclegan/in_latest/images/{i}_fake_B.png" for i in (1, 3)
    ]
    assert "2.png cannot be read" in caplog.text and "2 images translated" in capsys.readouterr().out


def test_generated_images_are_named_by_class_and_seed(runs: Path, tmp_path: Path) -> None:
    words = ["--name", "cgan", "--num_per_class", "5", "--batch_size", "2"]
    translate(runs, tmp_path, *words, "--seed", "7")
    folder = tmp_path / "cgan" / "test_latest"
    expected = [f"images/{name}/seed{seed}_fake.png" for name in ("dark", "light") for seed in range(7, 12)]
    assert files(folder) == sorted([*expected, "grid.png", "index.html", "results.jsonl"])
    again = tmp_path / "again"
    translate(runs, again, *words[:2], "--num_per_class", "1", "--seed", "9", "--labels", "light")
    again /= "cgan/test_latest/images/light"
    assert files(again) == ["seed9_fake.png"]
    one, other = pixels(again / "seed9_fake.png"), pixels(folder / "images" / "light" / "seed9_fake.png")
    assert np.abs(one - other).max() <= 1 and one.shape == (8, 8)


def test_a_truncated_image_is_nearer_to_the_average(runs: Path, tmp_path: Path) -> None:
    words = ["--name", "cgan", "--num_per_class", "12", "--labels", "light", "--truncation"]
    for truncation in ("0", "0.5", "5"):
        translate(runs, tmp_path / truncation, *words, truncation)
    spread = {}
    for truncation in ("0", "0.5", "5"):
        images = tmp_path / truncation / "cgan" / f"test_latest_truncation{truncation}" / "images" / "light"
        spread[truncation] = np.stack([pixels(images / name) for name in files(images)]).std(axis=0).mean()
    assert spread["0"] == 0 < spread["0.5"] < spread["5"]


def test_truncation_is_for_models_that_draw_noise(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for words, expected in (
        (["pix2pix", "--dataroot", str(runs / "pairs"), "--truncation", "0.7"], "--truncation"),
        (["cgan", "--truncation", "-1"], "--truncation -1: must be at least 0"),
    ):
        with pytest.raises(SystemExit) as stop:
            translate(runs, tmp_path, "--name", *words)
        assert stop.value.code == 2 and expected in capsys.readouterr().err.strip().splitlines()[-1]
    assert not files(tmp_path)


def test_an_unconditional_run_has_one_folder_and_a_grid_without_labels(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [*NETS.replace("--netD pixel", "").split(), *MODELS["cgan"].split(), "--unconditional"]
    train(runs, "cgan", runs / "classes", *words, name="unconditional")
    translate(runs, tmp_path, "--name", "unconditional", "--num_per_class", "12", "--batch_size", "5", "--seed", "3")
    folder = tmp_path / "unconditional" / "test_latest"
    expected = [f"images/all/seed{seed}_fake.png" for seed in range(3, 15)]
    assert files(folder) == sorted([*expected, "grid.png", "index.html", "results.jsonl"])
    grid = Image.open(folder / "grid.png")
    assert grid.size == (10 * 132 + 4, 2 * 132 + 4)  # all 12, ten to a row, and no room for names
    assert "class" not in (folder / "index.html").read_text().split("<body")[1].replace("class=", "")
    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path, "--name", "unconditional", "--labels", "dark")
    assert stop.value.code == 2 and "--labels: this run is unconditional" in capsys.readouterr().err


def test_labels_are_ranges_lists_and_names(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    digits = [str(digit) for digit in range(10)]
    assert chosen_classes(None, digits) == list(range(10))
    assert chosen_classes(["0-2", "7,5"], digits) == [0, 1, 2, 7, 5]
    assert chosen_classes(["b-1", "a"], ["a", "b-1"]) == [1, 0]
    for wrong in ("10", "8-11", "x", "3-1", ""):
        with pytest.raises(ValueError, match="--labels"):
            chosen_classes([wrong], digits)
    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path, "--name", "cgan", "--labels", "4")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "--labels 4" in error and "dark, light" in error
    assert not (tmp_path / "cgan").exists()


def test_no_class_name_writes_outside_the_results(runs: Path, tmp_path: Path) -> None:
    state = torch.load(runs / "checkpoints" / "cgan" / "latest.pt", weights_only=True)
    state["spec"]["classes"] = ["../../../escaped", "/tmp/escaped"]
    (tmp_path / "checkpoints" / "evil").mkdir(parents=True)
    torch.save(state, tmp_path / "checkpoints" / "evil" / "latest.pt")
    translate(tmp_path, tmp_path / "out", "--name", "evil", "--num_per_class", "1")
    written = {path for path in files(tmp_path) if not path.startswith("checkpoints/")}
    assert written == {
        f"out/evil/test_latest/{name}"
        for name in (
            "grid.png",
            "index.html",
            "results.jsonl",
            "images/class_0/seed0_fake.png",
            "images/class_1/seed0_fake.png",
        )
    }


def test_the_translator_gives_back_what_it_was_given(runs: Path) -> None:
    translator = Translator.from_run(runs / "checkpoints" / "cyclegan", device="cpu")
    array = np.random.default_rng(0).integers(0, 256, (13, 21, 3)).astype(np.uint8)
    picture = translator(Image.fromarray(array))
    assert isinstance(picture, Image.Image) and picture.size == (21, 13) and picture.mode == "RGB"
    assert (translator(array) == np.asarray(picture)).all()
    tensor = translator(torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1)
    assert tensor.shape == (3, 13, 21)
    back = ((tensor + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(back - np.asarray(picture).astype(int)).max() <= 1
    grey = translator(Image.fromarray(array).convert("L"))  # a file would be read in the model's channels too
    assert grey.mode == "RGB"
    with pytest.raises(ValueError, match="3 channels"):
        translator(array[:, :, 0])
    with pytest.raises(ValueError, match="this array holds float64 where uint8 is expected"):
        translator(array / 255)
    assert (translator(torch.from_numpy(array).permute(2, 0, 1)) - tensor).abs().max() < 1e-5


def test_the_translator_reads_a_picture_as_its_file_would_be(runs: Path, tmp_path: Path) -> None:
    translator = Translator.from_run(runs / "checkpoints" / "cyclegan", device="cpu")
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 65536, (16, 24)).astype(np.uint16)).save(tmp_path / "deep.png")
    turned = Image.fromarray(random.integers(0, 256, (16, 24, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / "turned.png", exif=exif)
    translate(runs, tmp_path / "out", "--name", "cyclegan", "--input", str(tmp_path))
    for name, size in (("deep", (24, 16)), ("turned", (16, 24))):
        (written,) = (tmp_path / "out" / "cyclegan").rglob(f"{name}_fake_B.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            picture = translator(image)
        assert picture.size == size
        assert np.abs(np.asarray(picture).astype(int) - pixels(written)).max() <= 1


def test_inputs_of_different_names_have_different_results(runs: Path, tmp_path: Path) -> None:
    for name in ("v1.0", "v1.1"):
        noise(tmp_path / name / "x.png", 16, 16)
        translate(runs, tmp_path / "out", "--name", "cyclegan", "--input", str(tmp_path / name))
    assert sorted(path.name for path in (tmp_path / "out" / "cyclegan").iterdir()) == ["v1_0_latest", "v1_1_latest"]


def test_averaged_weights_are_used_unless_refused(runs: Path, tmp_path: Path) -> None:
    words = [*NETS.split(), *MODELS["cyclegan"].split(), "--ema", "0.99"]
    train(runs, "cyclegan", runs / "domains", *words, name="averaged")
    folder = runs / "checkpoints" / "averaged"
    state = torch.load(folder / "latest.pt", weights_only=True)
    for ema, weights in ((True, state["ema"]["weights"]), (False, state["model"])):
        model = Translator.from_run(folder, ema=ema, device="cpu").model
        for key, value in model.generator_a_to_b.state_dict().items():
            assert torch.equal(value, weights[f"generator_a_to_b.{key}"])
    keys = [k for k in state["ema"]["weights"] if k.startswith("generator_a_to_b")]
    assert any(not torch.equal(state["model"][k], state["ema"]["weights"][k]) for k in keys)


def test_an_old_epoch_and_what_is_not_there(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(runs / "checkpoints" / "cyclegan", tmp_path / "checkpoints" / "run")
    (tmp_path / "checkpoints" / "run" / "latest.pt").rename(tmp_path / "checkpoints" / "run" / "epoch_3.pt")
    data = ["--dataroot", str(runs / "domains")]
    translate(tmp_path, tmp_path / "out", "--name", "run", "--epoch", "3", *data)
    assert (tmp_path / "out" / "run" / "test_3" / "index.html").is_file()
    for words, message in (
        (["--name", "run", *data], "--epoch can be: 3"),
        (["--name", "run", "--epoch", "4", *data], "--epoch can be: 3"),
        (["--name", "ran", *data], "there is no run in"),
        (["--name", "run", "--epoch", "3", "--dataroot", str(tmp_path / "nowhere")], "is not a folder"),
        (["--name", "run", "--epoch", "3"], "--dataroot"),
        (["--name", "run", "--epoch", "3", *data, "--ngf", "8"], "--generator_filters is 8, there it is 4"),
        (["--name", "run", "--epoch", "3", *data, "--norm", "none"], "--norm is none, there it is instance"),
        (
            ["--name", "run", "--epoch", "3", *data, "--upsample", "nearest"],
            "--upsample is nearest, there it is deconv",
        ),
        (["--name", "run", "--epoch", "3", *data, "--model", "pix2pix"], "is a cyclegan"),
    ):
        with pytest.raises(SystemExit) as stop:
            translate(tmp_path, tmp_path / "other", *words)
        error = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and message in error[-1] and error[-1].startswith("test.py: error:"), words
    assert not (tmp_path / "other").exists()


def test_a_run_is_neither_overwritten_nor_lost(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copytree(runs / "checkpoints" / "cyclegan", tmp_path / "checkpoints" / "run")
    latest = tmp_path / "checkpoints" / "run" / "latest.pt"
    content = latest.read_bytes()
    words = [*NETS.split(), *MODELS["cyclegan"].split()]
    for more, message in (
        ([], "--continue_train, delete it by --overwrite"),
        (["--overwrite", "--precision", "fp16", "--device", "cpu"], "fp16 needs CUDA"),
        (["--overwrite", "--out_channels", "1"], "identity"),
        (["--continue_train", "--ngf", "8"], "--generator_filters is 8, there it is 4"),
    ):
        with pytest.raises(SystemExit) as stop:
            train(tmp_path, "cyclegan", runs / "domains", *words, *more, name="run")
        assert stop.value.code == 2 and message in capsys.readouterr().err, more
        assert latest.read_bytes() == content
    with pytest.raises(SystemExit):
        train(tmp_path, "cyclegan", tmp_path / "nowhere", *words, "--overwrite", name="run")
    assert latest.read_bytes() == content
    with pytest.raises(SystemExit):  # only the first step shows that the discriminator does not fit the images
        train(tmp_path, "cyclegan", runs / "domains", *words, "--overwrite", "--netD", "basic", name="run")
    assert latest.with_name("latest.pt.replaced").read_bytes() == content and not latest.exists()
    train(tmp_path, "cyclegan", runs / "domains", *words, "--overwrite", name="run")
    assert torch.load(latest, weights_only=True)["step"] == 4
    assert not list(latest.parent.glob("*.replaced"))


def test_two_processes_do_not_train_one_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i.training.folder.LOCK_SECONDS", 0.1)
    (tmp_path / "checkpoints" / "run").mkdir(parents=True)
    words = [*NETS.split(), *MODELS["cyclegan"].split()]
    with FileLock(tmp_path / "checkpoints" / "run" / ".lock"), pytest.raises(SystemExit) as stop:
        train(tmp_path, "cyclegan", runs / "domains", *words, name="run")
    assert stop.value.code == 2 and "another process is training in" in capsys.readouterr().err
    train(tmp_path, "cyclegan", runs / "domains", *words, name="run")


def test_going_on_from_an_earlier_epoch_puts_the_later_ones_aside(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*NETS.split(), *MODELS["cyclegan"].split(), "--save_epoch_freq", "1", "--n_epochs", "3"]
    train(tmp_path, "cyclegan", runs / "domains", *words, name="run")
    folder = tmp_path / "checkpoints" / "run"
    later = (folder / "epoch_3.pt").read_bytes()
    train(tmp_path, "cyclegan", runs / "domains", "--continue_train", "--epoch", "1", "--n_epochs", "2", name="run")
    first = (folder / "latest.pt.aside").read_bytes()
    assert "*.aside" in caplog.text
    held = {path.name for path in folder.glob("*.pt*")}
    assert held == {"epoch_1.pt", "epoch_2.pt", "latest.pt", "epoch_2.pt.aside", "epoch_3.pt.aside", "latest.pt.aside"}
    assert (folder / "epoch_3.pt.aside").read_bytes() == later
    assert torch.load(folder / "latest.pt", weights_only=True)["step"] == 8
    train(tmp_path, "cyclegan", runs / "domains", "--continue_train", "--epoch", "1", "--n_epochs", "2", name="run")
    assert (folder / "latest.pt.aside").read_bytes() == first and (folder / "latest.pt.aside2").is_file()
    images = [json.loads(line)["images"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert images == sorted(set(images)) and images[-1] == 8


def test_an_unusable_image_stops_training_with_its_name(runs: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(runs / "domains", tmp_path / "data")
    (tmp_path / "data" / "trainB" / "0.png").write_bytes(b"no image")
    words = [*NETS.split(), *MODELS["cyclegan"].split(), "--num_threads", "1"]
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, "cyclegan", tmp_path / "data", *words, name="bad")
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and "trainB/0.png cannot be read" in lines[-1] and "--on_bad_image skip" in lines[-1]


def test_a_folder_that_cannot_be_written_is_named(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(SystemExit) as stop:
        train(tmp_path, "cyclegan", runs / "domains", *NETS.split(), *MODELS["cyclegan"].split())
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and str(tmp_path / "checkpoints") in error
    (tmp_path / "results").write_text("another")
    with pytest.raises(SystemExit) as stop:
        translate(runs, tmp_path / "results", "--name", "cyclegan", "--dataroot", str(runs / "domains"))
    assert stop.value.code == 2 and "results" in capsys.readouterr().err


def test_old_generators_of_the_reference_translate(runs: Path, tmp_path: Path) -> None:
    from i2i.networks.reference_weights import Architecture, build, save_reference

    keywords = {"in_channels": 3, "out_channels": 3, "filters": 4, "norm": "instance", "dropout": False}
    torch.manual_seed(0)
    architecture = Architecture("generator", "resnet_6blocks", keywords)
    network = build(architecture)
    folder = tmp_path / "checkpoints" / "x_pretrained"
    folder.mkdir(parents=True)
    path = save_reference(folder, "latest", "G", network.state_dict(), architecture)
    data = str(runs / "domains" / "testA")
    translate(
        tmp_path, tmp_path / "one", "--model", "test", "--no_dropout", "--name", "x_pretrained", "--dataroot", data
    )
    words = ["--model", "cyclegan", "--reference_weights", str(path), "--dataroot", data, "--preprocess", "none"]
    translate(tmp_path, tmp_path / "two", *words)
    one = tmp_path / "one" / "x_pretrained" / "test_latest" / "images"
    two = tmp_path / "two" / "experiment_name" / "test_latest" / "images"
    assert files(one) == [f"{i}_{label}.png" for i in range(3) for label in ("fake", "real")]
    assert files(two) == [f"{i}_{label}.png" for i in range(3) for label in ("fake_B", "real_A")]
    image = torch.from_numpy(pixels(one / "0_real.png")).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = ((network.eval()(image.float())[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(pixels(one / "0_fake.png") - expected).max() <= 1
    assert (pixels(one / "0_fake.png") == pixels(two / "0_fake_B.png")).all()
