"""Distances between images (N, C, H, W) in [-1, 1], and formulas that add them up: "100*l1 + 10*ssim"."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.lpips import LPIPS, load_lpips
from i2i.metrics.similarity import ssim


def ssim_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute 1 - SSIM, averaged over images; `i2i.metrics.similarity.ssim` has the definition and the source.

    Raises UserError for images with a side under 11 pixels.
    """
    return 1 - ssim(prediction, target).mean()


def lpips_distance(prediction: Tensor, target: Tensor, network: LPIPS | None = None) -> Tensor:
    """Compute LPIPS by `network`, averaged over images (Zhang et al. 2018, arXiv 1801.03924, eq. 1).

    In full precision under autocast too; gradients reach the images alone. Raises ValueError as `LPIPS` does, and
    without a network.
    """
    if network is None:
        raise UserError("lpips needs its network: call the distance's load_networks() before it is used")
    return network(prediction, target).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
    "ssim": ssim_distance,
    "lpips": lpips_distance,
}

_TERM = re.compile(r"(?:(?P<weight>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\*\s*)?(?P<name>[A-Za-z_]\w*)")


def parse_formula(formula: str) -> dict[str, float]:
    """Read "100*l1 + ssim" as {"l1": 100.0, "ssim": 1.0}.

    Terms are `weight*name` or `name`, with a weight that is not negative. Raises ValueError for anything else, for
    names that are not in DISTANCES and for a name that comes twice.
    """
    weights: dict[str, float] = {}
    # A plus behind a digit and an e belongs to the number: 1e+2.
    for term in re.split(r"(?<![\d.][eE])\+", formula):
        match = _TERM.fullmatch(term.strip())
        if match is None or match["name"] not in DISTANCES:
            raise UserError(
                f"cannot read {term.strip()!r} in the formula {formula!r}: "
                f"write terms like 100*l1 + 10*ssim, of {', '.join(DISTANCES)}"
            )
        if match["name"] in weights:
            raise UserError(f"{match['name']!r} comes twice in the formula {formula!r}: add up its weights")
        weights[match["name"]] = float(match["weight"] or 1)
    return weights


class Distance:
    """A weighted sum of distances between a prediction and a target (N, C, H, W) in [-1, 1], given as a formula.

    Raises ValueError as `parse_formula` does.
    """

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.weights = parse_formula(formula)
        self.distances = {name: DISTANCES[name] for name in self.weights}

    def load_networks(
        self,
        lpips_net: str = "alex",
        lpips_weights: str | Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load the network of an lpips term to the images' device; without such a term nothing happens.

        It is no part of any model: training needs it, translating does not.

        Raises:
            ValueError: if there is such a term, and its network's weights cannot be had, see `load_lpips`.
        """
        if "lpips" in self.weights:
            network = load_lpips(lpips_net, lpips_weights, device)
            self.distances["lpips"] = functools.partial(lpips_distance, network=network)

    def terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute every term by its name, times its weight."""
        return {name: weight * self.distances[name](prediction, target) for name, weight in self.weights.items()}

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        first, *rest = self.terms(prediction, target).values()
        return sum(rest, first)

    def __repr__(self) -> str:
        return f"Distance({self.formula!r})"
