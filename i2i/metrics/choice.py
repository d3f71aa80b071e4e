"""Which metrics the data at hand allows, before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.config import JudgesConfig
from i2i.metrics.extractor import find_inception
from i2i.metrics.lpips import find_lpips
from i2i.metrics.paired import check_paired

log = logging.getLogger(__name__)

# What has to be at hand for the metrics of a kind.
NEEDS = {
    "paired": "the true image of every generated one",
    "features": "real images to compare with",
    "cycle": "inputs translated there and back, which a cyclegan does",
    "labels": "true label maps, and --segmentation or a known number of classes",
}


def chosen_metrics(
    wanted: Sequence[str] | None, kinds: Collection[str], judges: JudgesConfig, size: tuple[int, int], why: str = ""
) -> list[str]:
    """The `wanted` metrics, or all of some `kinds` that suit images of `size` (width, height) and larger.

    `why` says why other kinds have nothing to go by, for errors. Of all, those that lack their network are left out,
    which is logged, unless nothing else remains.

    Raises:
        ValueError: if there is nothing at hand for one of them.
    """
    if wanted is None or "auto" in wanted:
        chosen = _default(kinds, judges, size)
        if not chosen:
            raise UserError(f"--metrics auto: there are no {NEEDS['features']}{why and f' ({why})'}")
        return chosen
    for name in wanted:
        if METRICS[name].kind not in kinds:
            needed = NEEDS[METRICS[name].kind]
            raise UserError(f"--metrics {name} needs {needed}, and there is no such thing here{why and f' ({why})'}")
    chosen = list(dict.fromkeys(wanted))
    check_paired([name for name in chosen if METRICS[name].kind == "paired"], *size, judges.lpips_net)
    return chosen


def _default(kinds: Collection[str], judges: JudgesConfig, size: tuple[int, int]) -> list[str]:
    suited: list[str] = []
    if "paired" in kinds:
        suited += [name for name in ("l1", "psnr", "ssim", "lpips") if _fits(name, size, judges)]
        suited += ["fid", "kid"] if "features" in kinds else []
    elif "features" in kinds:
        suited += ["kid", "fid", "precision", "recall"]
    suited += ["cycle"] if "cycle" in kinds else []
    suited += ["pixel_accuracy", "class_accuracy", "miou"] if "labels" in kinds else []
    lacking = _without_network(suited, judges)
    chosen = [name for name in suited if name not in lacking]
    if not chosen:  # a download is tried, and its failure says what to do
        return suited
    if lacking:
        options = " and ".join(f"{option} FILE" for option in dict.fromkeys(lacking.values()))
        log.warning("left out for want of their networks: %s; %s name them", ", ".join(lacking), options)
    return chosen


def _without_network(names: Sequence[str], judges: JudgesConfig) -> dict[str, str]:
    """Those whose network is not at hand, with the option that names it."""
    lacking = {}
    if find_lpips(judges.lpips_net, judges.lpips_weights) is None:
        lacking["lpips"] = "--lpips_weights"
    if find_inception(judges.inception) is None:
        lacking |= {name: "--inception" for name in names if METRICS[name].kind == "features"}
    return {name: option for name, option in lacking.items() if name in names}


def _fits(name: str, size: tuple[int, int], judges: JudgesConfig) -> bool:
    try:
        check_paired([name], *size, judges.lpips_net)
    except UserError:
        return False
    return True
