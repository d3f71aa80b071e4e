"""The optimisers of a model's players, and their learning rates."""

from __future__ import annotations

import inspect

import torch

from i2i.models.base import GanModel
from i2i.training.config import TrainConfig

Optimizers = dict[str, torch.optim.Optimizer]  # by player


class Adam(torch.optim.Adam):
    """torch's Adam without the decorators that import torch's compiler, which takes a second; no step is compiled."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


def build_optimizers(model: GanModel, config: TrainConfig, device: torch.device) -> Optimizers:
    """An Adam for every player of a model on `device`."""
    betas, fused = (config.beta1, config.beta2), config.fuses_adam(device)
    rates = {name: config.learning_rate(name, 0) for name in model.players}
    return {n: Adam(p.parameters(), rates[n], betas, fused=fused) for n, p in model.players.items()}


def set_learning_rates(optimizers: Optimizers, config: TrainConfig, epoch: int, factor: float = 1.0) -> None:
    """Give every optimiser its player's learning rate after so many finished epochs, times `factor`."""
    for player, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate(player, epoch) * factor
