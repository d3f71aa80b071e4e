"""Options of metrics: the files of their networks, and the content of a metrics card."""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Sequence
from typing import cast

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.lpips import LPIPS_NETS

RESIZES = ("clean", "tf1")
# Both see metrics that are added to METRICS later; argparse only iterates and asks `in`.
METRIC_NAMES = cast(Sequence[str], METRICS)
CARD_METRICS = cast(Sequence[str], ChainMap(METRICS, {"auto": None}))


@dataclasses.dataclass(frozen=True)
class MetricNetworksConfig:
    """Files of the networks that metrics use; without a file, the library's cache is searched."""

    inception: str | None = option(None, "file of the Inception network for fid, kid, precision, recall", path=True)
    inception_resize: str = option(
        "clean",
        "how to resize images to 299x299: clean, Pillow's antialiased bicubic; tf1, as FID was first published",
        choices=RESIZES,
    )
    lpips_net: str = option("alex", "backbone of lpips", choices=LPIPS_NETS)
    lpips_weights: str | None = option(None, "file of the backbone's weights, with torchvision's names", path=True)
    segmentation: str | None = option(
        None, "TorchScript file of a segmentation network from photos to class logits, for miou", path=True
    )

    def __post_init__(self) -> None:
        check_choice("inception_resize", self.inception_resize, RESIZES)
        check_choice("lpips_net", self.lpips_net, LPIPS_NETS)


JudgesConfig = MetricNetworksConfig  # its former name


@dataclasses.dataclass(frozen=True)
class CardConfig:
    """Options of a metrics card."""

    metrics: tuple[str, ...] | None = option(
        None, "metrics of the card; auto: all that the data allow", choices=CARD_METRICS
    )
    bootstrap: int = option(200, "bootstrap resamples for the 95 % intervals; 0: none")

    def __post_init__(self) -> None:
        check_range("bootstrap", self.bootstrap, 0)
        for name in self.metrics or ():
            check_choice("metrics", name, CARD_METRICS)
        if "auto" in (self.metrics or ()) and self.metrics != ("auto",):
            raise UserError(f"--metrics {' '.join(self.metrics or ())}: give either auto or names of metrics")
