"""How far sets of images lie apart, by their features and by their pixels."""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 3
PRECISION_BATCH = 2000  # rows of a table of distances that are in memory at a time
PIXEL_BATCH = 500


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """The Fréchet distance between the Gaussians of (N, D) and (M, D) features (Heusel et al. 2017, arXiv 1706.08500).

    It falls with N and M, which have to be named beside it. By torch-fidelity.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(rows.double()) for rows in (features, others))
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """The shares of generated features (N, D) near real ones (M, D), and of real ones near generated ones.

    Near is within the distance to the third neighbour among its own kind (Kynkäänniemi et al. 2019, arXiv 1904.06991).
    By torch-fidelity.
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": PRECISION_BATCH, "save_cpu_ram": True}
    found = prc_features_to_metric(generated, real, verbose=False, **settings)
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def diversity(features: Tensor, groups: Tensor) -> float:
    """The mean distance between two features (N, D) of the same group (N,), as a mean over the groups."""
    return torch.stack([torch.pdist(features[groups == group]).mean() for group in groups.unique()]).mean().item()


def nearest(images: Tensor, training: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The L2 distances (N,) of images or features to the nearest of `training`, and its rows (N,).

    Images are uint8 (N, C, H, W), which are scaled to [0, 1], features float (N, D).
    """
    others = _vectors(training, device)
    # The table of distances is made of products, which are too coarse to show a copy: its distance is taken again.
    rows = torch.cat([torch.cdist(_vectors(part, device), others).argmin(dim=1) for part in images.split(PIXEL_BATCH)])
    rows = rows.cpu()
    return (_vectors(images, "cpu") - _vectors(training[rows], "cpu")).norm(dim=1), rows


def _vectors(rows: Tensor, device: torch.device | str) -> Tensor:
    vectors = rows.to(device).flatten(1)
    return vectors.float() / 255 if rows.dtype == torch.uint8 else vectors
