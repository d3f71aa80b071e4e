"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

Parameters = Iterable[nn.Parameter]


def adam(parameters: Parameters, lr: float, beta1: float, beta2: float, weight_decay: float, fused: bool) -> Optimizer:
    """Build Adam (Kingma & Ba 2015, arXiv 1412.6980)."""
    return Adam(parameters, lr, (beta1, beta2), weight_decay=weight_decay, fused=fused)


def adamw(parameters: Parameters, lr: float, beta1: float, beta2: float, weight_decay: float, fused: bool) -> Optimizer:
    """Build AdamW, which decays the weights apart from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return AdamW(parameters, lr, (beta1, beta2), weight_decay=weight_decay, fused=fused)


def rmsprop(
    parameters: Parameters, lr: float, beta1: float, beta2: float, weight_decay: float, fused: bool
) -> Optimizer:
    """Build RMSprop without momentum, as WGAN uses it (Arjovsky et al. 2017, arXiv 1701.07875, algorithm 1)."""
    return RMSprop(parameters, lr, weight_decay=weight_decay)


def sgd(parameters: Parameters, lr: float, beta1: float, beta2: float, weight_decay: float, fused: bool) -> Optimizer:
    """Build stochastic gradient descent with momentum `beta1`."""
    return SGD(parameters, lr, momentum=beta1, weight_decay=weight_decay)


# (parameters, lr, beta1, beta2, weight_decay, fused); an optimiser ignores what it does not have
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
