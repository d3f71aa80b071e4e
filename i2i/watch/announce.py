"""The lines that train.py prints before it trains."""

from __future__ import annotations

from collections.abc import Sequence

from i2i.training import Trainer
from i2i.watch.validation.observer import ValidationObserver


def describe_run(trainer: Trainer, model_name: str, notes: Sequence[str] = (), verbose: bool = False) -> None:
    """Print what is about to be trained, how, and where the results will be."""
    device, config = trainer.stream.device, trainer.config
    if verbose:
        print(trainer.model)
    for name, player in trainer.model.players.items():
        print(f"{name}: {sum(p.numel() for p in player.parameters()) / 1e6:.3f} M parameters")
    for note in notes:
        print(note)
    fused = "on" if config.fuses_adam(device) else "off"
    why = "auto: on CPU and CUDA" if config.fused_adam == "auto" else "by option"
    print(*trainer.acceleration.lines(), f"fused_adam {fused} ({why})", sep="\n")
    if config.checkpoint_activations:
        print("checkpoint_activations on (by option)")
    for observer in trainer.observers:
        if isinstance(observer, ValidationObserver) and (plan := observer.plan(trainer.total)):
            print(plan)
    epochs = f"{config.epochs} epochs of {len(trainer.stream)} images"
    print(f"{model_name} on {device}, {epochs}, into {trainer.saver.folder}, see report.html there", flush=True)
