"""Learning-rate policies: the factor on the learning rate, as a function of the finished epochs."""

import math
from collections.abc import Callable

Policy = Callable[[int, int, int, int], float]  # epoch, n_epochs, n_epochs_decay, lr_decay_iters


def linear(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """1 for `n_epochs`, then straight down towards 0, which the last epoch does not reach (the reference's rule)."""
    return 1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)


def step(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """A tenth after every `lr_decay_iters` epochs."""
    return 0.1 ** (epoch // lr_decay_iters)


def cosine(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """Half a cosine over all epochs (Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * epoch / (n_epochs + n_epochs_decay)))


def constant(epoch: int, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int) -> float:
    """1 throughout; `plateau` multiplies it by what torch's ReduceLROnPlateau says."""
    return 1.0


POLICIES: dict[str, Policy] = {
    "linear": linear,
    "step": step,
    "plateau": constant,
    "cosine": cosine,
    "constant": constant,
}
