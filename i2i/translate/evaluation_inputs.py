"""Find the images to compare a test's pictures with: real target images, and the training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from i2i.config import from_values
from i2i.data import DataConfig, ImageDataset, ImageOptions, build_dataset
from i2i.data.inputs import input_dataset
from i2i.errors import UserError
from i2i.metrics.baselines import TrainingImages
from i2i.metrics.image_sets import DatasetImages, ImageSet, readable_images
from i2i.translate.classes import UNCONDITIONAL, chosen_classes, class_names
from i2i.translate.config import TestConfig
from i2i.translate.translator import Translator


@dataclasses.dataclass(frozen=True)
class EvaluationInputs:
    """The inputs of a test, None where images are generated; real images that are no partners; those of training.

    `missing` says why there is nothing to compare with, where that is so.
    """

    dataset: ImageDataset | None
    targets: ImageSet | None
    training: TrainingImages | None
    missing: str = ""

    @property
    def is_paired(self) -> bool:
        """True if every input has a target."""
        return self.dataset is not None and bool(self.dataset.outputs)


def of_translation(dataset: ImageDataset, data: ImageOptions, trained_on: Mapping[str, Any] | None) -> EvaluationInputs:
    """Return the images to compare the translations of `dataset` with.

    `data` are the options of the test; `trained_on` those that the run was trained with, if they are known.
    """
    targets, missing, inputs = None, "", dataset.config
    if not dataset.outputs:
        config = dataclasses.replace(inputs, dataroot=data.dataroot, max_dataset_size=data.max_dataset_size)
        try:
            found = _other_domain(config)
            if found.root.resolve() == dataset.root.resolve():
                raise UserError(f"{dataset.root} holds the inputs alone")
            targets = DatasetImages(found, "a", _usable(found, "a"))
        except UserError as error:
            missing = str(error)
    return EvaluationInputs(dataset, targets, _training(trained_on, inputs, data.dataroot), missing)


def of_generation(
    translator: Translator, config: TestConfig, data: ImageOptions, trained_on: Mapping[str, Any] | None
) -> EvaluationInputs:
    """Return real images to compare generated ones with: of the requested classes, at their size."""
    spec = translator.model.spec
    data = dataclasses.replace(
        data, preprocess="resize_and_crop", load_size=spec.image_size, crop_size=spec.image_size, num_threads=0
    )
    names = class_names(translator)
    wanted = None if names is UNCONDITIONAL else {names[label] for label in chosen_classes(config.labels, names)}
    training = _training(trained_on, data, data.dataroot, wanted)
    try:
        found = build_dataset(data)
    except UserError as error:
        return EvaluationInputs(None, None, training, str(error))
    return EvaluationInputs(None, DatasetImages(found, "b", _of_classes(found, _usable(found, "b"), wanted)), training)


def _of_classes(dataset: ImageDataset, rows: Sequence[int], wanted: Collection[str] | None) -> Sequence[int]:
    """Those of `rows` whose classes are `wanted`; all of them for None."""
    if wanted is None:
        return rows
    assert dataset.labels is not None
    return [row for row in rows if dataset.classes[dataset.labels[row]] in wanted]


def _other_domain(inputs: ImageOptions) -> ImageDataset:
    """The real images of the domain that `inputs` are translated to.

    Raises:
        ValueError: if there are none.
    """
    direction = "BtoA" if inputs.direction == "AtoB" else "AtoB"
    config = dataclasses.replace(inputs.swapped(), direction=direction, dataset_mode="unaligned")
    if not config.input_root:
        raise UserError("--dataroot is missing, with the images of the other domain")
    return input_dataset(config)


def _usable(dataset: ImageDataset, side: str) -> Sequence[int]:
    """All images, or those that can be read if the others are to be skipped."""
    everything = range(len(dataset))
    if dataset.config.on_bad_image == "error":
        return everything
    return [number for number, _ in readable_images(DatasetImages(dataset, side, everything))]


def _training(
    trained_on: Mapping[str, Any] | None, inputs: ImageOptions, dataroot: str, wanted: Collection[str] | None = None
) -> TrainingImages | None:
    """The images that the run was trained on, where they still lie or below `dataroot`, sized as `inputs` are.

    Of classes they are those that are `wanted`.
    """
    if trained_on is None:
        return None
    fields = {field.name: trained_on.get(field.name, field.default) for field in dataclasses.fields(DataConfig)}
    config: ImageOptions = from_values(DataConfig, fields)
    if inputs.direction != config.direction:
        config = config.swapped()
    sizes = {name: getattr(inputs, name) for name in ("preprocess", "load_size", "crop_size", "direction")}
    config = dataclasses.replace(config.for_validation(config.phase), **sizes)
    for place in dict.fromkeys((config.dataroot, dataroot)):
        try:
            return _trained(dataclasses.replace(config, dataroot=place), wanted)
        except (ValueError, OSError):  # it lay on another machine
            continue
    return None


def _trained(config: ImageOptions, wanted: Collection[str] | None) -> TrainingImages:
    if config.dataset_mode == "unaligned":
        return TrainingImages(DatasetImages(_other_domain(config), "a"))
    dataset = build_dataset(config)
    targets = DatasetImages(dataset, "b", _of_classes(dataset, range(len(dataset)), wanted))
    return TrainingImages(targets, DatasetImages(dataset, "a") if config.dataset_mode == "aligned" else None)
