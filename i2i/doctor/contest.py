"""A discriminator that has won, from which a generator has nothing to learn, or that has died and knows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from i2i.doctor.record import Sign
from i2i.models.game import GameState
from i2i.visuals.board import Finding

# Healthy pix2pix runs on a few hundred pairs spend long stretches at a separation of 0.95 and a tenth of the loss.
WON_SEPARATION, WON_LOSS = 0.99, 0.02
CHANCE, CHANCE_LOSS = 0.01, 0.97  # distance from a separation of 0.5; relative loss
CONSTANT, CONSTANT_CRITIC = 1e-3, 1e-7  # of logits whose targets lie about 1 apart; of critics, which have no scale
NAMES = {"game": "The discriminator", "game_a": "The discriminator of A", "game_b": "The discriminator of B"}


def contest_signs(games: Mapping[str, GameState]) -> list[Sign]:
    """Whether any discriminator has won or died; critics of Wasserstein objectives are meant to tell all apart."""
    signs = []
    for name, state in games.items():
        who = NAMES.get(name, f"The discriminator of {name}")
        signs += [_won(name, who, state), _died(name, who, state)]
    return signs


def contest_figures(games: Mapping[str, GameState]) -> dict[str, float]:
    """What the signs go by, for the log."""
    figures: dict[str, float] = {}
    for name, state in games.items():
        end = name.removeprefix("game")
        figures |= {f"separation{end}": state.separation, f"spread{end}": state.spread}
        if state.relative_loss is not None:
            figures[f"relative_loss{end}"] = state.relative_loss
    return figures


def _won(name: str, who: str, state: GameState) -> Sign:
    loss = math.inf if state.relative_loss is None else state.relative_loss
    present = state.separation > WON_SEPARATION and loss < WON_LOSS
    message = (
        f"{who} has won: it tells {state.separation:.1%} of generated from real, at {loss:.1%} of the loss of a guess, "
        "so that the generator hardly learns from it."
    )
    advice = (
        "Try --lr_D at a tenth of --lr, --instance_noise 0.1, --label_smoothing 0.1 (vanilla, lsgan), "
        "--spectral_norm D, --lambda_r1 1, or --diffaugment color translation cutout for few images."
    )
    return Sign(name, present, Finding("discriminator_won", "alarm", state.separation, message, advice))


def _died(name: str, who: str, state: GameState) -> Sign:
    has_scale = state.relative_loss is not None
    if state.spread < (CONSTANT if has_scale else CONSTANT_CRITIC):
        message = f"{who} has died: it answers the same to every image (its logits spread by {state.spread:.2g})."
        advice = "Start anew with a lower --lr_D, another --seed or --init_type, or --precision fp32 if it is a half."
        return Sign(name, True, Finding("discriminator_died", "alarm", state.spread, message, advice))
    at_chance = abs(state.separation - 0.5) < CHANCE and (
        state.relative_loss is None or state.relative_loss > CHANCE_LOSS
    )
    message = (
        f"{who} tells generated from real images no better than chance (separation {state.separation:.3f}, 0.5 is "
        "chance): unless they look real, it has died and the generator learns nothing from it."
    )
    advice = (
        "Look at the samples; if they are bad, try a higher --lr_D, --d_steps 2, less --instance_noise, another --seed."
    )
    return Sign(name, at_chance, Finding("discriminator_died", "warning", state.separation, message, advice))
