"""The options of the data, with the layouts to choose from."""

from __future__ import annotations

import dataclasses

from i2i.config import option
from i2i.data.layouts import DATASETS
from i2i.data.options import ImageOptions


@dataclasses.dataclass(frozen=True)
class DataConfig(ImageOptions):
    """Where the images lie and what is done to them before the model sees them."""

    dataset_mode: str = option("unaligned", "layout of the folder", choices=DATASETS)
