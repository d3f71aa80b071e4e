"""Accuracy of label maps: generated ones, or those that a segmentation network predicts from generated photos.

The latter is the FCN score of Isola et al. 2017 (arXiv 1611.07004, section 4.1), with any network instead of FCN-8s.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.lpips import file_digest

IGNORED = 255  # class index of pixels that are not counted


class Segmentation:
    """A TorchScript segmentation network.

    It takes RGB photos (N, 3, H, W) in [-1, 1], which it normalises itself if needed, and returns logits (N, K, h, w).
    Calling it returns class indices (N, H, W), int64 on the CPU. `num_classes` is K, known after the first call.

    Raises:
        UserError: if the file is not TorchScript, or the network returns anything else.
    """

    def __init__(self, file: Path, device: str | torch.device) -> None:
        self.name, self.digest = file.name, file_digest(file)
        self.device, self.num_classes = device, 0
        try:
            self.network = torch.jit.load(str(file), map_location=device).eval()
        except RuntimeError as error:
            raise UserError(f"--segmentation {file} is not a TorchScript file: save it with torch.jit.save") from error

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        logits = self.network(images.to(self.device))
        if not isinstance(logits, Tensor) or logits.ndim != 4:
            found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"--segmentation {self.name} returns {found} instead of class logits (N, K, h, w)")
        self.num_classes = logits.shape[1]
        return F.interpolate(logits, images.shape[-2:], mode="bilinear").argmax(dim=1).cpu()


def load_segmentation(file: str | Path, device: str | torch.device = "cpu") -> Segmentation:
    """Load the network in `file`. Raises UserError if there is no such file, or it is not TorchScript."""
    if not Path(file).is_file():
        raise UserError(f"--segmentation {file}: there is no such file")
    return Segmentation(Path(file), device)


def label_confusion(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of each image by true class (rows) and predicted class (columns): (N, K, K + 1), int64.

    Both are class indices (N, H, W). Pixels whose true index is 255 are ignored; a predicted 255 means no class and is
    counted in the last column. Add up the matrices of several images to get that of the set.

    Raises:
        UserError: for class indices of K or more, and for label maps of different sizes.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if predicted.shape != truth.shape:
        sizes = " and ".join(f"{maps.shape[-1]}x{maps.shape[-2]}" for maps in (predicted, truth))
        raise UserError(f"label maps of {sizes} cannot be compared: resize the true ones to the size of the photos")
    for which, maps in (("true", truth), ("generated", predicted)):
        highest = int(torch.where(maps == IGNORED, 0, maps).max())
        if highest >= num_classes:
            raise UserError(
                f"a {which} label map holds class {highest}, but there are {num_classes} classes, numbered from 0: "
                f"renumber the maps, with {IGNORED} for pixels to ignore"
            )
    pairs = zip(predicted.where(predicted != IGNORED, num_classes).long(), truth.long(), strict=True)
    counts = [multiclass_confusion_matrix(ours, true, num_classes + 1, ignore_index=IGNORED) for ours, true in pairs]
    return torch.stack(counts)[:, :num_classes]


def pixel_accuracy(counts: Tensor) -> float:
    """Return the share of correct pixels in counts (K, K + 1), see `label_confusion`; NaN without any pixel."""
    return (counts.diagonal().sum() / counts.sum()).item()


def class_accuracy(counts: Tensor) -> float:
    """Return the mean share of correct pixels over the classes that occur in the true maps; NaN without any pixel."""
    true = counts.sum(dim=1)
    return (counts.diagonal() / true)[true > 0].mean().item()


def mean_iou(counts: Tensor) -> float:
    """Return the mean intersection over union of the classes that occur in true or predicted maps; NaN without any."""
    intersection = counts.diagonal()
    union = counts.sum(dim=1) + counts.sum(dim=0)[: len(counts)] - intersection
    return (intersection / union)[union > 0].mean().item()
