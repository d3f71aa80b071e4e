"""One column of train_step.py: a training step of one case, done one way, in this process.

`python benchmarks/steps.py CASE COLUMN DEVICE` waits on stdin for requests, see `turns.Column`.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import textbook
import torch
from torch import Tensor, nn
from turns import answer_requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.acceleration import AccelerationConfig, Work, choose
from i2i.data import Batch, DataSpec
from i2i.models import MODELS, build_model
from i2i.process import keep_freed_memory, prepare_process
from i2i.run import resolve_device, seed_everything
from i2i.training import TrainConfig, Trainer


class Case(NamedTuple):
    """What is trained."""

    model: str
    generator: str
    size: int
    batch_size: int


CASES = {
    "cyclegan_256": Case("cyclegan", "resnet_9blocks", 256, 1),
    "cyclegan_128": Case("cyclegan", "resnet_6blocks", 128, 4),
    "pix2pix_256": Case("pix2pix", "unet_256", 256, 1),
    "pix2pix_128": Case("pix2pix", "unet_128", 128, 8),
    "cgan_28": Case("cgan", "dcgan", 28, 128),
}
LONG = 10**6  # images of a run for which every preparation pays
# What the words of a column's name, which are joined by +, say to i2i.
ACCELERATION = {
    **{precision: {"precision": precision} for precision in ("auto", "fp32", "tf32", "bf16", "fp16")},
    "compile": {"compile": "on"},
    "eager": {"compile": "off"},
    "nhwc": {"channels_last": "on"},
    "nchw": {"channels_last": "off"},
    "plain": {"kernels": "plain"},
}
Step = Callable[[], Any]


class SameBatch:
    """A stream that gives one batch for ever: data loading is measured by data.py."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.position, self.waited = batch, 0, 0.0
        self.device = batch.image("b").device

    def __len__(self) -> int:
        return LONG

    def __call__(self) -> Batch:
        self.position += len(self.batch)
        return self.batch


def noise(case: Case, device: torch.device) -> Batch:
    """A batch of the case's size."""
    shape = (case.batch_size, 1 if case.model == "cgan" else 3, case.size, case.size)
    a, b = (torch.rand(shape, device=device) * 2 - 1 for _ in range(2))
    if case.model == "cgan":
        return Batch(b=b, label=torch.arange(case.batch_size, device=device) % 10)
    return Batch(a=a, b=b)


def textbook_model(case: Case) -> Any:
    """The baseline's model."""
    if case.model == "cgan":
        return textbook.DigitGAN()
    make = {"cyclegan": textbook.CycleGAN, "pix2pix": textbook.Pix2Pix}[case.model]
    return make(textbook.GENERATORS[case.generator])


def inputs(case: Case, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
    """What the baseline's step takes."""
    return (batch.b, batch.label) if case.model == "cgan" else (batch.a, batch.b)


def textbook_step(case: Case, words: set[str], device: torch.device) -> Step:
    """The baseline's training step."""
    model, batch = textbook_model(case), noise(case, device)
    for network in model.networks.values():
        network.to(device)
        if "compile" in words:
            network.compile()
    model.start()
    return lambda: model.step(*inputs(case, batch))


def i2i_step(case: Case, words: set[str], device: torch.device) -> Step:
    """The training step as train.py sets it up for a long run."""
    spec = DataSpec()
    if case.model == "cgan":
        spec = DataSpec(3, 1, (case.size, case.size), tuple("0123456789"))
    model = build_model(case.model, MODELS[case.model].Config(generator=case.generator), spec).to(device)
    asked = {name: value for word in words for name, value in ACCELERATION.get(word, {}).items()}
    work = Work(True, LONG, case.batch_size, (case.size, case.size))
    networks = [network for player in model.players.values() for network in player.modules]
    choices = choose(AccelerationConfig(**asked), device, work, networks)
    prepare_process(choices, device)  # as train.py does
    config = TrainConfig(checkpoint_activations="checkpoint" in words)
    trainer = Trainer(model, SameBatch(noise(case, device)), config, acceleration=choices)  # type: ignore[arg-type]
    model.train()
    return trainer.train_step


def ceiling(precision: str, device: torch.device) -> tuple[Step, float]:
    """A convolution that comes near what the machine can do, 3x3 of 256 channels at 64x64, and its operations."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    convolution = nn.Conv2d(256, 256, 3, padding=1, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    images = torch.rand(32 if device.type == "cuda" else 1, 256, 64, 64, device=device, dtype=dtype)
    images = images.to(memory_format=torch.channels_last)
    return torch.no_grad()(lambda: convolution(images)), operations(convolution.__call__, images)


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """The floating-point operations of a call, a multiplication and an addition being two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops()


def step_operations(case: Case) -> float:
    """The floating-point operations of one step of the algorithm, as the baseline does it, without doing it."""
    meta = torch.device("meta")
    with meta:
        model = textbook_model(case)
    model.start()
    return operations(model.step, *inputs(case, noise(case, meta)))


class Measured:
    """A step and how it is measured."""

    def __init__(self, step: Step, flops: float, device: torch.device) -> None:
        self.step, self.flops, self.device = step, flops, device

    def seconds(self, steps: int) -> float:
        """The time of one step, as the mean of so many."""
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._wait()
        return (time.perf_counter() - start) / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def warm_up(self, least: int) -> float:
        """Do at least so many steps, and more of fast ones; gives the time of the last."""
        start, steps = time.perf_counter(), 0
        while steps < least or (steps < 10 and time.perf_counter() - start < 3):
            seconds, steps = self.seconds(1), steps + 1
        return seconds

    def answer(self, request: dict[str, Any]) -> Any:
        """What is asked for: {"warm_up": at least so many steps}, {"steps": N}, or {"profile": true}."""
        if "profile" in request:
            from profiling import profile_step

            return profile_step(self.step, self.device.type)
        if "warm_up" in request:
            return {"seconds": self.warm_up(request["warm_up"]), "flops": self.flops}
        return {"seconds": self.seconds(request["steps"]), "memory": peak_memory(self.device)}


def peak_memory(device: torch.device) -> float:
    """The most bytes that this process has held on the device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def column(case_name: str, name: str, device: torch.device) -> Measured:
    """What one column measures: a case done one way, or `ceiling` of a precision."""
    seed_everything(0)
    if case_name == "ceiling":
        return Measured(*ceiling(name, device), device)
    case, words = CASES[case_name], set(name.split("+"))
    make = textbook_step if "textbook" in words else i2i_step
    if make is i2i_step:
        keep_freed_memory()  # as train.py does, ahead of all tensors
    return Measured(make(case, words, device), step_operations(case), device)


if __name__ == "__main__":
    case_name, name, device_name = sys.argv[1:]
    try:
        answer_requests(column(case_name, name, resolve_device(device_name)).answer)
    except ValueError as error:
        raise SystemExit(f"{case_name} {name}: {error}") from None
