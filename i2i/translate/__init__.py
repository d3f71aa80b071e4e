"""Batch translation: a folder of images to a folder of pictures with a page, or labels to generated images."""

from i2i.translate.classes import chosen_classes, generate_images
from i2i.translate.config import TestConfig
from i2i.translate.images import suitable_batch_size, suitable_readers, translate_dataset
from i2i.translate.pictures import REFERENCE_LABELS, Labels

__all__ = [
    "REFERENCE_LABELS",
    "Labels",
    "TestConfig",
    "chosen_classes",
    "generate_images",
    "suitable_batch_size",
    "suitable_readers",
    "translate_dataset",
]
