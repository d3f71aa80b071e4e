"""Choose the metrics of a card by the data, before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.compute import check_image_size
from i2i.metrics.config import MetricNetworksConfig
from i2i.metrics.extractor import find_inception
from i2i.metrics.lpips import find_lpips

log = logging.getLogger(__name__)

# The data that metrics of a kind need.
NEEDS = {
    "paired": "the true image of every generated one",
    "features": "real images to compare with",
    "cycle": "inputs translated there and back, as a cyclegan does",
    "labels": "true label maps, and --segmentation or a known number of classes",
}


def choose_metrics(
    wanted: Sequence[str] | None,
    kinds: Collection[str],
    networks: MetricNetworksConfig,
    size: tuple[int, int],
    reason: str = "",
) -> list[str]:
    """Return the `wanted` metrics or, for None and "auto", those of the given `kinds` that suit the images.

    `size` is the smallest (width, height) of the images. `reason` says in errors why other kinds are not available.
    "auto" leaves out metrics without their network, with a warning, unless no metric would remain.

    Raises:
        UserError: if the data that one of the metrics needs are missing.
    """
    if wanted is None or "auto" in wanted:
        chosen = _default(kinds, networks, size)
        if not chosen:
            raise UserError(f"--metrics auto: there are no {NEEDS['features']}{reason and f' ({reason})'}")
        return chosen
    for name in wanted:
        if METRICS[name].kind not in kinds:
            needed = NEEDS[METRICS[name].kind]
            raise UserError(f"--metrics {name} needs {needed}, which are not available{reason and f' ({reason})'}")
    chosen = list(dict.fromkeys(wanted))
    check_image_size([name for name in chosen if METRICS[name].kind == "paired"], *size, networks.lpips_net)
    return chosen


def fits_size(name: str, size: tuple[int, int], networks: MetricNetworksConfig) -> bool:
    """Return True if images of `size` (width, height) are large enough for the metric."""
    try:
        check_image_size([name], *size, networks.lpips_net)
    except UserError:
        return False
    return True


def _default(kinds: Collection[str], networks: MetricNetworksConfig, size: tuple[int, int]) -> list[str]:
    suited: list[str] = []
    if "paired" in kinds:
        suited += [name for name in ("l1", "psnr", "ssim", "lpips") if fits_size(name, size, networks)]
        suited += ["fid", "kid"] if "features" in kinds else []
    elif "features" in kinds:
        suited += ["kid", "fid", "precision", "recall"]
    suited += ["cycle"] if "cycle" in kinds else []
    suited += ["pixel_accuracy", "class_accuracy", "miou"] if "labels" in kinds else []
    lacking = _without_network(suited, networks)
    chosen = [name for name in suited if name not in lacking]
    if not chosen:  # loading the network tries a download, whose error says what to do
        return suited
    if lacking:
        options = " and ".join(f"{option} FILE" for option in dict.fromkeys(lacking.values()))
        log.warning("left out, as their networks are missing: %s; name them by %s", ", ".join(lacking), options)
    return chosen


def _without_network(names: Sequence[str], networks: MetricNetworksConfig) -> dict[str, str]:
    """Return the metrics whose network is missing, with the option that names its file."""
    lacking = {}
    if find_lpips(networks.lpips_net, networks.lpips_weights) is None:
        lacking["lpips"] = "--lpips_weights"
    if find_inception(networks.inception) is None:
        lacking |= {name: "--inception" for name in names if METRICS[name].kind == "features"}
    return {name: option for name, option in lacking.items() if name in names}
