"""Render images for display: classes in colours, chroma with its lightness, conditions side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from i2i.data.batch import normalise
from i2i.data.derive import lab_to_rgb
from i2i.data.domain import VOID, Domain
from i2i.data.images.writing import class_colours, classes_of


def displayed(pictures: dict[str, Tensor], a: Sequence[Domain], b: Sequence[Domain]) -> dict[str, Tensor]:
    """Labelled batches (N, C, H, W) in [-1, 1] of the domains `a` and `b` as pictures (N, 1, 3 or 4, H, W).

    Labels are coloured, several conditions go side by side, and chroma gets the lightness that is among `pictures`, or
    that of mid-grey. Of two channels red and green are made; of four without alpha, and of more, the first three are
    shown. A label like `fake_A`, and `real` by itself, is of domain a, any other of b.
    """
    domains = {name: a if name.endswith("_A") or name == "real" else b for name in pictures}
    lightness = next((images for name, images in pictures.items() if domains[name][0].kind == "lightness"), None)
    return {name: _side_by_side(images, domains[name], lightness) for name, images in pictures.items()}


def _side_by_side(images: Tensor, domains: Sequence[Domain], lightness: Tensor | None) -> Tensor:
    parts = images.float().split([domain.channels for domain in domains], dim=1)
    shown = [_picture(part, domain, lightness) for part, domain in zip(parts, domains, strict=True)]
    if len(shown) == 1:
        return shown[0]
    return torch.cat([part.expand(-1, 3, -1, -1) if part.shape[1] == 1 else part[:, :3] for part in shown], dim=3)


def _picture(images: Tensor, domain: Domain, lightness: Tensor | None) -> Tensor:
    if domain.is_labels:
        palette = normalise(torch.from_numpy(class_colours(max(domain.channels, VOID + 1)))).to(images.device)
        return palette[classes_of(images)].permute(0, 3, 1, 2)
    if domain.kind == "chroma":
        return lab_to_rgb(torch.zeros_like(images[:, :1]) if lightness is None else lightness.float(), images)
    if domain.channels == 2:
        return torch.cat([images, torch.full_like(images[:, :1], -1)], dim=1)
    return images if domain.in_png else images[:, :3]
