"""LPIPS, a perceptual distance of two images in the features of a network.

The network is that of torchmetrics, which copied it from the authors' package, no longer maintained. It contains the
learned linear weights (version 0.1); the weights of the backbone are torchvision's, from a file or from torch's cache.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from i2i.config import check_choice
from i2i.errors import UserError, file_errors
from i2i.random_state import SkipInit


class Backbone(NamedTuple):
    """A feature network: its name in torchvision, the shortest side of images that it takes, its file of weights."""

    model: str
    smallest: int
    file: str


# The files' names from torchvision's list, which takes seconds to import.
BACKBONES = {
    "alex": Backbone("alexnet", 31, "alexnet-owt-7be5be79.pth"),
    "vgg": Backbone("vgg16", 16, "vgg16-397923af.pth"),
}
LPIPS_NETS = tuple(BACKBONES)
SITE = "https://download.pytorch.org/models"


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018, arXiv 1801.03924, eq. 1); lower is more similar.

    `(fake, real)`, both (N, C, H, W) in [-1, 1], grey or RGB, give distances (N,), in full precision even under
    autocast. Gradients flow to the images, never to the weights.

    Raises:
        UserError: for another number of channels, or images that are too small for the network.
    """

    def __init__(self, net: str, file: Path) -> None:
        super().__init__()
        self.net, self.name, self.digest = net, f"LPIPS 0.1 {net}", file_digest(file)
        self.network = _load_network(net, file)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        (height, width), smallest = fake.shape[-2:], BACKBONES[self.net].smallest
        if min(width, height) < smallest:
            raise UserError(
                f"lpips with --lpips_net {self.net} needs images of at least {smallest}x{smallest}, got "
                f"{width}x{height}: leave it out, or use larger images"
            )
        with torch.autocast(fake.device.type, enabled=False):
            return self.network(_rgb(fake), _rgb(real)).flatten()


def load_lpips(net: str = "alex", weights: str | Path | None = None, device: str | torch.device = "cpu") -> LPIPS:
    """Load LPIPS with the backbone in `weights`, a state dict with torchvision's names, or that in torch's cache.

    Without either, torchvision's weights are downloaded into the cache.

    Raises:
        UserError: if there is no file and no download, or the file does not hold the network.
    """
    return LPIPS(net, find_lpips(net, weights) or _download(net)).to(device)


def find_lpips(net: str = "alex", weights: str | Path | None = None) -> Path | None:
    """Return `weights`, or else the file of the backbone `net` in torch's cache, or None; downloads nothing.

    Raises:
        UserError: if `weights` is given and not a file, or `net` is unknown.
    """
    check_choice("lpips_net", net, LPIPS_NETS)
    if weights is not None and not Path(weights).is_file():
        raise UserError(f"--lpips_weights {weights}: there is no such file")
    file = _cached(net) if weights is None else Path(weights)
    return file if file.is_file() else None


def file_digest(file: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a file."""
    with file_errors("a network's weights", file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _cached(net: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", BACKBONES[net].file)


def _download(net: str) -> Path:
    file, url = _cached(net), f"{SITE}/{BACKBONES[net].file}"
    try:
        torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, or a file with another hash
        raise UserError(
            f"lpips needs the weights of {BACKBONES[net].model}, and downloading them failed ({error}): put {url} into "
            f"{file.parent}, or name a file by --lpips_weights"
        ) from error
    return file


def _load_network(net: str, file: Path) -> nn.Module:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    with SkipInit():  # do not draw random initial weights
        network = _NoTrainLpips(net=net, pnet_rand=True)  # type: ignore[arg-type]
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        # slice2.3.weight here is features.3.weight in torchvision's network
        own = {name: weights[f"features.{name.partition('.')[2]}"] for name in network.net.state_dict()}
        network.net.load_state_dict(own)
    except Exception as error:  # a damaged file may raise nearly anything
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
