"""How far two sets of images lie apart, by their features."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from i2i.errors import UserError
from i2i.metrics.extractor import Features

NEIGHBOURS = 3
PRECISION_BATCH = 2000  # rows of a table of distances that are in memory at a time
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # Bińkowski et al. 2018
SPLIT, MAX_SPLITS = 5000, 10  # the Inception Score was published on ten parts of 50,000 images
LEAST = {"fid": 2, "kid": 2, "precision": NEIGHBOURS + 1, "recall": NEIGHBOURS + 1, "inception_score": 1}


def feature_values(names: Iterable[str], fake: Features, real: Features) -> dict[str, float]:
    """The metrics of `names` between generated and real images; inception_score looks at the generated ones alone.

    Raises:
        ValueError: if there are too few images for one of them, or no class probabilities for inception_score.
    """
    names = tuple(names)
    check_features(names, fake, real)
    values: dict[str, float] = {}
    if "fid" in names:
        values["fid"] = frechet_distance(fake.features, real.features)
    if "kid" in names:
        values["kid"] = kernel_distance(fake.features, real.features)
    if "precision" in names or "recall" in names:
        values["precision"], values["recall"] = precision_recall(fake.features, real.features)
    if "inception_score" in names and fake.probabilities is not None:
        values["inception_score"] = inception_score(fake.probabilities)
    return {name: values[name] for name in names}


def check_features(names: Iterable[str], fake: Features, real: Features) -> None:
    """Raise ValueError for fewer images than a metric can be computed of, or without the probabilities it needs."""
    for name in names:
        for which, found in (("generated", len(fake.features)), ("real", len(real.features))):
            if found < LEAST[name]:
                raise UserError(f"{name} needs {LEAST[name]} images on each side at least, there are {found} {which}")
        if name == "inception_score" and fake.probabilities is None:
            raise UserError("inception_score needs a network that names classes, this --inception has features only")


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """The Fréchet distance between the Gaussians of (N, D) and (M, D) features (Heusel et al. 2017, arXiv 1706.08500).

    It falls with N and M, which have to be named beside it; both are 2 at least. By torch-fidelity; what its rounding
    brings below 0 is 0.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(rows.double()) for rows in (features, others))
    return max(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID], 0.0)


def frechet_distance_of_few(features: Tensor, others: Tensor) -> float:
    """The same by a table (N, M) instead of (D, D), in a fraction of the time if N and M are small.

    The trace of the root of the product of two covariances is the sum of the singular values of X Y^T / sqrt((N - 1)
    (M - 1)), of centred rows X and Y.
    """
    mean, other = features.mean(dim=0), others.mean(dim=0)
    first, second = (features - mean) / math.sqrt(len(features) - 1), (others - other) / math.sqrt(len(others) - 1)
    traces = first.square().sum() + second.square().sum() - 2 * torch.linalg.svdvals(first @ second.T).sum()
    return ((mean - other).square().sum() + traces).item()


def kernel_distance(features: Tensor, others: Tensor, seed: int = 0) -> float:
    """The squared MMD of (N, D) and (M, D) features under the cubic kernel (Bińkowski et al. 2018, arXiv 1801.01401).

    Without bias at any N and M, so that it may be negative. The mean over 100 subsets of min(1000, N, M) rows that
    `seed` chooses. By torch-fidelity.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(KID_SUBSET_SIZE, len(features), len(others))
    subsets = 1 if size == len(features) == len(others) else KID_SUBSETS  # all subsets are the same
    settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": seed}
    return kid_features_to_metric(features.double(), others.double(), verbose=False, **settings)[KEY_METRIC_KID_MEAN]


def kernel_distance_of_all(features: Tensor, others: Tensor) -> float:
    """The same, of all rows at once, for any N and M of 2 at least (Gretton et al. 2012, JMLR 13, lemma 6)."""

    def kernel(rows: Tensor, columns: Tensor) -> Tensor:
        return (rows @ columns.T / rows.shape[1] + 1) ** 3

    def within(rows: Tensor) -> Tensor:
        return kernel(rows, rows).fill_diagonal_(0).sum() / (len(rows) * (len(rows) - 1))

    return (within(features) + within(others) - 2 * kernel(features, others).mean()).item()


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """The shares of generated features (N, D) near real ones (M, D), and of real ones near generated ones.

    Near is within the distance to the third neighbour among its own kind (Kynkäänniemi et al. 2019, arXiv 1904.06991).
    By torch-fidelity.
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": PRECISION_BATCH, "save_cpu_ram": True}
    found = prc_features_to_metric(generated, real, verbose=False, **settings)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(probabilities: Tensor) -> float:
    """How sure and how varied class probabilities (N, K) are, from 1 to K (Salimans et al. 2016, arXiv 1606.03498).

    A mean over parts of 5,000 images or more, at most ten as published, chosen by a fixed seed. By torch-fidelity.
    """
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    splits = min(max(len(probabilities) // SPLIT, 1), MAX_SPLITS)
    logits = probabilities.double().clamp_min(torch.finfo(torch.float64).tiny).log()
    return isc_features_to_metric(logits, splits=splits)[KEY_METRIC_ISC_MEAN]
