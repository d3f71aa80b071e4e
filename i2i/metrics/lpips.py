"""LPIPS: the distance of two images in a network's features, weighed as people see it.

The network is torchmetrics', copied there from the authors' package, which is no longer kept up. It carries the learned
weights of the features (version 0.1); those of the network that makes the features are torchvision's, from a file or
from torch's cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from i2i.config import check_choice
from i2i.errors import UserError, file_errors
from i2i.metrics.config import LPIPS_NETS
from i2i.random_state import Undrawn


class Backbone(NamedTuple):
    """A network that lends its features: torchvision's name, the smallest side of images, the file of its weights."""

    model: str
    smallest: int
    file: str


# The files' names from torchvision's list, which takes seconds to import.
BACKBONES = {
    "alex": Backbone("alexnet", 31, "alexnet-owt-7be5be79.pth"),
    "vgg": Backbone("vgg16", 16, "vgg16-397923af.pth"),
}
SITE = "https://download.pytorch.org/models"


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018, arXiv 1801.03924, eq. 1), lower is nearer.

    `(fake, real)`, both (N, C, H, W) in [-1, 1], grey or RGB, give distances (N,), in full precision under autocast
    too. Gradients reach the images, never the weights. `name` and `digest` say which weights these are.

    Raises:
        ValueError: for images of other channels, or that are too small for the network.
    """

    def __init__(self, net: str, file: Path) -> None:
        super().__init__()
        self.net, self.name, self.digest = net, f"LPIPS 0.1 {net}", file_digest(file)
        self.network = _load_network(net, file)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        check_lpips_size(self.net, fake.shape[-1], fake.shape[-2])
        with torch.autocast(fake.device.type, enabled=False):
            return self.network(_rgb(fake), _rgb(real)).flatten()


def load_lpips(net: str = "alex", weights: str | Path | None = None, device: str | torch.device = "cpu") -> LPIPS:
    """Load LPIPS with the features of `weights`, a state dict in torchvision's names, or of torch's cache.

    Where neither has them torchvision is asked, once, to fetch them into the cache.

    Raises:
        ValueError: if there is no file, or it does not hold the network.
    """
    return LPIPS(net, find_lpips(net, weights) or _fetch(net)).to(device)


def find_lpips(net: str = "alex", weights: str | Path | None = None) -> Path | None:
    """The file with the features of `net`: `weights`, else that in torch's cache if it is there; without network.

    Raises:
        ValueError: if `weights` is no file.
    """
    check_choice("lpips_net", net, LPIPS_NETS)
    if weights is not None and not Path(weights).is_file():
        raise UserError(f"--lpips_weights {weights}: there is no such file")
    file = _cached(net) if weights is None else Path(weights)
    return file if file.is_file() else None


def check_lpips_size(net: str, width: int, height: int) -> None:
    """Raise ValueError for images that are too small for `net`."""
    smallest = BACKBONES[net].smallest
    if min(width, height) < smallest:
        raise UserError(
            f"lpips by {net} needs images of at least {smallest}x{smallest}, got {width}x{height}: leave it out for "
            "these, or use larger ones"
        )


def file_digest(file: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256."""
    with file_errors("a network's weights", file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _cached(net: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", BACKBONES[net].file)


def _fetch(net: str) -> Path:
    file, url = _cached(net), f"{SITE}/{BACKBONES[net].file}"
    try:
        torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, and a file with another hash
        raise UserError(
            f"lpips needs the weights of {BACKBONES[net].model}, which could not be fetched ({error}): put {url} into "
            f"{file.parent}, or name a file by --lpips_weights"
        ) from error
    return file


def _load_network(net: str, file: Path) -> nn.Module:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    with Undrawn():  # it would begin with random weights
        network = _NoTrainLpips(net=net, pnet_rand=True)  # type: ignore[arg-type]
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        # slice2.3.weight there is features.3.weight in torchvision's network
        own = {name: weights[f"features.{name.partition('.')[2]}"] for name in network.net.state_dict()}
        network.net.load_state_dict(own)
    except Exception as error:  # there is hardly a type that a damaged file does not raise
        raise UserError(
            f"{file} does not hold the features of torchvision's {BACKBONES[net].model} ({type(error).__name__}): name "
            "another file by --lpips_weights, or another network by --lpips_net"
        ) from error
    return network


def _rgb(images: Tensor) -> Tensor:
    channels = images.shape[1]
    if channels not in (1, 3):
        raise UserError(f"lpips compares grey or RGB images, got {channels} channels: leave it out for these")
    return images.float().expand(-1, 3, -1, -1)
