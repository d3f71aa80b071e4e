"""Memory: activations computed twice, what a step will take, and what is said where there is not enough."""

import copy
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.acceleration import Choices, apply
from i2i.acceleration.checkpointing import checkpoint_activations
from i2i.models import GanModel
from i2i.random_state import random_states
from i2i.training import Trainer, checkpoint, memory
from i2i.training.memory import LiveBytes, announce_memory, estimate, free_bytes, is_out_of_memory
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests import tiny

UNET = {"generator": "unet", "num_downs": 3, "num_blocks": None, "discriminator": "n_layers", "n_layers_D": 1}
BF16 = Choices(precision="bf16")


def trainer_of(name: str, options: dict[str, Any], **train: Any) -> Trainer:
    """A trainer of a tiny model, with samples; the same for the same arguments but for `checkpoint_activations`."""
    torch.manual_seed(0)
    model = tiny.MODELS[name](**options)
    return tiny.trainer(model, samples=tiny.RandomStream(model)(), **train)


def tensors(model: GanModel) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("acceleration", [Choices(), BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pix2pix", {"norm": "batch", "dropout": True}),
        ("pix2pix", {"norm": "instance", "discriminator": "n_layers", "n_layers_D": 1, "gan_mode": "wgangp"}),
        ("cyclegan", {"norm": "batch", "dropout": True}),
        ("cyclegan", UNET),
        ("cgan", {"norm": "batch"}),
        ("cgan", {"generator": "mlp", "discriminator": "mlp", "gan_mode": "wgangp"}),
    ],
)
def test_what_is_computed_twice_is_the_same_to_the_bit(name: str, options: dict, acceleration: Choices) -> None:
    weights = []
    for checkpointed in (False, True):
        trainer = trainer_of(name, options, acceleration=acceleration, checkpoint_activations=checkpointed)
        for _ in range(3):
            trainer.train_step()
        weights.append(tensors(trainer.model))
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():  # running statistics and their counts are among them
        assert torch.equal(value, weights[1][key]), key


class ChangesItsInput(nn.Module):
    """A layer that begins by changing what it is given, which is not the same done twice."""

    def __init__(self) -> None:
        super().__init__()
        activation = nn.Sequential(nn.Identity(), nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Sequential(activation, nn.Linear(4, 4))])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_layer_that_changes_its_input_is_computed_from_what_it_was() -> None:
    torch.manual_seed(0)
    plain, x = ChangesItsInput(), torch.randn(8, 4)
    checkpointed = copy.deepcopy(plain)
    checkpoint_activations([checkpointed])
    for network in (plain, checkpointed):
        network(x).square().sum().backward()
    for one, other in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_layers_run_twice_with_a_gradient_and_once_without() -> None:
    model = tiny.cyclegan()
    network, calls = model.generator_a_to_b, []
    checkpoint_activations([network])
    network.blocks[0].conv1.register_forward_hook(lambda *_: calls.append(1))
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        network(image)
    assert len(calls) == 1
    network(image).sum().backward()
    assert len(calls) == 3


def test_a_copy_of_a_checkpointed_network_has_weights_of_its_own() -> None:
    torch.manual_seed(0)
    network, image = tiny.cyclegan().generator_a_to_b, torch.rand(1, 3, 16, 16)
    checkpoint_activations([network])
    before = network(image)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(other(image), torch.zeros_like(before))
    assert torch.equal(network(image), before)


def test_a_compiled_network_is_refused_in_one_line() -> None:
    network = tiny.pix2pix().generator
    network.compile(backend="eager")
    with pytest.raises(ValueError, match=r"^--checkpoint_activations .*--compile off"):
        checkpoint_activations([network])


def test_live_bytes_count_memory_once_and_only_while_it_lives() -> None:
    kept = torch.zeros(25)
    with LiveBytes() as live:
        live.show({"weights": [kept, kept[:5]]})
        assert live.now == 100
        made = torch.ones(1000)
        view = made.view(10, 100)[1:]
        assert live.now == 4100
        del made
        assert live.now == 4100
        del view
        assert (live.now, live.peak) == (100, 4100)
        made = kept * 2
        made.add_(1)
        assert (live.now, live.peak) == (200, 4100)


def measured(trainer: Trainer) -> int:
    """The peak of a real step, once pools, moments and averages are there."""
    pools = [pool for pool in trainer.model.modules() if isinstance(pool, memory.ReplayPool)]
    for _ in range(2):
        trainer.train_step()
    moments = [optimizer.state_dict() for optimizer in trainer.optimizers.values()]
    averages = trainer.ema.shadow if trainer.ema is not None else {}
    with LiveBytes() as live:
        live.show([*trainer.model.parameters(), *trainer.model.buffers(), averages, moments, [p.images for p in pools]])
        trainer.train_step()
    return live.peak


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize(
    "train",
    [
        {},
        {"acceleration": BF16, "checkpoint_activations": True},
        {"acceleration": Choices(channels_last=True), "checkpoint_activations": True},
        {"accumulate": 2, "ema": 0.9},
        {"accumulate": 4},
    ],
    ids=["plain", "bf16", "channels_last", "accumulated", "much accumulated"],
)
def test_the_estimate_is_what_a_step_takes(name: str, train: dict) -> None:
    options = {"pool_size": 0} if name == "cyclegan" else {}
    trainer = trainer_of(name, options, **train)
    # Of many batches the first ones may have their peak elsewhere, and what the second adds is then too much.
    assert estimate(trainer) == pytest.approx(measured(trainer), rel=0.1 if train.get("accumulate", 0) > 2 else 0.01)


@pytest.mark.parametrize("gan_mode", ["wgan", "wgangp"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_the_estimate_covers_clipped_weights_and_double_backward(name: str, gan_mode: str) -> None:
    options = {"gan_mode": gan_mode} | ({"pool_size": 0} if name == "cyclegan" else {})
    trainer = trainer_of(name, options, clip_grad=1.0)
    assert estimate(trainer) == pytest.approx(measured(trainer), rel=0.03)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_there_is_an_estimate_for_weights_that_are_laid_out_as_on_cuda(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def laid_out_as_on_cuda(network: nn.Module, device: torch.device) -> None:
        network.to(memory_format=torch.channels_last)

    monkeypatch.setattr(apply, "_lay_out", laid_out_as_on_cuda)
    assert estimate(trainer_of(name, {}, acceleration=Choices(channels_last=True)))


def test_an_estimate_counts_what_the_pools_will_hold() -> None:
    small, large = (estimate(trainer_of("cyclegan", {"pool_size": size})) for size in (10, 50))
    image = 3 * tiny.SIZE * tiny.SIZE * 4
    assert small is not None and large is not None
    assert large - small == 2 * 40 * image


def test_an_estimate_leaves_everything_as_it_was() -> None:
    states = []
    for estimated in (True, False):
        trainer = trainer_of("cyclegan", {"norm": "batch", "dropout": True}, ema=0.9, checkpoint_activations=True)
        before = random_states(trainer.stream.device)
        if estimated:
            assert estimate(trainer)
        after = random_states(trainer.stream.device)
        assert torch.equal(before["torch"], after["torch"]) and before["python"] == after["python"]
        assert (trainer.step, trainer.images, trainer.model.pool_a.images) == (0, 0, [])
        trainer.train_step()
        states.append(tensors(trainer.model))
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_less_lives_where_less_is_kept_or_in_half_precision() -> None:
    def peak(acceleration: Choices, **train: Any) -> int:
        size = estimate(trainer_of("cyclegan", {"num_blocks": 3}, acceleration=acceleration, batch_size=64, **train))
        assert size is not None
        return size

    plain = peak(Choices())
    assert peak(Choices(), checkpoint_activations=True) < 0.6 * plain
    assert peak(BF16) < 0.7 * plain


def test_what_cannot_be_run_without_content_has_no_estimate_and_trains(caplog: pytest.LogCaptureFixture) -> None:
    trainer = trainer_of("pix2pix", {})
    trainer.model.generator.register_forward_hook(lambda network, inputs, output: output + output[output > 2].sum())
    with caplog.at_level(logging.INFO):
        assert estimate(trainer) is None
        announce_memory(trainer)
    assert not caplog.messages
    trainer.train_step()


def test_the_memory_of_a_run_is_announced_with_a_warning_if_there_is_less(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of("pix2pix", {})
    need, said = estimate(trainer), []
    assert need is not None
    there = sum(tensor.nbytes for tensor in (*trainer.model.parameters(), *trainer.model.buffers()))
    for free in (need - there, need - there - 1, None):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        with caplog.at_level(logging.INFO):
            announce_memory(trainer)
        said.append([(record.levelname, record.message) for record in caplog.records])
        caplog.clear()
    takes = f"a step takes about {memory.shown_size(need)} of memory beside the program itself"
    assert said[0] == [("INFO", f"{takes}; {memory.shown_size(need)} are free on cpu")]
    assert [level for level, _ in said[1]] == ["INFO", "WARNING"]
    for flag in ("--checkpoint_activations", "--precision bf16", "--batch_size", "--crop_size"):
        assert flag in said[1][1][1]
    assert said[2] == [("INFO", takes)]


def write_group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_control_groups_limit_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    own = tmp_path / "own"
    usage = {"memory.current": "700", "memory.stat": "anon 5\ninactive_file 100\n"}
    write_group(tmp_path / "jobs" / "a", usage | {"memory.max": "1000\n"})
    write_group(tmp_path / "jobs", usage | {"memory.max": "max\n"})
    own.write_text("0::/jobs/a\n")
    assert list(memory._left_in_groups(own)) == [400]

    usage = {"memory.usage_in_bytes": "600", "memory.stat": "inactive_file 1\ntotal_inactive_file 50\n"}
    write_group(tmp_path / "memory", usage | {"memory.limit_in_bytes": "2000"})
    own.write_text("5:devices:/x\n4:memory:/not/seen/from/in/here\n")
    assert list(memory._left_in_groups(own)) == [1450]
    assert list(memory._left_in_groups(tmp_path / "none")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_free_memory_is_part_of_what_the_machine_has() -> None:
    free = free_bytes(torch.device("cpu"))
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert free is not None and 0 < free < total


def refusal() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    return caught.value


OUT_OF_MEMORY: dict[str, Callable[[], BaseException]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
    "cpu": refusal,
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "c++": lambda: RuntimeError("std::bad_alloc"),
    "python": lambda: MemoryError(),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_a_refusal_of_memory_is_recognised(kind: str) -> None:
    assert is_out_of_memory(OUT_OF_MEMORY[kind]())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def raised(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_training_without_memory_ends_in_a_line_that_says_what_helps(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--dataroot", "data", "--name", "run", "--checkpoints_dir", str(tmp_path), "--batch_size", "7"]
    options, error = TrainOptions(words), OUT_OF_MEMORY[kind]()
    with pytest.raises(SystemExit) as ended:
        options.one_line(lambda: raised(error))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and said.startswith("train.py: error: out of memory")
    for word in ("a batch of 7", "--checkpoint_activations", "--precision bf16", "a smaller --crop_size"):
        assert word in said
    assert "nothing was saved" in said and "--continue_train" not in said

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "latest.pt").touch()
    with pytest.raises(SystemExit):
        options.one_line(lambda: raised(error))
    said = capsys.readouterr().err
    assert str(tmp_path / "run" / "latest.pt") in said and f"--checkpoints_dir {tmp_path} --continue_train" in said

    verbose = TrainOptions([*words, "--verbose"])
    with pytest.raises(SystemExit) as ended:
        verbose.one_line(lambda: raised(error))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("Traceback") and type(error).__name__ in said


def test_translation_without_memory_ends_in_a_line_that_says_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trainer = trainer_of("cyclegan", {})
    places = ["--dataroot", "data", "--name", "run", "--checkpoints_dir", str(tmp_path)]
    trained = TrainOptions(places)
    (tmp_path / "run").mkdir()
    checkpoint.save(trainer.state_dict() | {"options": trained.saved()}, tmp_path / "run" / "latest.pt")
    options = TestOptions([*places, "--batch_size", "3"])
    with pytest.raises(SystemExit) as ended:
        options.one_line(lambda: raised(OUT_OF_MEMORY["cpu"]()))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and said.startswith("test.py: error: out of memory")
    for flag in ("--batch_size 3", "--precision bf16", "--load_size"):
        assert flag in said
