"""Options of training."""

from __future__ import annotations

import dataclasses

import torch

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.training.schedules import POLICIES

FUSED = ("auto", "on", "off")
ON_NAN = ("stop", "skip", "rollback")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how to train, and what to keep of it. Frequencies count images."""

    n_epochs: int = option(100, "epochs at the full learning rate")
    n_epochs_decay: int = option(100, "epochs over which it goes down to 0 (policy linear)")
    lr: float = option(0.0002, "learning rate of Adam")
    lr_D: float | None = option(None, "the discriminators', if it is another one")
    beta1: float = option(0.5, "Adam's first momentum")
    beta2: float = option(0.999, "Adam's second momentum")
    lr_policy: str = option("linear", "how the learning rate changes", choices=tuple(POLICIES))
    lr_decay_iters: int = option(50, "epochs between the drops of policy step")
    plateau_loss: str | None = option(
        None, "loss whose epoch mean policy plateau watches (default: --best_metric, or without one the model's)"
    )
    accumulate: int = option(1, "batches whose gradients are averaged before a step, in the memory of one")
    fused_adam: str = option("auto", "Adam in one pass over the weights; auto: on the CPU and on CUDA", choices=FUSED)
    checkpoint_activations: bool = option(False, "compute activations again instead of keeping them: less memory")
    clip_grad: float | None = option(None, "largest norm of a player's gradient")
    ema: float | None = option(None, "decay of a moving average of the generator's weights, such as 0.999")
    on_nan: str = option(
        "stop",
        "where a loss or a gradient is not finite: stop, skip such steps (which copies weights and moments each step), "
        "or rollback to the last save at half the learning rate",
        choices=ON_NAN,
    )
    doctor: bool = option(True, "look for what goes wrong, and say it")
    deterministic: bool = option(False, "only algorithms that give the same bits every time, on CUDA too")
    print_freq: int = option(100, "images between the lines of the log")
    display_freq: int = option(400, "images between sample pictures")
    save_latest_freq: int = option(5000, "images between saves of latest.pt, which is saved every 10 minutes too")
    save_epoch_freq: int = option(5, "epochs between the checkpoints epoch_<N>.pt")
    keep_checkpoints: int = option(5, "how many of those are kept, the newest")
    continue_train: bool = option(False, "go on from latest.pt; options come from there unless given anew")
    overwrite: bool = option(False, "start anew in a folder that holds a run, whose checkpoints are deleted")

    def __post_init__(self) -> None:
        check_choice("lr_policy", self.lr_policy, tuple(POLICIES))
        check_choice("fused_adam", self.fused_adam, FUSED)
        check_choice("on_nan", self.on_nan, ON_NAN)
        positive = ("accumulate", "lr_decay_iters", "print_freq", "display_freq", "save_latest_freq", "save_epoch_freq")
        for name in positive:
            check_range(name, getattr(self, name), 1)
        for name in ("n_epochs", "n_epochs_decay", "keep_checkpoints"):
            check_range(name, getattr(self, name), 0)
        for name in ("lr", "lr_D"):
            check_range(name, getattr(self, name), 0, 1e6)
        for name in ("beta1", "beta2", "ema"):
            check_range(name, getattr(self, name), 0, 0.999999)
        check_range("clip_grad", self.clip_grad, 1e-12)
        if self.epochs < 1:
            raise UserError("--n_epochs 0 --n_epochs_decay 0: there is nothing to train")
        if self.continue_train and self.overwrite:
            raise UserError("--continue_train goes on with a run and --overwrite deletes it; give one of them")

    def learning_rate(self, player: str, epoch: int) -> float:
        """The learning rate of a player after so many finished epochs; `lr_D` is that of the player "discriminator"."""
        base = self.lr_D if player == "discriminator" and self.lr_D is not None else self.lr
        return base * POLICIES[self.lr_policy](epoch, self.n_epochs, self.n_epochs_decay, self.lr_decay_iters)

    def fuses_adam(self, device: torch.device) -> bool:
        """Whether Adam is fused on `device`."""
        return self.fused_adam == "on" or (self.fused_adam == "auto" and device.type in ("cpu", "cuda"))

    @property
    def epochs(self) -> int:
        """All epochs."""
        return self.n_epochs + self.n_epochs_decay
