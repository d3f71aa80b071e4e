"""How much memory a training step takes, before it takes it; and what to say when there is not enough."""

from __future__ import annotations

import copy
import dataclasses
import logging
import re
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from i2i.data import Batch
from i2i.data.cache import shown_size
from i2i.losses import ReplayPool
from i2i.training.recovery import Skipping, Undo

if TYPE_CHECKING:
    from i2i.training.monitor import Monitor
    from i2i.training.trainer import Trainer

log = logging.getLogger(__name__)

WAYS_OUT = "--checkpoint_activations, --precision bf16, a smaller --batch_size and a smaller --crop_size take less"
# What CUDA, cuDNN, torch on the CPU (on Linux, on Windows), and the C++ library say.
REFUSALS = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory", "bad_alloc")
GROUPS = Path("/sys/fs/cgroup")


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations in here make, and of those that it is shown, while they live.

    `peak` is the largest sum so far. What a kernel needs for itself while it runs is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._living: dict[int, weakref.ref] = {}

    def show(self, values: Any) -> None:
        """Count the tensors in nested containers, each piece of memory once."""
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in self._living:
                self._add(value.untyped_storage())

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def gone(_: weakref.ref) -> None:
            del self._living[key]
            self.now -= size

        self._living[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **kwargs or {})
        self.show(results)
        return results


class _Rehearsal(LiveBytes):
    """The same for tensors without content: what would depend on a value takes it for 1."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1  # and not 0, by which Adam would divide
        return super().__torch_dispatch__(func, types, args, kwargs)


class _Copying(Skipping):
    """Copies what a step moves, and looks at no value."""

    def begin(self, model: nn.Module, monitor: Monitor) -> None:
        self.bad, self._undo = [], Undo(model)

    def allows(self, *_: Any) -> bool:
        return True


class _Shapes:
    """A stream of batches of which only the shapes are known."""

    def __init__(self, samples: Batch, batch_size: int, device: torch.device) -> None:
        self.samples, self.batch_size, self.device = samples, batch_size, device
        self.position, self.waited = 0, 0.0

    def __len__(self) -> int:
        return self.batch_size

    def __call__(self) -> Batch:
        tensors = {
            name: torch.empty(self.batch_size, *value.shape[1:], dtype=value.dtype, device=value.device)
            for name, value in self.samples.tensors().items()
        }
        return dataclasses.replace(self.samples, **tensors)  # type: ignore[arg-type]


def estimate(trainer: Trainer) -> int | None:
    """The peak of the bytes that live in a training step: weights, moments, averages, pools, gradients, activations.

    The step is run on tensors without content, in a copy; the trainer, its model and all random states stay as they
    are. Not in it: what kernels need while they run, CUDA's own memory, the program itself. None if something in the
    model cannot be run without content. Of a step over many batches three are run: what the third adds, all others do.
    """
    parts = trainer.config.accumulate
    try:
        few = _peak(trainer, min(parts, 2))
        return few if parts <= 2 else few + (parts - 2) * (_peak(trainer, 3) - few)
    except Exception as error:  # whatever a model does that such tensors cannot
        log.debug("no estimate of the memory: %s", error)
        return None


def _peak(trainer: Trainer, parts: int) -> int:
    from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

    assert trainer.monitor.samples is not None
    stream: Any = _Shapes(trainer.monitor.samples, trainer.stream.batch_size, trainer.stream.device)
    fake = FakeTensorMode(allow_non_fake_inputs=True)  # constants that a loss may bring along
    with FakeCopyMode(fake):
        model = copy.deepcopy(trainer.model)
    # The copy is laid out already; a second time it could not be.
    acceleration = dataclasses.replace(trainer.acceleration, channels_last=False, compile="off", keep_memory=False)
    config = dataclasses.replace(
        trainer.config, accumulate=parts, on_nan="stop", doctor=False
    )  # nothing can be looked at
    with fake, _Rehearsal() as live:
        pools = [module for module in model.modules() if isinstance(module, ReplayPool)]
        live.show([*model.parameters(), *model.buffers(), [pool.images for pool in pools]])
        double = type(trainer)(model, stream, config, acceleration=acceleration)
        _make_moments(double.optimizers.values())
        double.skipping = _Copying() if trainer.skipping is not None else None
        double.train_step()
        return live.peak + sum(map(_unfilled, pools))


def _make_moments(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Take a step without a gradient, after which the moments are there as in all steps but the first."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()


def _unfilled(pool: ReplayPool) -> int:
    """The bytes that a pool will still take."""
    return (pool.size - len(pool.images)) * pool.images[0].nbytes if pool.images else 0


def announce_memory(trainer: Trainer) -> None:
    """Log what a step will take and what is free; if that is less, warn and name the options that help."""
    need, free, device = estimate(trainer), free_bytes(trainer.stream.device), trainer.stream.device
    if need is None:
        return
    if free is not None and device.type == "cpu":  # what lies there already is not free, but counted in the need
        free += sum(tensor.nbytes for tensor in (*trainer.model.parameters(), *trainer.model.buffers()))
    there = f"; {shown_size(free)} are free on {device}" if free is not None else ""
    log.info("a step takes about %s of memory beside the program itself%s", shown_size(need), there)
    if free is not None and need > free:
        log.warning("a step may not fit into the memory: %s", WAYS_OUT)


def free_bytes(device: torch.device) -> int | None:
    """What this process can still take of the memory of `device`; None where the system does not tell."""
    if device.type == "cuda":  # what torch holds back is at hand too
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    system = Path("/proc/meminfo")
    if not system.is_file():
        return None
    free = int(re.search(r"MemAvailable:\s+(\d+)", system.read_text())[1]) * 2**10  # type: ignore[index]
    return min([free, *_left_in_groups(Path("/proc/self/cgroup"))])


def _left_in_groups(own: Path) -> Iterator[int]:
    """What the control groups that the file `own` lists leave to this process, in version 2 and in version 1."""
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            yield from _left(GROUPS, place, "memory.max", "memory.current")
        elif controllers == "memory":
            yield from _left(GROUPS / "memory", place, "memory.limit_in_bytes", "memory.usage_in_bytes")


def _left(root: Path, place: str, limit: str, usage: str) -> Iterator[int]:
    inner = root / place.lstrip("/")
    for folder in (inner, *inner.parents):
        if folder.is_relative_to(root) and (folder / limit).is_file():
            most, used = (folder / limit).read_text().strip(), int((folder / usage).read_text())
            files = re.findall(r"^(?:total_)?inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
            if most != "max":  # of what is used, cached files are given back when asked for
                yield int(most) - used + max(map(int, files), default=0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says, in any of the ways there are, that memory was refused."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in REFUSALS)
    )
