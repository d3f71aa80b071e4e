"""Options of metrics: the files of their networks, and the content of a metrics card."""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Sequence
from typing import Any, cast

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.metrics import METRICS
from i2i.metrics.lpips import LPIPS_NETS

RESIZES = ("clean", "tf1")
METRIC_NAMES = cast(Sequence[str], METRICS)  # the dict itself, so that options know metrics that are added later


class ShownChoices(ChainMap[str, Any]):
    """Names that the help lists and the parser does not check.

    `--metrics fid REAL FAKE` takes the folders for metrics, and only the program can say what is wrong.
    """

    def __contains__(self, name: object) -> bool:
        return True


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


@dataclasses.dataclass(frozen=True)
class CardConfig:
    """Options of a metrics card."""

    metrics: tuple[str, ...] | None = option(
        None,
        "metrics of the card; auto: all that the data allow",
        choices=cast(Sequence[str], ShownChoices(METRICS, {"auto": None})),
    )
    bootstrap: int = option(200, "bootstrap resamples for the 95 % intervals; 0: none")

    def __post_init__(self) -> None:
        check_range("bootstrap", self.bootstrap, 0)
        for name in self.metrics or ():
            check_choice("metrics", name, ("auto", *METRICS))
        if "auto" in (self.metrics or ()) and self.metrics != ("auto",):
            raise UserError(f"--metrics {' '.join(self.metrics or ())}: give either auto or names of metrics")
