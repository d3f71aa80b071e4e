"""The options of training."""

from __future__ import annotations

import dataclasses

import torch

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.training.optimizers import OPTIMIZERS
from i2i.training.schedules import SCHEDULES

FUSED = ("auto", "on", "off")
ON_NAN = ("stop", "skip", "rollback")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Options of training and saving. Frequencies are numbers of images."""

    n_epochs: int = option(100, "epochs at the initial learning rate")
    n_epochs_decay: int = option(100, "epochs over which --lr_policy linear lowers the rate to 0")
    optimizer: str = option("adam", "optimiser of all players", choices=OPTIMIZERS)
    optimizer_D: str | None = option(None, "optimiser of the discriminators, if different", choices=OPTIMIZERS)
    lr: float = option(0.0002, "initial learning rate")
    lr_D: float | None = option(None, "initial learning rate of the discriminators, if different")
    beta1: float = option(0.5, "first momentum of adam and adamw, momentum of sgd")
    beta2: float = option(0.999, "second momentum of adam and adamw")
    weight_decay: float = option(0.0, "weight decay of the optimiser")
    lr_policy: str = option("linear", "learning-rate schedule", choices=SCHEDULES)
    lr_decay_iters: int = option(50, "epochs between the drops of --lr_policy step")
    warmup_steps: int = option(0, "steps over which the learning rate rises linearly from 0")
    plateau_loss: str | None = option(
        None, "loss that --lr_policy plateau follows (default: --best_metric if validated, else the model's choice)"
    )
    accumulate: int = option(1, "batches whose gradients are averaged before each update")
    fused_adam: str = option("auto", "fused kernels for adam and adamw; auto: on CPU and CUDA", choices=FUSED)
    checkpoint_activations: bool = option(False, "recompute activations in the backward pass to save memory")
    clip_grad: float | None = option(None, "clip the gradient norm of each player to this")
    ema: float | None = option(None, "decay of an exponential moving average of the generator's weights, such as 0.999")
    on_nan: str = option(
        "stop",
        "what to do when a loss or gradient is not finite: stop; skip the step (keeps a copy of weights and moments); "
        "rollback to the last save and halve the learning rate",
        choices=ON_NAN,
    )
    doctor: bool = option(True, "look for common training problems and report them")
    deterministic: bool = option(False, "use only deterministic algorithms, on CUDA too")
    print_freq: int = option(100, "images between lines of the log")
    display_freq: int = option(400, "images between sample pictures")
    save_latest_freq: int = option(5000, "images between saves of latest.pt; it is saved every 10 minutes too")
    save_epoch_freq: int = option(5, "epochs between checkpoints epoch_<N>.pt")
    keep_checkpoints: int = option(5, "number of the newest epoch_<N>.pt to keep")
    continue_train: bool = option(False, "continue the run from latest.pt, with its options unless given again")
    overwrite: bool = option(False, "start over in a folder that holds a run; its checkpoints are deleted")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata["choices"] and value is not None:
                check_choice(field.name, value, field.metadata["choices"])
        positive = ("accumulate", "lr_decay_iters", "print_freq", "display_freq", "save_latest_freq", "save_epoch_freq")
        for name in positive:
            check_range(name, getattr(self, name), 1)
        for name in ("n_epochs", "n_epochs_decay", "keep_checkpoints", "warmup_steps", "weight_decay"):
            check_range(name, getattr(self, name), 0)
        for name in ("lr", "lr_D"):
            check_range(name, getattr(self, name), 0, 1e6)
        for name in ("beta1", "beta2", "ema"):
            check_range(name, getattr(self, name), 0, 0.999999)
        check_range("clip_grad", self.clip_grad, 1e-12)
        if self.epochs < 1:
            raise UserError("--n_epochs 0 --n_epochs_decay 0: there is nothing to train")
        if self.continue_train and self.overwrite:
            raise UserError("--continue_train continues a run and --overwrite deletes it; give one of them")

    def optimizer_of(self, player: str) -> str:
        """Return the name of a player's optimiser; `optimizer_D` is that of the player "discriminator"."""
        return self.optimizer_D if player == "discriminator" and self.optimizer_D else self.optimizer

    def base_rate(self, player: str) -> float:
        """Return the initial learning rate of a player, without schedule and warm-up."""
        rate = self.lr_D if player == "discriminator" and self.lr_D is not None else self.lr
        return rate * SCHEDULES[self.lr_policy](0, self.n_epochs, self.n_epochs_decay, self.lr_decay_iters)

    def learning_rate(self, player: str, epoch: int, step: int) -> float:
        """Return the learning rate of a player after `epoch` finished epochs, at `step`, counted from 0."""
        rate = self.lr_D if player == "discriminator" and self.lr_D is not None else self.lr
        factor = SCHEDULES[self.lr_policy](epoch, self.n_epochs, self.n_epochs_decay, self.lr_decay_iters)
        return rate * factor * self.warmup(step)

    def warmup(self, step: int) -> float:
        """Return the factor of the warm-up at `step`, counted from 0."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def fuses_adam(self, device: torch.device) -> bool:
        """Return whether adam and adamw use fused kernels on `device`."""
        return self.fused_adam == "on" or (self.fused_adam == "auto" and device.type in ("cpu", "cuda"))

    @property
    def epochs(self) -> int:
        """The number of all epochs."""
        return self.n_epochs + self.n_epochs_decay
