"""Acceleration: what auto chooses, and that layouts, kernels and compiling change nothing but the speed."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i import process
from i2i.acceleration import AccelerationConfig, Choices, Work, accelerate, autocast, choose
from i2i.acceleration import apply as applied
from i2i.acceleration import choices as rules
from i2i.config import tokens_from
from i2i.data import Batch
from i2i.models import GanModel
from i2i.networks import CLASS_GENERATORS, GENERATORS, build_generator
from i2i.process import prepare_process
from i2i.training import TrainConfig, Trainer
from i2i.watch.announce import describe_run
from options.train_options import TrainOptions
from tests import tiny
from tests.test_resume import same

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))
TRAINING = Work(True, 100_000, 1, (256, 256))
TRANSLATION = Work(False, 100, 1, (256, 256))
LAID_OUT = Choices(channels_last=True)


def network(name: str) -> nn.Module:
    if name in GENERATORS:
        return build_generator(name, in_channels=3, out_channels=3, filters=2)
    return CLASS_GENERATORS[name](num_classes=2, image_size=28, channels=1, noise_dim=4, filters=2, norm="none")


def chosen(device: torch.device, work: Work = TRAINING, generator: str = "resnet_9blocks", **options: str) -> Choices:
    return choose(AccelerationConfig(**options), device, work, [network(generator)])


# --- What auto chooses.


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether this machine has what torch.compile needs."""

    def there(answer: bool) -> None:
        monkeypatch.setattr(rules, "find_spec", lambda name: answer or None)
        monkeypatch.setattr(rules.shutil, "which", lambda name: name if answer else None)

    there(True)
    return there


@pytest.mark.parametrize(("device", "precision"), [(CPU, "fp32"), (MPS, "fp32"), (CUDA, "tf32")])
def test_precision_is_what_torch_takes_unless_asked(device: torch.device, precision: str) -> None:
    assert chosen(device).precision == precision
    assert chosen(device, precision="bf16").precision == "bf16"
    assert chosen(device, precision="fp32").precision == "fp32"


@pytest.mark.parametrize(
    ("device", "generator", "options", "on"),
    [
        (CPU, "resnet_9blocks", {}, True),
        (CPU, "unet_256", {}, True),
        (CPU, "unet_256", {"precision": "bf16"}, True),
        (CPU, "unet_256", {"channels_last": "on"}, True),
        (CPU, "resnet_9blocks", {"channels_last": "off"}, False),
        (CPU, "mlp", {}, False),
        (CUDA, "unet_256", {}, True),
        (CUDA, "unet_256", {"precision": "fp32"}, False),
        (MPS, "resnet_9blocks", {}, False),
    ],
)
def test_channels_last_goes_by_device_and_precision(
    device: torch.device, generator: str, options: dict[str, str], on: bool
) -> None:
    assert chosen(device, generator=generator, **options).channels_last is on


def test_small_images_stay_as_they_are() -> None:
    assert not chosen(CPU, TRAINING._replace(image_size=(28, 28))).channels_last
    assert chosen(CPU, TRAINING._replace(image_size=None)).channels_last  # of many sizes


@pytest.mark.parametrize(
    ("device", "work", "asked", "mode"),
    [
        (CPU, TRAINING, "auto", "off"),
        (CPU, TRAINING, "on", "default"),
        (CUDA, TRAINING, "auto", "reduce-overhead"),
        (CUDA, TRAINING._replace(batch_size=16), "auto", "default"),
        (CUDA, TRAINING._replace(batch_size=64), "auto", "off"),  # 1562 steps
        (CUDA, TRAINING._replace(image_size=None), "auto", "off"),
        (CUDA, TRAINING._replace(image_size=None), "on", "default"),
        (CUDA, TRAINING, "off", "off"),
        (CUDA, TRANSLATION, "auto", "off"),
        (CUDA, TRANSLATION, "reduce-overhead", "reduce-overhead"),
        (CUDA, TRANSLATION._replace(images=20_000, batch_size=16), "auto", "default"),
        (MPS, TRAINING, "auto", "off"),
    ],
)
def test_compiling_has_to_pay(
    compilers: Callable[[bool], None], device: torch.device, work: Work, asked: str, mode: str
) -> None:
    assert chosen(device, work, compile=asked).compile == mode


def test_nothing_is_compiled_without_a_compiler(compilers: Callable[[bool], None]) -> None:
    compilers(False)
    assert chosen(CUDA).compile == "off" and "triton is not installed" in chosen(CUDA).reasons["compile"]
    with pytest.raises(ValueError, match="--compile on.*--compile off"):
        chosen(CPU, compile="on")


def test_what_a_device_cannot_do_is_refused() -> None:
    for precision in ("fp16", "tf32"):
        with pytest.raises(ValueError, match=f"--precision {precision}.*cpu"):
            chosen(CPU, precision=precision)
        assert chosen(CUDA, precision=precision).precision == precision
    with pytest.raises(ValueError, match="--compile reduce-overhead"):
        chosen(CPU, compile="reduce-overhead")
    for field in dataclasses.fields(AccelerationConfig):
        with pytest.raises(ValueError, match=f"--{field.name} 'x'.*auto"):
            AccelerationConfig(**{field.name: "x"})


def test_algorithms_are_tried_out_for_a_single_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(CUDA).cudnn_benchmark
    assert not chosen(CUDA, TRAINING._replace(image_size=None)).cudnn_benchmark
    assert "cudnn_benchmark" not in chosen(CPU).reasons
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert not chosen(CUDA).cudnn_benchmark


def test_memory_is_kept_where_there_is_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(process, "keep_freed_memory", lambda: calls.append(None))
    for system, asked, keeps in (("linux", "auto", 1), ("win32", "auto", 0), ("linux", "off", 0), ("linux", "on", 1)):
        monkeypatch.setattr(rules.sys, "platform", system)
        prepare_process(chosen(CPU, keep_memory=asked), CPU)
        assert (len(calls), system, asked) == (keeps, system, asked)
        calls.clear()


def test_every_choice_is_a_line_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    lines = chosen(CPU, precision="bf16", keep_memory="off").lines()
    assert lines[0] == "precision bf16 (by option)"
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "channels_last on",
        "compile off",
        "kernels auto",
        "keep_memory off",
    ]
    assert all("(auto: " in line or "(by option)" in line for line in lines)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert "no bf16 units" in chosen(CPU, precision="bf16").lines()[0]
    assert Choices().lines() == []


# --- The options of a run.


def described(options: TrainOptions, capsys: pytest.CaptureFixture[str]) -> list[str]:
    choices = choose(options.acceleration, CPU, TRAINING, tiny.pix2pix().networks())
    describe_run(Trainer(model := tiny.pix2pix(), tiny.RandomStream(model), options.train, acceleration=choices), "x")  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_flags_become_choices_which_a_run_prints(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--precision", "bf16", "--channels_last", "off", "--kernels", "plain", "--keep_memory", "off"]
    options = TrainOptions([*words, "--fused_adam", "off", "--compile", "off"])
    choices = choose(options.acceleration, CPU, TRAINING, tiny.pix2pix().networks())
    assert dataclasses.replace(choices, reasons={}) == Choices("bf16", False, "off", "plain", False)
    lines = described(options, capsys)
    for line in ("channels_last off", "compile off", "kernels plain", "keep_memory off", "fused_adam off"):
        assert f"{line} (by option)" in lines
    assert any(line.startswith("fused_adam on (auto") for line in described(TrainOptions([]), capsys))


def test_all_images_have_one_size_only_where_they_are_cropped() -> None:
    sizes = {
        mode: TrainOptions(["--preprocess", mode]).crop_size for mode in ("resize_and_crop", "none", "scale_width")
    }
    assert sizes == {"resize_and_crop": (256, 256), "none": None, "scale_width": None}


def test_on_and_off_may_be_said_bare(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("channels_last: on\nkeep_memory: off\ncompile: 'off'\n")
    config = TrainOptions(["--options", str(file), "--fused_adam"]).acceleration
    assert config == AccelerationConfig(channels_last="on", keep_memory="off", compile="off")
    assert TrainOptions(["--no-channels_last", "--no_compile"]).acceleration.channels_last == "off"


def test_a_run_stores_what_was_asked_for_and_decides_anew_where_it_goes_on() -> None:
    stored = TrainOptions(["--precision", "bf16"]).saved()
    assert [stored[name] for name in ("precision", "channels_last", "compile")] == ["bf16", "auto", "auto"]
    older = tokens_from({"precision": "fp32", "lr": 0.1})  # of a run from before there was more to choose
    assert TrainOptions(older).acceleration == AccelerationConfig(precision="fp32")


# --- What is set for the whole process.


@pytest.fixture
def cuda_flags() -> Iterator[Callable[[], tuple[bool, bool, bool]]]:
    """Reads the flags, and puts them back at the end."""
    owners = ((torch.backends.cudnn, "allow_tf32"), (torch.backends.cuda.matmul, "allow_tf32"))
    owners = (*owners, (torch.backends.cudnn, "benchmark"))
    before = [getattr(*owner) for owner in owners]
    yield lambda: tuple(getattr(*owner) for owner in owners)  # type: ignore[return-value]
    for (owner, name), value in zip(owners, before, strict=True):
        setattr(owner, name, value)


def test_fp32_on_cuda_is_fp32(cuda_flags: Callable[[], tuple[bool, bool, bool]]) -> None:
    prepare_process(chosen(CUDA, precision="fp32"), CUDA)
    assert cuda_flags() == (False, False, True)
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision != "tf32"
    prepare_process(chosen(CUDA, TRAINING._replace(image_size=None)), CUDA)
    assert cuda_flags() == (True, False, False)
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_other_devices_leave_the_settings_of_cuda_alone(cuda_flags: Callable[[], tuple[bool, bool, bool]]) -> None:
    before = cuda_flags()
    prepare_process(chosen(CPU), CPU)
    assert cuda_flags() == before


def test_autocast_is_for_half_precision() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(Choices(precision), CPU):
            assert torch.nn.functional.linear(torch.zeros(2, 2), torch.zeros(2, 2)).dtype == dtype


def test_kernels_are_told_what_was_chosen() -> None:
    layers = nn.Sequential(nn.Identity(), nn.Linear(1, 1))
    layers[0].kernels = "auto"  # type: ignore[assignment]
    accelerate([layers], Choices(kernels="plain"), CPU)
    assert layers[0].kernels == "plain" and not hasattr(layers[1], "kernels")


# --- The same training, faster.


def gradients(model: GanModel, choices: Choices) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The losses of a step and the gradients of all its phases, without an update."""
    trainer = tiny.trainer(model, acceleration=choices)
    losses: dict[str, list[Tensor]] = {}
    torch.manual_seed(1)
    batch = trainer.stream()
    parts = [model.training_step(lambda: batch, 0)]
    while trainer._run_phase(parts, losses) is not None:
        pass
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value for name, (value,) in losses.items()}, gradients


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_layout_changes_rounding_alone(name: str) -> None:
    torch.manual_seed(0)
    options = {} if name == "cgan" else {"norm": "instance", "discriminator": "n_layers", "n_layers_D": 1}
    plain = tiny.MODELS[name](**options)
    laid_out = copy.deepcopy(plain)
    seen: list[bool] = []
    for module in laid_out.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(
                lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
            )
    (losses, expected), (close, got) = gradients(plain, Choices()), gradients(laid_out, LAID_OUT)
    assert seen and all(seen)
    assert {p.is_contiguous() for p in laid_out.parameters()} == {True}
    torch.testing.assert_close(close, losses)
    assert got.keys() == expected.keys()
    largest = max(value.abs().max() for value in expected.values())
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-5 * largest.item(), msg=key)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_half_precision_is_close(name: str) -> None:
    torch.manual_seed(0)
    plain = tiny.MODELS[name]()
    half = copy.deepcopy(plain)
    expected, got = gradients(plain, Choices())[0], gradients(half, Choices("bf16", channels_last=True))[0]
    assert {key: value.item() for key, value in got.items()} == pytest.approx(
        {key: value.item() for key, value in expected.items()}, rel=0.05, abs=0.01
    )


@pytest.mark.parametrize("choices", [LAID_OUT, Choices("bf16", channels_last=True)], ids=lambda c: c.precision)
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_resumed_run_ends_in_the_bits_of_a_straight_one(name: str, choices: Choices) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(0)
        return tiny.trainer(tiny.MODELS[name](), acceleration=choices, ema=0.9)

    straight, stopped, resumed = trainer(), trainer(), trainer()
    torch.manual_seed(1)
    for _ in range(4):
        straight.train_step()
    expected = straight.state_dict()
    torch.manual_seed(1)
    for _ in range(2):
        stopped.train_step()
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    for _ in range(2):
        resumed.train_step()
    got = resumed.state_dict()
    assert not [key for key in expected if not same(expected[key], got[key])]
    assert got["model"].keys() == tiny.MODELS[name]().state_dict().keys()


def test_moments_follow_the_layout_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights_after_resuming(laid_out: bool) -> dict[str, Any]:
        def laid_out_as_on_cuda(network: nn.Module, device: torch.device) -> None:
            network.to(memory_format=torch.channels_last)

        torch.manual_seed(0)
        with monkeypatch.context() as patched:
            patched.setattr(applied, "_lay_out", laid_out_as_on_cuda)
            trainer = tiny.trainer(tiny.pix2pix(), acceleration=Choices(channels_last=laid_out))
        for _ in range(3):
            trainer.train_step()
        resumed = tiny.trainer(tiny.pix2pix())
        resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
        resumed.train_step()
        return resumed.model.state_dict()

    plain, moved = weights_after_resuming(False), weights_after_resuming(True)
    for name, value in plain.items():
        torch.testing.assert_close(moved[name], value, rtol=0, atol=2e-5, msg=name)


def test_adam_is_fused_where_asked_for_and_a_checkpoint_of_either_goes_on() -> None:
    def trainer(fused: str) -> Trainer:
        torch.manual_seed(0)
        return tiny.trainer(tiny.pix2pix(dropout=False), fused_adam=fused)

    def fused(trainer: Trainer) -> set[bool]:
        return {bool(group["fused"]) for o in trainer.players.optimizers.values() for group in o.param_groups}

    trainers = {asked: trainer(asked) for asked in ("on", "off", "auto")}
    assert {asked: fused(trainer) for asked, trainer in trainers.items()} == {
        "on": {True},
        "off": {False},
        "auto": {True},
    }
    for one in trainers.values():
        one.train_step()
    saved = copy.deepcopy(trainers["on"].state_dict())
    trainers["off"].load_state_dict(saved)
    assert fused(trainers["off"]) == {False}
    for one in trainers.values():
        one.train_step()
    for expected, got in zip(trainers["on"].model.parameters(), trainers["off"].model.parameters(), strict=True):
        torch.testing.assert_close(got, expected)
    assert not TrainConfig().fuses_adam(MPS)


# --- Compiling.


class Failing:
    """What torch.compile gives where the compiler fails."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any) -> None:
        raise RuntimeError("g++ fell over\nwith many words")


def test_where_compiling_fails_training_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", Failing)
    weights = []
    for choices in (Choices(), Choices(compile="default")):
        torch.manual_seed(0)
        model = tiny.pix2pix(num_downs=6)
        samples = tiny.RandomStream(model)()
        trainer = tiny.trainer(model, acceleration=choices, samples=samples, n_epochs=1, n_epochs_decay=0)
        assert trainer.fit()
        weights.append(model.state_dict())
    assert same(*weights)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "g++ fell over" in warnings[0]


def test_compiled_generators_learn_the_same_under_the_same_names() -> None:
    """In double precision, as a few steps of Adam turn rounding into steps of the learning rate."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++")
    import torch._dynamo.utils

    torch._dynamo.utils.counters.clear()
    models = []
    for mode in ("off", "default"):
        torch.manual_seed(0)
        model = tiny.pix2pix(num_downs=2, dropout=False, norm="instance", gan_mode="wgangp").double()
        samples = tiny.RandomStream(model, 3)()  # of another size than the batches: shown as they come, not compiled
        choices = Choices(compile=mode, channels_last=True)
        tiny.trainer(
            model, acceleration=choices, samples=samples, display_freq=2, n_epochs=1, n_epochs_decay=0, ema=0.9
        ).fit()
        models.append(model)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # the layout of the input, and the network
    plain, compiled = models
    assert compiled.generator._compiled_call_impl is not None and compiled.discriminator._compiled_call_impl is None
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    for expected, got in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-7)


# --- Nothing waits for the device.


class DeviceStream(tiny.RandomStream):
    """Batches on another device, as a stream gives them."""

    def __init__(self, model: GanModel, device: torch.device) -> None:
        super().__init__(model)
        self.device = device

    def __call__(self) -> Batch:
        return super().__call__().to(self.device)


@pytest.mark.parametrize("gan_mode", ["lsgan", "wgan", "wgangp"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_step_looks_at_no_number(name: str, gan_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On tensors without data, where all that waits for a GPU raises; but fp16 scales by looking."""
    meta = torch.device("meta")
    for looks in (torch.Tensor.item, torch.Tensor.cpu, torch.Tensor.tolist, torch.nonzero):
        with pytest.raises((RuntimeError, NotImplementedError)):
            looks(torch.zeros((), device=meta))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # which knows no such device
    options = {"pool_size": 3} if name == "cyclegan" else {}
    model = tiny.MODELS[name](gan_mode=gan_mode, **options).to(meta)
    config = TrainConfig(ema=0.9, clip_grad=1.0, accumulate=2, fused_adam="off")  # there is no fused one for these
    trainer = Trainer(model, DeviceStream(model, meta), config, acceleration=LAID_OUT)  # type: ignore[arg-type]
    for _ in range(3):
        trainer.train_step()
    with pytest.raises(NotImplementedError):
        trainer.history.means()  # which is when the numbers come over


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("choices", [Choices(), Choices("bf16", channels_last=True)], ids=lambda c: c.precision)
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_step_does_not_wait_for_the_gpu(
    name: str, choices: Choices, cuda_flags: Callable[[], tuple[bool, bool, bool]]
) -> None:
    model = tiny.MODELS[name]().to(CUDA)
    config = TrainConfig(ema=0.9, clip_grad=1.0)
    trainer = Trainer(model, DeviceStream(model, CUDA), config, acceleration=choices)  # type: ignore[arg-type]
    trainer.train_step()  # the first one makes room
    batch = trainer.stream()
    trainer.model.training_step = lambda _, step, take=model.training_step: take(lambda: batch, step)  # type: ignore[method-assign]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainer.train_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_cuda_graphs_learn_the_same(cuda_flags: Callable[[], tuple[bool, bool, bool]]) -> None:
    losses = []
    for mode in ("off", "reduce-overhead"):
        torch.manual_seed(0)
        model = tiny.cyclegan(pool_size=2).to(CUDA)
        stream: Any = DeviceStream(model, CUDA)
        trainer = Trainer(model, stream, TrainConfig(), acceleration=Choices(compile=mode))
        for _ in range(6):
            trainer.train_step()
        generators = trainer.players.generators
        assert mode == "off" or all(network._compiled_call_impl is not None for network in generators)
        losses.append(trainer.history.means())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
