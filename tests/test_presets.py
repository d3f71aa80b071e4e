"""Every preset parses, takes effect, and builds a model that fits its images."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from i2i.data import DataSpec
from i2i.models import MODELS, build_model
from options.base_options import PRESETS, presets
from options.train_options import TrainOptions
from tests import tiny

DIGITS = tuple("0123456789")
FAMILY = {name: name for name in ("mlp", "dcgan", "biggan", "stylegan")} | {"wgan_gp": "dcgan", "sngan": "resnet"}


@pytest.fixture(params=presets())
def preset(request: pytest.FixtureRequest) -> str:
    return request.param


def written(preset: str) -> dict[str, object]:
    return yaml.safe_load((PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"))


def test_the_usual_recipes_are_there() -> None:
    recipes = {"pix2pix_facades", "pix2pix_maps", "pix2pix_edges2shoes", "cyclegan_horse2zebra", "cyclegan_small"}
    digits = {"digits", *(f"digits_{name}" for name in FAMILY)}
    assert recipes | digits | {"shapes_cyclegan", "shapes_pix2pix"} <= set(presets())


def test_a_preset_takes_effect(preset: str) -> None:
    options = TrainOptions(["--options", preset]).as_dict()
    for name, value in written(preset).items():
        assert options[name] == ([value, value] if name in ("load_size", "crop_size") else value)


def test_a_preset_builds_a_model_for_its_images(preset: str) -> None:
    options = TrainOptions(["--options", preset])
    data = options.data
    classes = DIGITS if data.dataset_mode == "classes" else ()
    width, height = data.crop_size
    spec = DataSpec(data.in_channels, data.out_channels, (width, height), classes)
    # Shapes without the arithmetic, but of small networks it takes less time than torch does without it.
    with torch.device("cpu" if classes else "meta"):
        model = build_model(options.model_name, options.model, spec)
        generator = model.players["generator"].modules[0]
        if classes:
            image = generator(torch.empty(2, options.model.noise_dim), torch.zeros(2, dtype=torch.long))
        else:
            image = generator(torch.empty(2, data.in_channels, height, width))
    assert isinstance(model, MODELS[options.model_name])
    assert image.shape == (2, data.out_channels, height, width)


@pytest.mark.parametrize("name", FAMILY)
def test_the_presets_for_digits_train_their_networks_on_grey_digits(name: str) -> None:
    options = TrainOptions(["--options", f"digits_{name}"])
    assert (options.model.generator, options.model.chosen_discriminator) == (FAMILY[name], FAMILY[name])
    assert options.data.crop_size == (28, 28) and not options.data.flip and not options.model.unconditional
    torch.manual_seed(0)
    model = build_model("cgan", options.model, DataSpec(3, 1, (28, 28), DIGITS))
    before = {key: value.clone() for key, value in model.named_parameters()}
    trainer = tiny.trainer(model, batch_size=4, epoch=100)
    for _ in range(2):  # attention, for one, is multiplied by 0 until the second step
        trainer.train_step()
    still = {key for key, value in model.named_parameters() if torch.equal(value, before[key])}
    assert still <= {"discriminator.head.bias"}  # which a critic's two losses take to and fro
    assert all(math.isfinite(loss) for loss in trainer.history.means().values())


def test_runs_of_different_presets_have_different_folders() -> None:
    names = [TrainOptions(["--options", name]).run.name for name in presets()]
    assert len(set(names)) == len(names)


def test_a_preset_says_what_it_is_for(preset: str) -> None:
    text = (PRESETS / f"{preset}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ") and len(text.splitlines()) < 25


def test_a_file_of_the_same_name_goes_before_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").write_text("model: pix2pix\n")
    assert TrainOptions(["--options", "digits"]).model_name == "cgan"
    monkeypatch.chdir(tmp_path)
    assert TrainOptions(["--options", "digits"]).model_name == "pix2pix"
