"""Label maps: how well a network reads the true classes off generated photos (FCN score, Isola et al. 2017).

Section 4.1 of arXiv 1611.07004, with a network of the user's choice in the place of its FCN-8s.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.lpips import file_digest

IGNORED = 255  # class index of pixels that do not count


class Segmentation:
    """A TorchScript network that reads classes off photos.

    The network takes RGB photos (N, 3, H, W) in [-1, 1], as generators make them, and normalises them itself if it
    needs to; it gives logits of K classes (N, K, h, w). Photos give class indices (N, H, W), int64, on the CPU, at
    the photos' size. `num_classes` is K once it has seen photos; `name` and `digest` say which network this is.

    Raises:
        ValueError: if the network gives anything else.
    """

    def __init__(self, file: Path, device: str | torch.device) -> None:
        self.name, self.digest = file.name, file_digest(file)
        self.device, self.num_classes = device, 0
        try:
            self.network = torch.jit.load(str(file), map_location=device).eval()
        except RuntimeError as error:
            raise UserError(f"--segmentation {file} is no TorchScript file: save it by torch.jit.save") from error

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        logits = self.network(images.to(self.device))
        if not isinstance(logits, Tensor) or logits.ndim != 4:
            found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"--segmentation {self.name} gives {found}: it should give class logits (N, K, h, w)")
        self.num_classes = logits.shape[1]
        return F.interpolate(logits, images.shape[-2:], mode="bilinear").argmax(dim=1).cpu()


def load_segmentation(file: str | Path, device: str | torch.device = "cpu") -> Segmentation:
    """Load the network in `file`, see `Segmentation`.

    Raises:
        ValueError: if there is no such file, or it is no TorchScript.
    """
    if not Path(file).is_file():
        raise UserError(f"--segmentation {file}: there is no such file")
    return Segmentation(Path(file), device)


def label_confusion(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true class (rows) and predicted class (columns): (N, K, K + 1), int64, one matrix an image.

    Both are class indices (N, H, W); true ones of 255 are ignored, predicted ones of 255 are of no class, which the
    last column counts. The matrix of a set is the sum over images.

    Raises:
        ValueError: for classes that are not among the K, and for maps of different sizes.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if predicted.shape != truth.shape:
        sizes = " and ".join(f"{maps.shape[-1]}x{maps.shape[-2]}" for maps in (predicted, truth))
        raise UserError(f"label maps of {sizes} cannot be compared: bring the true ones to the photos' size")
    for which, maps in (("true", truth), ("generated", predicted)):
        highest = int(torch.where(maps == IGNORED, 0, maps).max())
        if highest >= num_classes:
            raise UserError(
                f"a {which} label map holds class {highest}, but there are {num_classes}, from 0 on: renumber the "
                f"maps, with {IGNORED} for what should not count"
            )
    pairs = zip(predicted.where(predicted != IGNORED, num_classes).long(), truth.long(), strict=True)
    counts = [multiclass_confusion_matrix(ours, true, num_classes + 1, ignore_index=IGNORED) for ours, true in pairs]
    return torch.stack(counts)[:, :num_classes]


def label_values(confusion: Tensor) -> dict[str, float]:
    """Compute pixel accuracy, class accuracy and mean intersection over union of (K, K + 1) or (N, K, K + 1) counts.

    Classes that never occur in truth are left out of the class accuracy; those that are not predicted either are left
    out of the mean intersection over union. Without any pixel that counts all three are NaN.
    """
    counts = confusion.reshape(-1, *confusion.shape[-2:]).sum(dim=0).double()
    right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)[: len(counts)]
    union = true + predicted - right
    return {
        "pixel_accuracy": (right.sum() / counts.sum()).item(),
        "class_accuracy": (right / true)[true > 0].mean().item(),
        "miou": (right / union)[union > 0].mean().item(),
    }
