"""The classifier of a data set, trained once and kept in a file with its accuracy on the images held out."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock

from i2i.data.cache import user_cache_folder
from i2i.errors import UserError, file_errors
from i2i.random_state import SkipInit
from i2i.run import resolve_device
from i2i.tools.digits.classifier import FEATURES, Classifier, accuracy, classify, train_classifier
from i2i.tools.digits.labelled import Real
from i2i.training import checkpoint

log = logging.getLogger(__name__)

RECIPE = "strided convolutions, 3"  # another one for every change that makes other weights of the same data
GOOD = 0.99  # accuracy; a worse classifier's word on generated images says as much of itself


class TrainedClassifier(NamedTuple):
    """A classifier of real images, its accuracy on those held out, the digest of all that made it, and its file."""

    network: Classifier
    accuracy: float
    digest: str
    file: Path


def load_or_train_classifier(
    real: Real, *, file: Path | None = None, device: str = "auto", seed: int = 0
) -> TrainedClassifier:
    """The classifier of `real`: read from `file`, or trained on the images for training and saved there.

    Without `file` it lies in the user's cache folder, by the digest of the images and settings. A damaged file is
    trained anew.

    Raises:
        ValueError: if `file` holds the classifier of other images or settings.
    """
    digest = _digest(real, seed)
    path = file or user_cache_folder() / f"classifier-{digest}.pt"
    with file_errors("--classifier", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with file_errors("--classifier", path), FileLock(f"{path}.lock"):  # who comes second waits, and reads
        state = _load(path) if path.is_file() else None
        if state is None:
            state = _train(real, digest, seed, device)
            checkpoint.save(state, path)
    if state["digest"] != digest:
        raise UserError(f"--classifier {path} was trained on other images or settings: name another file, or none")
    network = _network(real)
    network.load_state_dict(state["network"])
    found = TrainedClassifier(network.to(resolve_device(device)), state["accuracy"], digest, path)
    log.info("classifier %s: %.2f %% of the real test images are right", path, 100 * found.accuracy)
    if found.accuracy < GOOD:
        log.warning("a classifier right about %.2f %% of real images is a weak judge", 100 * found.accuracy)
    return found


def _train(real: Real, digest: str, seed: int, device: str) -> dict[str, Any]:
    log.info("training a classifier on %d real images, once", len(real.train.labels))
    network = train_classifier(real.train, len(real.classes), seed=seed, device=resolve_device(device))
    right = accuracy(classify(network, real.test.images)[0], real.test.labels)
    return {"network": network.cpu().state_dict(), "accuracy": right, "digest": digest}


def _load(path: Path) -> dict[str, Any] | None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: state[name] for name in ("network", "accuracy", "digest")}
    except Exception as error:  # there is hardly a type that a damaged file does not raise
        log.warning("%s is damaged (%s): trained again", path, type(error).__name__)
        return None


def _network(real: Real) -> Classifier:
    channels, size = real.train.images.shape[1], real.train.images.shape[-1]
    with SkipInit():
        return Classifier(len(real.classes), size, channels)


def _digest(real: Real, seed: int) -> str:
    content = hashlib.blake2b(repr((RECIPE, FEATURES, real.classes, seed)).encode(), digest_size=8)
    for tensor in (*real.train, *real.test):
        content.update(repr(tuple(tensor.shape)).encode())
        content.update(tensor.contiguous().numpy().data)
    return content.hexdigest()
