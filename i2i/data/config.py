"""The options of the data."""

from __future__ import annotations

import dataclasses

from i2i.config import option
from i2i.data.layouts import LAYOUTS
from i2i.data.options import ImageOptions


@dataclasses.dataclass(frozen=True)
class DataConfig(ImageOptions):
    """Options of where the images are, and how they are loaded and prepared for the model."""

    dataset_mode: str = option("unaligned", "layout of the folder", choices=LAYOUTS)
