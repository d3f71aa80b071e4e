"""Load folders of images as batches."""

from pathlib import Path

from i2i.data.batch import Batch, DataSpec, ImageError, Key, Sample, collate
from i2i.data.config import DataConfig
from i2i.data.layouts import LAYOUTS
from i2i.data.layouts.base import ImageDataset
from i2i.data.loader import BatchStream, sample_batch, samples_in_order
from i2i.data.options import ImageOptions
from i2i.errors import UserError, file_errors

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")

__all__ = [
    "Batch",
    "BatchStream",
    "DataConfig",
    "DataSpec",
    "ImageDataset",
    "ImageError",
    "ImageOptions",
    "LAYOUTS",
    "Key",
    "Sample",
    "build_dataset",
    "collate",
    "sample_batch",
    "samples_in_order",
]


@file_errors("--dataroot")
def build_dataset(config: ImageOptions, seed: int = 0, needs_b: bool = True) -> ImageDataset:
    """Build the data set of `config.dataset_mode`; without `needs_b`, the b of pairs may be missing.

    Raises:
        UserError: if the folder is missing, empty, or of another layout.
    """
    if not (config.dataroot or config.dataroot_A or config.dataroot_B):
        raise UserError("--dataroot is missing: the folder that holds the images")
    if config.dataroot.lower().endswith(ARCHIVES) and Path(config.dataroot).is_file():
        raise UserError(f"--dataroot {config.dataroot} is an archive: unpack it, and give the unpacked folder")
    for name in ("dataroot_A", "dataroot_B"):
        folder = getattr(config, name)
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f"--{name} {folder} is not a folder")
    if not config.dataroot and config.dataset_mode == "classes":
        raise UserError("--dataset_mode classes takes a --dataroot, not --dataroot_A or --dataroot_B")
    both_needed = needs_b and config.dataset_mode in ("aligned", "unaligned") and config.derive == "none"
    if not config.dataroot and both_needed and not (config.dataroot_A and config.dataroot_B):
        raise UserError("--dataroot_A and --dataroot_B are both needed if there is no --dataroot")
    return LAYOUTS[config.dataset_mode](config, seed, needs_b)
