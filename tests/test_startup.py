"""Starts: nothing is imported, drawn or read that is not used, and what is loaded is the same for it."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import train
from i2i.models import GanModel, build_model
from i2i.networks import GENERATORS, INITIALIZATIONS, UPSAMPLINGS, initialize, reference_weights
from i2i.random_state import SkipInit
from i2i.training import checkpoint
from i2i.translate.translator import Translator, load_model
from tests import tiny
from tests.test_imports import HEAVY, ROOT

COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
DRAWING = {"normal_", "uniform_", "random_", "bernoulli_", "randn", "rand", "linalg_qr", "native_dropout"}


class Recorded(TorchDispatchMode):
    """The names of the operations that are run within."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


def imported(code: str, names: set[str]) -> str:
    """Which modules of `names` a fresh process has imported after `code`."""
    code = f"import sys\n{code}\nprint(sorted({names!r} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def state_of(model: GanModel, name: str, **options: Any) -> dict[str, Any]:
    """What a checkpoint of a run of the tiny `model` holds, with averages unlike its weights."""
    trainer = tiny.trainer(model, ema=0.5)
    trainer.train_step()
    trainer.options = {"model": name} | {field: getattr(model.config, field) for field in vars(model.config)} | options
    return copy.deepcopy(trainer.state_dict())


def test_translating_imports_no_compiler() -> None:
    code = """
import torch
from i2i.data import Batch
from tests import tiny
tiny.pix2pix().translate(Batch(a=torch.zeros(1, 3, 16, 16)))
"""
    assert imported(code, COMPILER) == "[]"


@pytest.mark.parametrize("program", ["train", "test"])
def test_help_imports_nothing_heavy(program: str) -> None:
    code = f"""
import runpy
sys.argv = ["{program}.py", "--help"]
try:
    runpy.run_path("{program}.py", run_name="__main__")
except SystemExit as end:
    assert not end.code
"""
    assert imported(code, HEAVY) == "[]"


@pytest.mark.parametrize("init_type", INITIALIZATIONS)
@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_networks_are_built_without_drawing_anything(init_type: str, upsample: str) -> None:
    before = torch.get_rng_state()
    with SkipInit(), Recorded() as operations:
        network = GENERATORS["unet_64"](in_channels=3, out_channels=3, filters=2, norm="batch", upsample=upsample)
        initialize(network, init_type)
    assert not operations.names & DRAWING
    assert torch.equal(torch.get_rng_state(), before)
    with Recorded() as drawn:
        initialize(network, init_type)
    assert drawn.names & DRAWING  # or the names are not those that torch uses


def test_constants_are_made_all_the_same() -> None:
    class Blur(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(1, 1, 3)
            self.register_buffer("kernel", torch.full((3, 3), 1 / 9), persistent=False)
            self.scales = torch.linspace(0, 1, 3)

    with SkipInit():
        blur, norm = Blur(), nn.BatchNorm2d(2)
    assert torch.equal(blur.kernel, torch.full((3, 3), 1 / 9)) and torch.equal(blur.scales, torch.linspace(0, 1, 3))
    assert torch.equal(norm.weight, torch.ones(2)) and torch.equal(norm.running_var, torch.ones(2))


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_model_is_loaded_without_drawing_and_is_the_same(name: str, ema: bool) -> None:
    torch.manual_seed(0)
    model = tiny.MODELS[name]()
    state = state_of(model, name)
    expected = state["model"] | (state["ema"]["weights"] if ema else {})
    before = torch.get_rng_state()
    with Recorded() as operations:
        loaded = load_model(state, ema=ema)
    assert not operations.names & DRAWING
    assert torch.equal(torch.get_rng_state(), before)
    got = loaded.state_dict()
    assert got.keys() == expected.keys()
    tensors = [key for key in got if isinstance(got[key], torch.Tensor)]
    assert len(tensors) > 10 and all(torch.equal(got[key], expected[key]) for key in tensors)
    for key, value in loaded.named_parameters():
        assert value.dtype == torch.float32 and value.requires_grad and value.is_contiguous()
        assert value.data_ptr() != expected[key].data_ptr()


def test_a_generator_of_the_reference_is_loaded_without_drawing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = reference_weights.Architecture(
        "generator", "resnet_6blocks", dict(in_channels=3, out_channels=3, filters=2, norm="instance", dropout=False)
    )
    weights = reference_weights.build(architecture).state_dict()
    path = reference_weights.save_reference(tmp_path, "latest", "G", weights, architecture)
    before = torch.get_rng_state()
    with Recorded() as operations:
        translator = Translator.from_reference(path, device="cpu")
    assert not operations.names & DRAWING - {"uniform_"}  # on tensors without memory, to learn the shapes
    assert torch.equal(torch.get_rng_state(), before)
    got = translator.model.get_submodule("generator").state_dict()
    assert all(torch.equal(got[key], weights[key]) for key in weights)


def test_a_continued_run_draws_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--model", "pix2pix", "--netG", "unet", "--num_downs", "2", "--ngf", "2", "--ndf", "2", "--netD", "pixel"]
    words += ["--dataroot", str(tiny.write_pairs(tmp_path / "data", 2)), "--crop_size", "16", "--load_size", "16"]
    words += ["--checkpoints_dir", str(tmp_path), "--name", "run", "--n_epochs_decay", "0", "--num_threads", "0"]
    drawn = []

    def build(*arguments: Any, **keywords: Any) -> GanModel:
        with Recorded() as operations:
            model = build_model(*arguments, **keywords)
        drawn.append(bool(operations.names & DRAWING))
        return model

    monkeypatch.setattr(train, "build_model", build)
    for more in (["--n_epochs", "1"], ["--n_epochs", "2", "--continue_train"]):
        assert train.main([*words, *more]) == 0
    assert drawn == [True, False]
    assert checkpoint.load(tmp_path / "run" / "latest.pt")["images"] == 4


def test_a_mapped_checkpoint_is_read_where_it_is_used(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "latest.pt"
    checkpoint.save(state_of(tiny.pix2pix(), "pix2pix"), path)
    whole, state = checkpoint.load(path), checkpoint.load(path, mapped=True)
    model = load_model(state, ema=False)
    path.write_bytes(bytes(path.stat().st_size))  # the same file: nobody replaces a checkpoint like that
    moments = [state["optimizers"]["generator"]["state"][0]["exp_avg"] for state in (whole, state)]
    assert moments[0].any()
    assert not moments[1].any()  # read only now
    for key, value in model.named_parameters():
        assert torch.equal(value, whole["model"][key])  # in memory of its own


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", [{"layer.weight": torch.zeros(1)}, {"format": 99}, {"format": 1, "step": 1}, None])
def test_a_file_that_cannot_be_mapped_is_refused_as_any_other(content: Any, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    if content is None:
        path.write_bytes(b"PK\x03\x04 and more" if zipped else b"")
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    complaints = []
    for mapped in (True, False):
        with pytest.raises(ValueError) as caught:
            checkpoint.load(path, mapped=mapped)
        complaints.append(str(caught.value))
    assert complaints[0] == complaints[1]
