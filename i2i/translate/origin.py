"""Everything that determines the pixels of a translation's results, for their record."""

from __future__ import annotations

import json
import os
from typing import Any

from i2i.data import ImageDataset
from i2i.records import strict_json
from i2i.results import PLACES, Origin
from i2i.translate.translator import Translator

SIZES = ("load_size", "crop_size")
# The options of the data that change what is translated; those of the files' format do not.
READING = (
    *("direction", "preprocess", "conditions", "derive", "derive_scale", "alpha", "pages"),
    *("in_channels", "out_channels", "condition_channels", "in_classes", "out_classes", "condition_classes"),
    *("in_range", "out_range"),
)


def origin_of(translator: Translator, dataset: ImageDataset | None = None, truncation: float | None = None) -> Origin:
    """Return what decides the pixels of results: the source of the images, the options and the weights.

    Without `dataset` the images are generated.
    """
    options: dict[str, Any] = {
        "target": translator.target,
        "eval": translator.running_statistics,
        "ema": translator.averaged,
        "precision": translator.inference.config.precision,
    }
    source: dict[str, Any] = {}
    if dataset is None:
        options["truncation"] = truncation
    else:
        config = dataset.config
        source = {name: os.path.realpath(getattr(config, name)) for name in PLACES if getattr(config, name)}
        if config.dataset_mode != "single":
            source["phase"] = config.phase
        names = READING if config.preprocess == "none" else (*READING, *SIZES)
        options |= {"dataset_mode": config.dataset_mode, "seed": translator.seed}
        options |= {name: getattr(config, name) for name in names}
    origin = {"source": source, "options": options, "weights": {"signature": translator.signature}}
    return json.loads(strict_json(origin))  # as it is read from a file
