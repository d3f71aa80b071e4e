"""The layouts that a folder of images can have, by the name that --dataset_mode gives them."""

from i2i.data.aligned import AlignedDataset
from i2i.data.classes import ClassDataset
from i2i.data.dataset import ImageDataset
from i2i.data.single import SingleDataset
from i2i.data.unaligned import UnalignedDataset

DATASETS: dict[str, type[ImageDataset]] = {
    "aligned": AlignedDataset,
    "unaligned": UnalignedDataset,
    "single": SingleDataset,
    "classes": ClassDataset,
}
