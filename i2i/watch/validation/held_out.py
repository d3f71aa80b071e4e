"""The images that a model is validated on, which it does not learn from."""

from __future__ import annotations

import logging

from i2i.data import DataConfig, ImageDataset, build_dataset
from i2i.data.layouts.classes import ClassDataset
from i2i.data.split import split
from i2i.errors import UserError
from i2i.watch.validation.config import ValidationConfig

log = logging.getLogger(__name__)

PHASE = "val"


def validation_data(
    config: ValidationConfig, data: DataConfig, seed: int = 0
) -> tuple[ImageDataset, ImageDataset | None]:
    """What is trained on, and what is validated on, read without augmentation; None where there is nothing.

    The latter is another phase of the data or, with `val_fraction`, a part that is no longer trained on.

    Raises:
        ValueError: if there is no data, the phase that is asked for has no images of its own, or nothing is left on one
            side.
    """
    dataset = build_dataset(data, seed)
    if config.val_fraction:
        training, held_out = split(dataset, config.val_fraction, seed)
        return training, held_out.read_by(held_out.config.for_validation(held_out.config.phase))
    if config.val_freq == 0:
        return dataset, None
    if config.val_phase is not None:
        return dataset, _phase(dataset, config.val_phase)
    try:
        held_out = _phase(dataset, PHASE)
        if isinstance(held_out, ClassDataset) and held_out.images is not None:
            raise UserError("the files of MNIST have images to train and to test with")
    except UserError as error:
        log.info("no part val to validate on, and so no best checkpoint; --val_fraction 0.1 holds a tenth out")
        log.debug("%s", error)
        return dataset, None
    return dataset, held_out


def _phase(training: ImageDataset, phase: str) -> ImageDataset:
    """The images of `phase`. Raises ValueError if there are none, or they are those of `training`."""
    found = build_dataset(training.config.for_validation(phase), training.seed)
    for name, files in found.columns.files.items():
        # A layout without phases gives all its images for any.
        if set(files) <= set(training.columns.files.get(name, ())):
            raise UserError(f"--val_phase {phase}: its images are those that are trained on")
    if found.classes != training.classes:
        raise UserError(
            f"--val_phase {phase}: its classes are {', '.join(found.classes)}, those of training "
            f"{', '.join(training.classes)}"
        )
    return found
