"""The layouts of a data set, by their `--dataset_mode`. A new one is a file in this package and a line here."""

from i2i.data.layouts.aligned import AlignedDataset
from i2i.data.layouts.base import ImageDataset
from i2i.data.layouts.classes import ClassDataset
from i2i.data.layouts.single import SingleDataset
from i2i.data.layouts.unaligned import UnalignedDataset

LAYOUTS: dict[str, type[ImageDataset]] = {
    "aligned": AlignedDataset,
    "unaligned": UnalignedDataset,
    "single": SingleDataset,
    "classes": ClassDataset,
}
