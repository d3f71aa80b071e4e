"""Networks whose features sets of images are compared by: Inception, or any TorchScript file."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from i2i.config import check_choice
from i2i.errors import UserError
from i2i.random_state import Undrawn

SIZE = 299
BATCH = 32
# What libraries call the file in torch's cache: torch-fidelity and torchmetrics, pytorch-fid, NVIDIA and clean-fid.
CACHED = (
    "weights-inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
    "inception-2015-12-05.pt",
)


class Features(NamedTuple):
    """Float32 on the CPU: features (N, D) and, if the network has classes, their probabilities (N, K)."""

    features: Tensor
    probabilities: Tensor | None


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network for features, the SHA-256 of its file (16 digits) and the way images come to its size."""

    name: str
    digest: str
    resize: str
    device: torch.device
    body: Callable[[Tensor], Tensor]  # (N, 3, 299, 299) in [-1, 1) to (N, D)
    classes: Tensor | None  # (K, D): its inner products with features are logits
    dimensions: int = 0  # D

    @property
    def has_classes(self) -> bool:
        """Whether there are probabilities for the Inception Score."""
        return self.classes is not None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (N, C, H, W): grey is repeated, alpha dropped, N is any number."""
        # No autocast of a training around, no kernels fused by the sizes seen so far; both are this thread's.
        with torch.autocast(self.device.type, enabled=False), torch.jit.optimized_execution(False):
            parts = [self.body(self._prepare(part)).float() for part in images.split(BATCH)]
            features = torch.cat(parts)
            probabilities = None if self.classes is None else (features @ self.classes.T).softmax(dim=1).cpu()
        return Features(features.cpu(), probabilities)

    def _prepare(self, images: Tensor) -> Tensor:
        colours = images[:, : 3 if images.shape[1] > 2 else 1]
        resized = RESIZE[self.resize](colours).expand(-1, 3, -1, -1).to(self.device)
        return (resized - 128) / 128  # as the network was trained, and as the libraries do


def load_extractor(file: str | Path | None, resize: str = "clean", device: torch.device | str = "cpu") -> Extractor:
    """Load torch-fidelity's Inception weights, NVIDIA's or any other TorchScript network (N, 3, 299, 299) -> (N, D).

    Without a file torch's cache is looked into, and if there is none, one download is tried.

    Raises:
        ValueError: if there is no file, or it is none of these.
    """
    check_choice("inception_resize", resize, tuple(RESIZE))
    path = find_inception(file) or _download()
    try:
        name, body, classes = (_scripted if _is_torchscript(path) else _torch_fidelity)(path, torch.device(device))
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
        extractor = Extractor(f"{name} {path.name}", digest, resize, torch.device(device), body, classes)
        shape = extractor(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)).features.shape
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever readers of the formats, and networks for something else, may raise
        raise UserError(
            f"--inception {path} is neither weights as torch-fidelity has them nor TorchScript for (N, 3, 299, 299)"
        ) from None
    if len(shape) != 2:
        raise UserError(f"--inception {path} gives {tuple(shape)} for one image: a network for features gives (1, D)")
    return dataclasses.replace(extractor, dimensions=shape[1])


def find_inception(file: str | Path | None) -> Path | None:
    """The given file, or else the one in torch's cache, or None; never goes online.

    Raises:
        ValueError: if a file is given that is not there.
    """
    if file is not None:
        if not Path(file).is_file():
            raise UserError(f"--inception {file}: there is no such file")
        return Path(file)
    return next((path for path in map(_cache().joinpath, CACHED) if path.is_file()), None)


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download() -> Path:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = _cache() / CACHED[0]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=path.stem.split("-")[-1])
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"fid, kid, precision, recall and inception_score need a network: name it with --inception FILE, or put "
            f"{URL_INCEPTION_V3} into {path.parent} (downloading it failed: {error})"
        ) from None
    return path


Parts = tuple[str, Callable[[Tensor], Tensor], Tensor | None]  # name, body and classes of an Extractor


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _scripted(path: Path, device: torch.device) -> Parts:
    network = torch.jit.load(str(path), map_location=device).eval()
    if "return_features" not in str(network.forward.schema):
        return "TorchScript", network, None
    # NVIDIA's resizes in its forward, so that the layers within are called, as clean-fid does.
    return "NVIDIA's Inception", nn.Sequential(network.layers, nn.Flatten()), network.output.weight


def _torch_fidelity(path: Path, device: torch.device) -> Parts:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.load(path, map_location="cpu", weights_only=True)  # raises on a pickle of code, which the library would run
    with Undrawn():  # it would draw weights before it loads them
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    # Its forward takes uint8 only and resizes; it calls its children in order, the last of which tells the classes.
    *layers, classifier = network.to(device).children()
    # Without the bias, as the Inception Score was first published; so do torch-fidelity and NVIDIA.
    return "torch-fidelity's Inception", nn.Sequential(*layers, nn.Flatten()), classifier.weight


def _clean(images: Tensor) -> Tensor:
    """Pillow's bicubic on float channels, which antialiases (Parmar et al. 2022, arXiv 2104.11222); [0, 255]."""
    from PIL import Image

    channels = (Image.fromarray(channel) for channel in images.cpu().flatten(0, 1).float().numpy())
    resized = [np.asarray(channel.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for channel in channels]
    return torch.from_numpy(np.stack(resized)).view(len(images), -1, SIZE, SIZE).clamp(0, 255)


def _tf1(images: Tensor) -> Tensor:
    """TensorFlow 1's bilinear without antialiasing, by which FID was first published; [0, 255]. By torch-fidelity."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(SIZE, SIZE), align_corners=False)


RESIZE: dict[str, Callable[[Tensor], Tensor]] = {"clean": _clean, "tf1": _tf1}
