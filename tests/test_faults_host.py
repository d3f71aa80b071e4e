"""The library leaves the process that it is imported into alone, whatever threads there are; the commands need not."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i.acceleration import eagerly
from i2i.data import Batch
from i2i.metrics.compute import paired_values
from i2i.metrics.extractor import load_extractor
from i2i.metrics.lpips import load_lpips
from i2i.models.pix2pix import Pix2Pix
from i2i.tools.digits import train_classifier
from i2i.tools.digits.labelled import Labelled
from i2i.tools.explore.sampler import Sampler, Seed
from i2i.translate.translator import Translator
from tests import tiny
from tests.test_imports import ROOT

THREADS, TURNS = 8, 3
Work = Callable[[int], Tensor]


def images(number: int, channels: int = 3, size: int = 64) -> Tensor:
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(number)) * 2 - 1


def varied_pix2pix() -> Pix2Pix:
    """A U-Net with dropout and batch norm."""
    torch.manual_seed(0)
    return tiny.pix2pix(num_downs=6, norm="batch", dropout=True, init_gain=0.2)


def draws(count: int) -> Iterator[tuple[float, float, float]]:
    """What a host draws from the generators of its process, from one seed."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    for _ in range(count):
        yield random.random(), float(np.random.random()), torch.rand(()).item()


def together(work: Work, serial: Work | None = None) -> None:
    """`work` of numbers from 0 on: in eight threads at once as in one, while a ninth draws what it would draw alone."""
    expected = [(serial or work)(number) for number in range(THREADS)]
    assert not torch.equal(expected[0], expected[1]), "equal results would prove nothing"
    done, drawn = threading.Event(), list[tuple[float, float, float]]()

    def host() -> None:
        for numbers in draws(10**6):
            drawn.append(numbers)
            if done.is_set():
                break

    ninth = threading.Thread(target=host)
    with ThreadPoolExecutor(THREADS) as pool:
        ninth.start()
        try:
            found = list(pool.map(work, list(range(THREADS)) * TURNS))
        finally:
            done.set()
            ninth.join()
    assert all(torch.equal(one, other) for one, other in zip(found, expected * TURNS, strict=True))
    assert drawn == list(draws(len(drawn)))


# --- Threads, and the random numbers of the process.


@pytest.mark.parametrize("running_statistics", [False, True])
def test_threads_share_a_translator_with_dropout(running_statistics: bool) -> None:
    translate = Translator(varied_pix2pix(), device="cpu", running_statistics=running_statistics)
    together(lambda number: translate(images(number)[0]))  # type: ignore[arg-type, return-value]


def test_two_translators_and_a_model_share_a_network() -> None:
    model = varied_pix2pix()
    ways: list[Work] = [
        Translator(model, device="cpu").translate,  # type: ignore[list-item]
        Translator(model, device="cpu", running_statistics=True).translate,  # type: ignore[list-item]
        lambda batch: model.translate(Batch(a=batch)),  # type: ignore[arg-type]
        lambda batch: model.generator(batch).detach(),  # type: ignore[arg-type, return-value]
    ]
    for way in ways[:2]:
        way(images(0))  # type: ignore[arg-type]  # which lays the weights out for speed
    together(lambda number: ways[number % len(ways)](images(number)))  # type: ignore[arg-type]


def test_a_model_in_training_translates_in_threads_and_goes_on_training() -> None:
    model = varied_pix2pix().train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    together(lambda number: model.translate(Batch(a=images(number)), running_statistics=number % 2 == 0))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("generator", ["dcgan", "stylegan"])
def test_images_of_classes_and_latents(generator: str) -> None:
    torch.manual_seed(0)
    model = tiny.cgan(generator=generator, init_gain=1.0)
    sampler = Sampler(Translator(model, device="cpu"), truncation=0.7)

    def work(number: int) -> Tensor:
        seeds = [Seed(number % 3, number)]
        latents, weights = sampler.latents(seeds), sampler.class_weights(seeds)
        generated = sampler.translator.generate(torch.tensor([number % 3]), number)
        own = model.translate(Batch(label=torch.tensor([number % 3])), seed=number)
        return torch.cat(
            [latents.flatten(), *(x.flatten() for x in (sampler.images(latents, weights), generated, own))]
        )

    together(work)


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for LPIPS that nobody trained, in torchvision's names."""
    from torchvision.models import alexnet

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("alexnet") / "weights.pth"
    torch.save(alexnet().state_dict(), file)
    return file


def test_metrics_and_the_loading_of_their_networks(alexnet: Path, tmp_path: Path) -> None:
    lpips = load_lpips(weights=alexnet)
    script = tmp_path / "features.pt"
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(script))
    extractor = load_extractor(script)

    def work(number: int) -> Tensor:
        fake, real = images(number), images(number + 100)
        load_lpips(weights=alexnet)
        values = paired_values(["l1", "psnr", "ssim", "lpips"], fake, real, lpips)
        features = extractor(((fake + 1) * 127.5).byte()).features
        return torch.cat([*values.values(), features.flatten()])

    together(work)


def test_a_classifier_is_trained_by_numbers_of_its_own() -> None:
    pixels = torch.randint(0, 256, (140, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = Labelled(pixels, torch.arange(140) % 2)
    together(lambda number: train_classifier(data, 2, passes=1, seed=number).head.weight.detach())


# --- Settings of the process.

SPY = """
import ctypes, logging, os, random, signal, sys, warnings
import numpy as np
import torch

calls = []

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name == "mallopt":
            return lambda *arguments: calls.append(arguments)
        return super().__getattr__(name)

ctypes.CDLL = Library
"""

SETTINGS = """
def settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    numpy_state = np.random.get_state()
    return {
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, cudnn.conv.fp32_precision),
        "matmul": (matmul.allow_tf32, matmul.fp32_precision, torch.get_float32_matmul_precision()),
        "mkldnn": (torch.backends.mkldnn.enabled, torch.backends.mkldnn.deterministic),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": (torch.get_default_dtype(), str(torch.get_default_device())),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "stance": str(getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "i2i's loggers": [
            name for name, logger in logging.root.manager.loggerDict.items()
            if name.split(".")[0] in ("i2i", "tifffile") and getattr(logger, "level", 0)
        ],
        "random": (random.getstate(), numpy_state[1].tolist(), numpy_state[2], torch.get_rng_state().tolist()),
        "mallopt": list(calls),
    }

def compare(before, when):
    after = settings()
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert not changed, (when, list(changed), {k: v for k, v in changed.items() if k != "random"})
"""

USE = """
import importlib, tempfile
from pathlib import Path
import cv2  # which has its own folders written into the environment

before = settings()
for path in sorted(Path("i2i").rglob("*.py")):
    importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
compare(before, "imports")

import tifffile, torchmetrics, torchvision
from torchvision.models import alexnet
from i2i.acceleration import AccelerationConfig
from i2i.data import Batch
from i2i.tools.explore.sampler import Sampler, Seed
from i2i.metrics.config import MetricNetworksConfig
from i2i.metrics.suite import MetricSuite
from i2i.translate.translator import Translator
from tests import tiny

folder = Path(tempfile.mkdtemp())
torch.save(alexnet().state_dict(), folder / "alexnet.pth")
torch.jit.script(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())).save(str(folder / "pool.pt"))
pix2pix = [tiny.pix2pix(num_downs=6, norm="batch", dropout=True) for _ in range(2)]
others = [tiny.cyclegan(), tiny.cgan(generator="stylegan")]
images = torch.rand(16, 3, 64, 64) * 2 - 1
tifffile.imwrite(folder / "x.tif", (images[0].permute(1, 2, 0).numpy() * 127 + 128).astype("uint8"))
filters = list(warnings.filters)
before = settings()
for number, model in enumerate((*pix2pix, others[0])):
    translate = Translator(model, "cpu", acceleration=AccelerationConfig(precision="bf16" if number else "auto"))
    translate(images[0]), translate.visuals(images[:2], images[:2]), translate(str(folder / "x.tif"))
pix2pix[0].translate(Batch(a=images))
compare(before, "translating")
sampler = Sampler(Translator(others[1], "cpu"), 0.7)
sampler.images(sampler.latents([Seed(0, 0)]), sampler.class_weights([Seed(0, 0)]))
sampler.translator.generate(torch.tensor([0]), 0)
compare(before, "sampling")
judges = MetricNetworksConfig(lpips_weights=str(folder / "alexnet.pth"), inception=str(folder / "pool.pt"))
judge = MetricSuite(["l1", "psnr", "ssim", "lpips", "kid", "fid"], judges, "cpu", replicates=3, seed=0)
pictures = ((images + 1) * 127.5).byte()
judge.pairs(pictures, pictures.flip(3))
features = judge.features(pictures)
judge.sets(features, judge.features(pictures.flip(3))), judge.floor(features)
compare(before, "judging")
assert warnings.filters == filters
print("untouched")
"""


def python(code: str, folder: Path = ROOT, *words: str) -> str:
    process = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


def test_importing_and_using_the_library_sets_nothing() -> None:
    assert python(SPY + SETTINGS + USE).splitlines()[-1] == "untouched"


COMMAND = """
import runpy
flags = []
torch.cuda.is_available = lambda: False
program, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_path(program, run_name="__main__") if program.endswith(".py") else runpy.run_module(
        program, run_name="__main__", alter_sys=True
    )
except SystemExit as end:
    assert not end.code, end
print("mallopt" if calls else "nothing", torch.backends.cudnn.allow_tf32)
"""


def run_of(root: Path, kind: str = "pix2pix") -> list[str]:
    """The words of a tiny training."""
    words = "--netG unet --num_downs 2 --netD pixel" if kind == "pix2pix" else "--noise_dim 4"
    size = "16" if kind == "pix2pix" else "8"
    data = tiny.write_pairs(root / "data", 4) if kind == "pix2pix" else tiny.write_classes(root / "data", 4)
    places = ["--dataroot", str(data), "--checkpoints_dir", str(root / "runs"), "--name", "run"]
    sizes = ["--load_size", size, "--crop_size", size, "--num_threads", "0", "--ngf", "2", "--ndf", "2"]
    return ["--model", kind, *places, *sizes, *words.split(), *["--n_epochs", "1", "--n_epochs_decay", "0"]]


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_the_commands_set_their_process(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        return python(SPY + COMMAND, ROOT, *words).splitlines()[-1]

    words = run_of(tmp_path)
    assert said("train.py", *words) == "mallopt True"
    assert said("train.py", *words, "--overwrite", "--keep_memory", "off") == "nothing True"
    places = [*words[2:6], "--name", "run", "--device", "cpu", "--phase", "train", "--num_threads", "0"]
    assert said("test.py", *places, "--results_dir", str(tmp_path)) == "mallopt True"
    judged = [*places, "--keep_memory", "off", "--metrics", "l1", "--bootstrap", "0"]
    assert said("test.py", *judged, "--results_dir", str(tmp_path)) == "nothing False", "judged without TF32"
    results = str(tmp_path / "run" / "train_latest" / "images")
    assert said("i2i.evaluate", results, results, "--metrics", "l1", "--bootstrap", "0") == "nothing False"


def test_calls_without_compiling_leave_the_compiler_alone() -> None:
    network = nn.Linear(1, 1)
    network._compiled_call_impl = lambda x: "compiled"
    with pytest.raises(ZeroDivisionError), eagerly([network]):
        assert torch.is_tensor(network(torch.ones(1)))
        raise ZeroDivisionError
    assert network(torch.ones(1)) == "compiled"


def test_a_hook_gets_the_choices_once() -> None:
    translator, found = Translator(tiny.cyclegan(), device="cpu"), list[Any]()
    translator.inference.set_up = lambda choices, device: found.append((choices.precision, device.type))
    for _ in range(2):
        translator.translate(images(0, size=16))
    assert found == [("fp32", "cpu")]
