"""The layouts that a folder of images can have, by the name that --dataset_mode gives them."""

from i2i.data.layouts.aligned import AlignedDataset
from i2i.data.layouts.base import ImageDataset
from i2i.data.layouts.classes import ClassDataset
from i2i.data.layouts.single import SingleDataset
from i2i.data.layouts.unaligned import UnalignedDataset

DATASETS: dict[str, type[ImageDataset]] = {
    "aligned": AlignedDataset,
    "unaligned": UnalignedDataset,
    "single": SingleDataset,
    "classes": ClassDataset,
}
