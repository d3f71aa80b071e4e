"""Where the networks that judge images come from."""

from __future__ import annotations

import dataclasses

from i2i.config import check_choice, check_range, option
from i2i.errors import UserError
from i2i.metrics import METRICS

RESIZES = ("clean", "tf1")
LPIPS_NETS = ("alex", "vgg")


@dataclasses.dataclass(frozen=True)
class JudgesConfig:
    """The files of the networks whose features metrics compare; without a file the library's cache is looked into."""

    inception: str | None = option(None, "file of the Inception network for fid, kid, precision, recall", path=True)
    inception_resize: str = option(
        "clean",
        "how images come to its size: clean, as by Pillow's bicubic; tf1, as FID was first published",
        choices=RESIZES,
    )
    lpips_net: str = option("alex", "network of lpips", choices=LPIPS_NETS)
    lpips_weights: str | None = option(None, "file of that network's features, in torchvision's names", path=True)
    segmentation: str | None = option(
        None, "TorchScript file of a network from photos to class logits, for miou", path=True
    )

    def __post_init__(self) -> None:
        check_choice("inception_resize", self.inception_resize, RESIZES)
        check_choice("lpips_net", self.lpips_net, LPIPS_NETS)


@dataclasses.dataclass(frozen=True)
class CardConfig:
    """What a metrics card shows."""

    metrics: tuple[str, ...] | None = option(None, f"auto, for what the data allows, or: {', '.join(METRICS)}")
    bootstrap: int = option(200, "resamples for the 95 % intervals; 0: none")

    def __post_init__(self) -> None:
        check_range("bootstrap", self.bootstrap, 0)
        for name in self.metrics or ():
            check_choice("metrics", name, ("auto", *METRICS))
        if "auto" in (self.metrics or ()) and self.metrics != ("auto",):
            raise UserError(f"--metrics {' '.join(self.metrics or ())}: auto stands by itself")
