"""Feature matching: a generator whose images should look like real ones to the layers of the discriminator."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor], paired: bool) -> Tensor:
    """Compute the L1 distance between the features of fake and of real images (N, ...), averaged over the layers.

    Where images are `paired`, element by element (Wang et al. 2018, arXiv 1711.11585, section 3.2), else between the
    batches' means (Salimans et al. 2016, arXiv 1606.03498, section 3.1, there squared). The real are constants.
    """
    distances = [_distance(ours, theirs.detach(), paired) for ours, theirs in zip(fake, real, strict=True)]
    return torch.stack(distances).mean()


def _distance(fake: Tensor, real: Tensor, paired: bool) -> Tensor:
    return F.l1_loss(fake, real) if paired else F.l1_loss(fake.mean(dim=0), real.mean(dim=0))
