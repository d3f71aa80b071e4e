"""Directions of latents: those that a generator amplifies most, and those along which an attribute grows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2i.errors import UserError

RIDGE = 0.01  # of a standardised latent's variance; learned latents have entries that nearly repeat each other
FOLDS = 5  # one sample of so many in each class is held out


class Fit(NamedTuple):
    """A direction (L) of unit length along which an attribute grows, and how well held-out samples obey it."""

    direction: np.ndarray
    r2: float
    correlation: float
    held_out: int


def sefa(weights: Tensor, count: int) -> Tensor:
    """The `count` directions (count, L) of unit length that a matrix (M, L) lengthens most, the first the most.

    They are the eigenvectors of A^T A with the largest eigenvalues (Shen & Zhou 2021, arXiv 2007.06600, eq. 5), which
    are the right singular vectors of A. Of the two signs they have the one that makes the largest entry positive.

    Raises:
        ValueError: if the matrix has not so many.
    """
    if not 1 <= count <= min(weights.shape):
        raise UserError(f"--count {count}: this generator's latents have 1 to {min(weights.shape)} directions")
    directions = torch.linalg.svd(weights.double(), full_matrices=False).Vh[:count]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).float()


def fit(name: str, latents: np.ndarray, labels: np.ndarray, values: np.ndarray) -> Fit:
    """Regress an attribute `values` (N) on latents (N, L) within classes `labels` (N), by ridge least squares.

    The classes' means are taken off both, so that nothing is learned or won by telling classes apart. Those means, and
    the direction, come from the samples that are not held out.

    Raises:
        ValueError: if there are too few samples, or the attribute is the same in all.
    """
    held_out = _held_out(labels)
    if held_out.sum() < 2:
        raise UserError(f"{name}: {len(values)} samples are too few; {FOLDS} of a class make one to judge by")
    x, y = (_within_classes(array.astype(np.float64), labels, ~held_out) for array in (latents, values))
    if np.ptp(y[~held_out]) < 1e-8 or np.ptp(y[held_out]) < 1e-8:
        raise UserError(f"{name} is the same in all samples of a class: there is nothing to fit")
    slopes = _ridge(x[~held_out], y[~held_out])
    predicted, truth = x[held_out] @ slopes, y[held_out]
    r2 = 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    correlation = np.corrcoef(truth, predicted)[0, 1]
    return Fit(slopes / np.linalg.norm(slopes), float(r2), float(correlation), int(held_out.sum()))


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slopes (L) of y (N) along x (N, L), both around 0; the entries of x are standardised for the penalty."""
    scale = np.maximum(x.std(axis=0), 1e-8)
    penalty = np.sqrt(RIDGE * len(x)) * np.eye(x.shape[1])
    augmented = np.vstack([x / scale, penalty]), np.concatenate([y, np.zeros(x.shape[1])])
    return np.linalg.lstsq(*augmented, rcond=None)[0] / scale


def _held_out(labels: np.ndarray) -> np.ndarray:
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held_out[np.flatnonzero(labels == label)[FOLDS - 1 :: FOLDS]] = True
    return held_out


def _within_classes(array: np.ndarray, labels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """`array` (N, ...) less the mean of each class over the rows that are `used`."""
    means = {label: array[used & (labels == label)].mean(axis=0) for label in np.unique(labels)}
    return array - np.stack([means[label] for label in labels])


def deviations(directions: Tensor, latents: Tensor, labels: Tensor) -> Tensor:
    """Standard deviations (K) of latents (N, L) along directions (K, L), within classes `labels` (N)."""
    along = (latents @ directions.T).double()
    squares = torch.zeros(len(directions), dtype=along.dtype, device=along.device)
    for label in labels.unique():
        squares += (along[labels == label] - along[labels == label].mean(dim=0)).square().sum(dim=0)
    return (squares / len(latents)).sqrt().float()
