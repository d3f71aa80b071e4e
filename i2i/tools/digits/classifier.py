"""The small convolutional network that judges generated images: its training, what it says, and its features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.data.batch import normalise
from i2i.models.generation import evaluation_mode
from i2i.networks.layers import Conv2d
from i2i.progress import shown
from i2i.random_state import Drawing
from i2i.tools.digits.labelled import Labelled

FEATURES = 128
BATCH = 128
AT_ONCE = 1000  # images a batch without gradients
PASSES, MOST_PASSES, LEAST_IMAGES = 4, 20, 100_000  # over the data: 4, of small sets more
LEARNING_RATE = 3e-3
SHIFT = 2  # pixels, at most


class Classifier(nn.Module):
    """Logits (N, num_classes) of squares (N, channels, image_size, image_size) in [-1, 1].

    Convolutions of 32, 64 and then 128 filters, each halving the image, until it is about 7 pixels wide, and one more;
    then a layer of 128 features, in whose space generated images are compared with real ones.
    """

    def __init__(self, num_classes: int, image_size: int, channels: int) -> None:
        super().__init__()
        halvings = max(2, round(math.log2(image_size / 7)))
        widths = [channels, *(min(32 * 2**halving, 128) for halving in range(halvings))]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += _block(Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False))
        layers += _block(Conv2d(widths[-1], widths[-1], 3, padding=1, bias=False))
        flat = widths[-1] * (image_size // 2**halvings) ** 2
        layers += [nn.Flatten(), nn.Dropout(0.25), nn.Linear(flat, FEATURES, bias=False)]
        self.features = nn.Sequential(*layers, nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(images)))


def _block(convolution: Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def classify(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, num_classes) and features (N, 128), on the CPU, of images (N, C, S, S) in [-1, 1], or uint8."""
    device = classifier.head.weight.device
    logits, features = [], []
    with evaluation_mode(classifier):
        for batch in images.split(AT_ONCE):
            found = classifier.features(normalise(batch.to(device)))
            features.append(found.cpu())
            logits.append(classifier.head(found).cpu())
    return torch.cat(logits), torch.cat(features)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of rows whose largest logit is that of the label."""
    return (logits.argmax(dim=1) == labels).double().mean().item()


def train_classifier(
    data: Labelled, num_classes: int, *, passes: int | None = None, seed: int = 0, device: torch.device | str = "cpu"
) -> Classifier:
    """A classifier trained with Adam on one cycle of the learning rate (Smith & Topin 2017, arXiv 1708.07120).

    Images are shifted by up to 2 pixels at random. The same seed gives the same weights, on the same machine.
    """
    device = torch.device(device)
    passes = passes or max(PASSES, min(MOST_PASSES, LEAST_IMAGES // len(data.labels)))
    channels, size = data.images.shape[1], data.images.shape[-1]
    steps = max(1, len(data.labels) // BATCH)
    generator = torch.Generator().manual_seed(seed)
    of_device = generator if device.type == "cpu" else torch.Generator(device).manual_seed(seed)
    with Drawing(generator):
        network = Classifier(num_classes, size, channels).to(device)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, passes * steps)
    for _ in shown(range(passes), "epoch", "training the classifier"):
        order = torch.randperm(len(data.labels), generator=generator)
        for rows in order.split(BATCH)[:steps]:  # without what is left at the end
            images, labels = data.take(rows)
            inputs = normalise(shifted(images, SHIFT, generator).to(device))
            with Drawing(of_device):
                logits = network(inputs)
            optimizer.zero_grad()
            F.cross_entropy(logits, labels.to(device)).backward()
            optimizer.step()
            schedule.step()
    return network


def shifted(images: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    """Move each of (N, C, H, W) by up to `most` pixels either way, its border repeated behind it."""
    count, _, height, width = images.shape
    down, right = torch.randint(-most, most + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    moved = images[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return moved.permute(0, 3, 1, 2).contiguous()
