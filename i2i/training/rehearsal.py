"""A step without consequences, in which compiled networks are compiled: what fails there has cost nothing."""

from __future__ import annotations

import copy
import dataclasses
import logging
from typing import TYPE_CHECKING

import torch

from i2i.acceleration import mark_step, uncompile
from i2i.data import Batch
from i2i.random_state import isolated

if TYPE_CHECKING:
    from i2i.training.trainer import Trainer

log = logging.getLogger(__name__)


def rehearse(trainer: Trainer, samples: Batch) -> None:
    """Run the phases of a step forwards and backwards on `samples`; weights, pools and random states are put back.

    If that fails the networks are uncompiled, with a warning: whatever a compiler trips over, training goes on.
    """
    batch = _resized(samples, trainer.stream.batch_size)
    kept, watched = copy.deepcopy(trainer.model.state_dict()), trainer.monitor.state_dict()
    log.info("compiling the generators, which takes about a minute")
    try:
        with isolated(trainer.stream.device):
            for _ in range(3 if trainer.acceleration.compile == "reduce-overhead" else 1):
                _run_phases(trainer, batch)
    except Exception as error:
        uncompile(trainer.generators)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        log.warning("compiling failed, training goes on without: %s", reason)
    finally:
        trainer.model.load_state_dict(kept)
        trainer.monitor.load_state_dict(watched, None)
        for optimizer in trainer.optimizers.values():
            optimizer.zero_grad()


def _run_phases(trainer: Trainer, batch: Batch) -> None:
    # CUDA graphs are warmed up in the first of these, recorded in the second, and run in the third.
    mark_step(trainer.acceleration)
    parts = [trainer.model.training_step(lambda: batch, trainer.step)]
    while trainer.run_phase(parts, {}) is not None:
        pass
    for optimizer in trainer.optimizers.values():
        optimizer.zero_grad()


def _resized(batch: Batch, size: int) -> Batch:
    """The batch with so many rows, its own again and again: compiled code is for one size."""
    rows = torch.arange(size) % len(batch)
    tensors = {name: value[rows.to(value.device)] for name, value in batch.tensors().items()}
    return dataclasses.replace(batch, **tensors)  # type: ignore[arg-type]
