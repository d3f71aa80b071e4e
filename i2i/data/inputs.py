"""Find the images to translate: in the run's layout, or directly in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from i2i.data import ImageDataset, ImageOptions, build_dataset
from i2i.data.folder import has_images, in_any_case
from i2i.data.listing import condition_folder
from i2i.data.shards import is_shards
from i2i.errors import UserError, file_errors


@file_errors("--dataroot or --input")
def input_dataset(config: ImageOptions) -> ImageDataset:
    """Return the images to translate: the layout of `config` if it exists, else all images directly in `dataroot`.

    Of an unaligned layout, only the source domain of `config.direction` is used; of pairs, b may be missing.

    Raises:
        UserError: if there are no images; says what was looked for.
    """
    if not config.input_root:
        raise UserError("--dataroot or --input is missing: the images to translate")
    root = Path(config.input_root)
    if config.dataset_mode == "unaligned":
        place = str(_one_domain(root, config))
        return build_dataset(dataclasses.replace(config, dataset_mode="single", dataroot=place))
    special = config.conditions or config.derive != "none" or config.input_root != config.dataroot
    own = condition_folder(root, config.phase, config.direction[0])
    folders = own is not None or in_any_case(root / config.phase, root).is_dir()
    if root.is_dir() and not special and not folders and has_images(root, recursive=False):
        return build_dataset(dataclasses.replace(config, dataset_mode="single"))
    return build_dataset(config, needs_b=False)


def _one_domain(root: Path, config: ImageOptions) -> Path:
    """Return the folder of the source domain of `config.direction`."""
    folders = (root / f"{config.phase}{config.direction[0]}", root / config.phase)
    found = condition_folder(root, config.phase, config.direction[0])
    found = found or next((folder for folder in folders if folder.is_dir()), None)
    given = config.input_root != config.dataroot
    whole = given or is_shards(str(root)) or root.is_file() or has_images(root, recursive=False)
    return found or (root if whole else folders[0])
