"""All that training depends on, as tensors and plain values, and back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from i2i.errors import UserError
from i2i.random_state import random_states, restore_random_states

if TYPE_CHECKING:
    from i2i.training.trainer import Trainer

log = logging.getLogger(__name__)


def collect(trainer: Trainer) -> dict[str, Any]:
    """The content of a checkpoint."""
    return {
        "options": trainer.options,
        "spec": trainer.model.spec.as_dict(),
        "data": trainer.seen,
        "model": trainer.model.state_dict(),
        "ema": trainer.ema.state_dict() if trainer.ema is not None else None,
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainer.optimizers.items()},
        "rates": {name: trainer.config.learning_rate(name, 0) for name in trainer.optimizers},
        "plateau": trainer.plateau.state_dict() if trainer.plateau is not None else None,
        "history": trainer.history.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "monitor": trainer.monitor.state_dict(),
        "validation": trainer.monitor.validation_state(),
        "rollbacks": trainer.rollbacks,
        "skipped": trainer.skipping.state_dict() if trainer.skipping is not None else None,
        "random": random_states(trainer.stream.device),
        "step": trainer.step,
        "images": trainer.images,
        "epoch_length": len(trainer.stream),
    }


def restore(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Put back what `collect` gave; what the trainer's own config says anew wins.

    Raises:
        ValueError: if the checkpoint is of another architecture or of other classes.
    """
    classes, now = tuple(saved["spec"]["classes"]), trainer.model.spec.classes
    if classes != now:
        raise UserError(f"the checkpoint knows the classes {', '.join(classes)}, the data has {', '.join(now)}")
    restore_networks(trainer, saved)
    trainer.rollbacks = saved.get("rollbacks", 0)
    if trainer.skipping is not None and saved.get("skipped"):
        trainer.skipping.load_state_dict(saved["skipped"])
    validation = saved.get("validation")
    if validation is not None and "data" not in saved:  # an older version's, whose distances were of images in [0, 1]
        validation = _doubled_distances(validation)
        if trainer.plateau is not None and trainer.plateau.watched in ("l1", "cycle"):
            for scheduler in trainer.plateau.schedulers.values():
                scheduler.best *= 2
    trainer.monitor.load_state_dict(saved.get("monitor", {}), validation)
    trainer.history.load_state_dict(saved["history"])
    trainer.step = saved["step"]
    trainer.stream.seek(_position(saved["images"], saved["epoch_length"], len(trainer.stream)))
    restore_random_states(saved["random"], trainer.stream.device)


def restore_networks(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Put back the networks and what moves them, and nothing else.

    Raises:
        ValueError: if the checkpoint is of another architecture.
    """
    trainer.model.load_checkpoint(saved["model"], saved["options"] | saved["spec"])
    if trainer.ema is not None:
        if saved["ema"] is None:
            trainer.ema = trainer.new_average()  # from the loaded weights
        else:
            trainer.ema.load_state_dict(saved["ema"])
    _restore_optimizers(trainer, saved)
    if saved["scaler"]:
        trainer.scaler.load_state_dict(saved["scaler"])


def _restore_optimizers(trainer: Trainer, saved: dict[str, Any]) -> None:
    fused = trainer.config.fuses_adam(trainer.stream.device)
    for name, optimizer in trainer.optimizers.items():
        stored = saved["optimizers"][name]
        groups = [group | {"fused": fused} for group in stored["param_groups"]]  # said before: moments lie accordingly
        optimizer.load_state_dict(stored | {"param_groups": groups})
        _lay_out_moments(optimizer)
        for group in optimizer.param_groups:
            group["betas"] = (trainer.config.beta1, trainer.config.beta2)
            if saved["rates"][name]:  # under plateau the current rate is only known from the optimiser
                group["lr"] *= trainer.config.learning_rate(name, 0) / saved["rates"][name]
    if trainer.plateau is not None and saved.get("plateau"):
        trainer.plateau.load_state_dict(saved["plateau"])


def _lay_out_moments(optimizer: torch.optim.Optimizer) -> None:
    # Fused kernels take the moments to lie in memory as the weights do, which may be in another way than they did.
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _doubled_distances(validation: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the best validation, with l1 and cycle as of images in [-1, 1]."""

    def doubled(name: str, value: float | None) -> float | None:
        return 2 * value if value is not None and name.startswith(("l1", "cycle")) else value

    own = {name: doubled(validation["metric"], validation[name]) for name in ("best", "mark")}
    figures = {name: doubled(name, value) for name, value in validation["figures"].items()}
    best = {name: doubled(name, value) for name, value in validation["best_figures"].items()}
    return validation | own | {"figures": figures, "best_figures": best}


def _position(images: int, old_length: int, new_length: int) -> int:
    """The place in a data set whose size has changed: the same number of epochs is done."""
    if old_length == new_length:
        return images
    log.warning("an epoch had %d images and has %d now; going on as far into the epochs", old_length, new_length)
    return images * new_length // old_length
