"""Feature networks for metrics of sets of images: Inception, or any TorchScript file."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from i2i.config import check_choice
from i2i.errors import UserError
from i2i.metrics.distribution import Features
from i2i.metrics.lpips import file_digest
from i2i.random_state import SkipInit

SIZE = 299
BATCH = 32
# Names of the file in torch's cache, by library: torch-fidelity and torchmetrics, pytorch-fid, NVIDIA and clean-fid.
CACHED = (
    "weights-inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
    "inception-2015-12-05.pt",
)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A feature network. `digest` is the SHA-256 of its file (16 digits), `resize` a key of RESIZE."""

    name: str
    digest: str
    resize: str
    device: torch.device
    body: Callable[[Tensor], Tensor]  # (N, 3, 299, 299) in [-1, 1) to (N, D)
    classes: Tensor | None  # (K, D): its inner products with features are logits
    dimensions: int = 0  # D

    @property
    def has_classes(self) -> bool:
        """True if the network gives class probabilities, for the Inception Score."""
        return self.classes is not None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        """Return the features of uint8 images (N, C, H, W) for any N; grey is repeated, alpha is dropped."""
        # Training may have enabled autocast; kernels that torch.jit fuses depend on the sizes seen so far.
        with torch.autocast(self.device.type, enabled=False), torch.jit.optimized_execution(False):
            parts = [self.body(self._prepare(part)).float() for part in images.split(BATCH)]
            features = torch.cat(parts)
            probabilities = None if self.classes is None else (features @ self.classes.T).softmax(dim=1).cpu()
        return Features(features.cpu(), probabilities)

    def _prepare(self, images: Tensor) -> Tensor:
        channels = images[:, : 3 if images.shape[1] > 2 else 1]
        resized = RESIZE[self.resize](channels).expand(-1, 3, -1, -1).to(self.device)
        return (resized - 128) / 128  # the scaling that Inception was trained with


def load_extractor(file: str | Path | None, resize: str = "clean", device: torch.device | str = "cpu") -> Extractor:
    """Load torch-fidelity's Inception weights, NVIDIA's or any other TorchScript network (N, 3, 299, 299) -> (N, D).

    Without a file, use the one in torch's cache, or download it.

    Raises:
        UserError: if there is no file and no download, or the file is none of these.
    """
    check_choice("inception_resize", resize, tuple(RESIZE))
    path = find_inception(file) or _download()
    try:
        name, body, classes = (_scripted if _is_torchscript(path) else _torch_fidelity)(path, torch.device(device))
        extractor = Extractor(f"{name} {path.name}", file_digest(path), resize, torch.device(device), body, classes)
        shape = extractor(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)).features.shape
    except torch.OutOfMemoryError:
        raise
    except Exception:  # other files and networks may raise nearly anything
        raise UserError(
            f"--inception {path} is neither weights of torch-fidelity nor a TorchScript network for (N, 3, 299, 299)"
        ) from None
    if len(shape) != 2:
        raise UserError(f"--inception {path} returns {tuple(shape)} for one image instead of features (1, D)")
    return dataclasses.replace(extractor, dimensions=shape[1])


def find_inception(file: str | Path | None) -> Path | None:
    """Return the given file, or else the one in torch's cache, or None; downloads nothing.

    Raises:
        UserError: if the given file does not exist.
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
            "fid, kid, precision, recall and inception_score need a feature network: name it with --inception FILE, or "
            f"put {URL_INCEPTION_V3} into {path.parent} (downloading it failed: {error})"
        ) from None
    return path


Network = tuple[str, Callable[[Tensor], Tensor], Tensor | None]  # name, body and classes of an Extractor


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _scripted(path: Path, device: torch.device) -> Network:
    network = torch.jit.load(str(path), map_location=device).eval()
    if "return_features" not in str(network.forward.schema):
        return "TorchScript", network, None
    # NVIDIA's forward resizes, so call the layers inside it, as clean-fid does.
    return "NVIDIA's Inception", nn.Sequential(network.layers, nn.Flatten()), network.output.weight


def _torch_fidelity(path: Path, device: torch.device) -> Network:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.load(path, map_location="cpu", weights_only=True)  # refuse pickled code, which the library would run
    with SkipInit():  # do not draw random initial weights
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    # Its forward takes uint8 only and resizes. It calls its children in order; the last one is the classifier.
    *layers, classifier = network.to(device).children()
    # Without the bias, as the Inception Score was first published, and as torch-fidelity and NVIDIA do.
    return "torch-fidelity's Inception", nn.Sequential(*layers, nn.Flatten()), classifier.weight


def _clean(images: Tensor) -> Tensor:
    """Resize by Pillow's antialiased bicubic filter on float channels (Parmar et al. 2022, arXiv 2104.11222)."""
    from PIL import Image

    channels = (Image.fromarray(channel) for channel in images.cpu().flatten(0, 1).float().numpy())
    resized = [np.asarray(channel.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for channel in channels]
    return torch.from_numpy(np.stack(resized)).view(len(images), -1, SIZE, SIZE).clamp(0, 255)


def _tf1(images: Tensor) -> Tensor:
    """Resize as TensorFlow 1 does, bilinear without antialiasing, as FID was first published; by torch-fidelity."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(SIZE, SIZE), align_corners=False)


# From uint8 (N, C, H, W) to float (N, C, 299, 299) in [0, 255].
RESIZE: dict[str, Callable[[Tensor], Tensor]] = {"clean": _clean, "tf1": _tf1}
