"""Distances between two sets of images, computed from the features of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 3
PRECISION_BATCH = 2000  # rows of the distance matrix that are in memory at a time
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # Bińkowski et al. 2018
SPLIT, MAX_SPLITS = 5000, 10  # the Inception Score was published with ten splits of 5,000 images


class Features(NamedTuple):
    """Features (N, D) of images and, if the network is a classifier, class probabilities (N, K); float32 on the CPU."""

    features: Tensor
    probabilities: Tensor | None

    def take(self, rows: Tensor) -> Features:
        """Return the features of some rows."""
        return Features(self.features[rows], None if self.probabilities is None else self.probabilities[rows])

    @classmethod
    def join(cls, parts: list[Features]) -> Features:
        """Concatenate the features of several batches."""
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return cls(torch.cat([part.features for part in parts]), torch.cat(probabilities) if probabilities else None)


def on_features(distance: Callable[[Tensor, Tensor], float]) -> Callable[[Features, Features], float]:
    """Turn a function of feature tensors (N, D) and (M, D) into one of two `Features`."""
    return lambda generated, real: distance(generated.features, real.features)


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Return the Fréchet distance between Gaussians fitted to (N, D) and (M, D) features, by torch-fidelity.

    N and M are at least 2. The expected distance decreases with N and M, so always report them with it. Negative values
    from rounding become 0 (Heusel et al. 2017, arXiv 1706.08500).
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(rows.double()) for rows in (features, others))
    return max(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID], 0.0)


def frechet_distance_of_few(features: Tensor, others: Tensor) -> float:
    """Return the Fréchet distance from a matrix (N, M) instead of (D, D), which is much faster for small N and M.

    The trace of the square root of the product of two covariances equals the sum of the singular values of
    X Y^T / sqrt((N - 1) (M - 1)) for centred rows X and Y.
    """
    mean, other = features.mean(dim=0), others.mean(dim=0)
    first, second = (features - mean) / math.sqrt(len(features) - 1), (others - other) / math.sqrt(len(others) - 1)
    traces = first.square().sum() + second.square().sum() - 2 * torch.linalg.svdvals(first @ second.T).sum()
    return ((mean - other).square().sum() + traces).item()


def kernel_distance(features: Tensor, others: Tensor, seed: int = 0) -> float:
    """Return the squared MMD of (N, D) and (M, D) features under the cubic kernel, by torch-fidelity.

    It is the mean over 100 subsets of min(1000, N, M) rows, which `seed` chooses. The estimate is unbiased for any N
    and M, so it may be negative (Bińkowski et al. 2018, arXiv 1801.01401).
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(KID_SUBSET_SIZE, len(features), len(others))
    subsets = 1 if size == len(features) == len(others) else KID_SUBSETS  # all subsets would be the same
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed}
    return kid_features_to_metric(features.double(), others.double(), verbose=False, **settings)[KEY_METRIC_KID_MEAN]


def kernel_distance_of_all(features: Tensor, others: Tensor) -> float:
    """Return the squared MMD from all rows at once, for N, M >= 2 (Gretton et al. 2012, JMLR 13, lemma 6)."""

    def kernel(rows: Tensor, columns: Tensor) -> Tensor:
        return (rows @ columns.T / rows.shape[1] + 1) ** 3

    def within(rows: Tensor) -> Tensor:
        return kernel(rows, rows).fill_diagonal_(0).sum() / (len(rows) * (len(rows) - 1))

    return (within(features) + within(others) - 2 * kernel(features, others).mean()).item()


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Return the share of generated features (N, D) close to real ones (M, D), and vice versa, by torch-fidelity.

    A feature is close if it lies within the distance of any feature of the other set to that one's third nearest
    neighbour in its own set (Kynkäänniemi et al. 2019, arXiv 1904.06991).
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": PRECISION_BATCH, "save_cpu_ram": True}
    found = prc_features_to_metric(generated, real, verbose=False, **settings)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(probabilities: Tensor) -> float:
    """Return the Inception Score of class probabilities (N, K), between 1 and K, by torch-fidelity.

    It is the mean over at most ten splits of 5,000 images or more, which a fixed seed chooses (Salimans et al. 2016,
    arXiv 1606.03498).
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    splits = min(max(len(probabilities) // SPLIT, 1), MAX_SPLITS)
    logits = probabilities.double().clamp_min(torch.finfo(torch.float64).tiny).log()
    return isc_features_to_metric(logits, splits=splits)[KEY_METRIC_ISC_MEAN]
