"""A discriminator that has won, from which a generator has nothing to learn, or that has died and knows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from i2i.models.statistics import DiscriminatorStatistics as GameState
from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign

# Healthy pix2pix runs on a few hundred pairs spend long stretches at a separation of 0.95 and a tenth of the loss.
WON_SEPARATION, WON_LOSS = 0.99, 0.02
TOLD, GUESSING_LOSS = 0.6, 0.97  # separation that no guess reaches; relative loss
CONSTANT, CONSTANT_CRITIC = 1e-3, 1e-7  # of logits whose targets lie about 1 apart; of critics, which have no scale
NAMES = {
    "adversarial": "The discriminator",
    "adversarial_a": "The discriminator of A",
    "adversarial_b": "The discriminator of B",
}


def contest_signs(games: Mapping[str, GameState]) -> list[Sign]:
    """Detect discriminators that have won or died; critics of Wasserstein objectives are meant to tell all apart."""
    return [sign(name, _who(name), state) for name, state in games.items() for sign in (_won, _died)]


class GuessWatch:
    """Remembers how well each discriminator has ever told generated from real images.

    One that could, and cannot any more, has met its match: so good contests end, and those of two sets that are alike
    even begin. Critics and relativistic discriminators are left out, as they have no loss that a guess would have.
    """

    def __init__(self) -> None:
        self.best: dict[str, float] = {}

    def look(self, games: Mapping[str, GameState]) -> list[Sign]:
        """One sign for each discriminator: whether it has done nothing but guess so far."""
        known = {name: state for name, state in games.items() if math.isfinite(state.separation)}
        self.best |= {name: max(state.separation, self.best.get(name, 0.0)) for name, state in known.items()}
        return [_guesses(name, self.best[name], state) for name, state in known.items()]


def contest_figures(games: Mapping[str, GameState]) -> dict[str, float]:
    """Return the figures that the signs are based on, for the log."""
    figures: dict[str, float] = {}
    for name, state in games.items():
        end = name.removeprefix("adversarial")
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
    limit = CONSTANT_CRITIC if state.relative_loss is None else CONSTANT
    message = f"{who} has died: it answers the same to every image (its logits spread by {state.spread:.2g})."
    advice = (
        "Start anew with a lower --lr_D, a lower --lambda_r1 if there is one, another --seed or --init_type, or "
        "--precision fp32 if it is a half."
    )
    finding = Finding("discriminator_died", "alarm", state.spread, message, advice)
    return Sign(name, state.spread < limit, finding)


def _guesses(name: str, best: float, state: GameState) -> Sign:
    loss = 0.0 if state.relative_loss is None else state.relative_loss
    present = best < TOLD and loss > GUESSING_LOSS and state.spread >= CONSTANT
    message = (
        f"{_who(name)} has never told generated from real images much better than a guess (at best {best:.0%}, where a "
        f"guess has 50%; now at {loss:.0%} of the loss of a guess): the generator hardly learns from it."
    )
    advice = "Try a higher --lr_D, --d_steps 2, less --instance_noise or --lambda_r1, or another --seed."
    return Sign(f"{name} guesses", present, Finding("discriminator_died", "warning", best, message, advice))


def _who(name: str) -> str:
    return NAMES.get(name, f"The discriminator of {name}")
