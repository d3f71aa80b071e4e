"""Augmentation of the discriminator's input, for small data sets: DiffAugment and ADA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2i.networks.blocks import choose

IMAGES_TO_FULL = 500_000  # real images in which p may rise from 0 to 1; it moves every 4 minibatches (ADA, section 3)
CALLS_PER_MOVE = 4


def color(images: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation (of 3 channels) by 0 to 2, contrast by 0.5 to 1.5 (DiffAugment)."""
    # Not by kornia.enhance, which clips to [0, 1]: clipped values have no gradient, and the paper does not clip.
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    images = images + (brightness - 0.5)
    if images.shape[1] == 3:
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, 2 * saturation)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast + 0.5)


def translation(images: Tensor) -> Tensor:
    """Shift by whole pixels, up to 1/8 of height and width, filling with zeros (DiffAugment)."""
    for dim in (2, 3):
        size = images.shape[dim]
        limit = int(size / 8 + 0.5)
        shift = torch.randint(-limit, limit + 1, (len(images), 1), device=images.device)
        source = torch.arange(size, device=images.device) - shift
        inside = (source >= 0) & (source < size)
        index, inside = (along(values, dim).expand_as(images) for values in (source % size, inside))
        images = images.gather(dim, index) * inside
    return images


def cutout(images: Tensor) -> Tensor:
    """Set a rectangle of half the height and width, centred anywhere in the image, to zero (DiffAugment)."""
    covered = torch.ones((), dtype=torch.bool, device=images.device)
    for dim in (2, 3):
        size = images.shape[dim]
        side = int(size / 2 + 0.5)
        centre = torch.randint(0, size + 1 - side % 2, (len(images), 1), device=images.device)
        place = torch.arange(size, device=images.device) - centre + side // 2
        covered = covered & along((place >= 0) & (place < side), dim)
    return images * ~covered


def flip(images: Tensor) -> Tensor:
    """Mirror horizontally with probability 1/2 (ADA)."""
    return torch.where(torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images)


def rotate90(images: Tensor) -> Tensor:
    """Rotate by a multiple of 90 degrees, or of 180 if height and width differ (ADA)."""
    step = 1 if images.shape[2] == images.shape[3] else 2
    turns = step * torch.randint(0, 4 // step, (len(images), 1, 1, 1), device=images.device)
    turned = images
    for number in range(step, 4, step):
        turned = torch.where(turns == number, images.rot90(number, (2, 3)), turned)
    return turned


def scale(images: Tensor) -> Tensor:
    """Scale by 2**s, s normal with standard deviation 0.2, filling with zeros (ADA)."""
    factor = torch.exp2(0.2 * torch.randn(len(images), device=images.device))
    return warped(images, torch.zeros_like(factor), factor)


def rotation(images: Tensor) -> Tensor:
    """Rotate by any angle, filling with zeros (ADA, which does it twice)."""
    angle = 360 * torch.rand(len(images), device=images.device) - 180
    return warped(images, angle, torch.ones_like(angle))


def warped(images: Tensor, angle: Tensor, factor: Tensor) -> Tensor:
    """Rotate each image by its `angle` (N,) in degrees and scale it by its `factor` (N,), about its centre."""
    from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

    height, width = images.shape[2:]
    centre = torch.stack([torch.full_like(angle, (side - 1) / 2) for side in (width, height)], dim=1)
    matrix = get_rotation_matrix2d(centre, angle, factor[:, None].expand(-1, 2))
    return warp_affine(images, matrix, (height, width), padding_mode="zeros", align_corners=True)


def along(values: Tensor, dim: int) -> Tensor:
    """Reshape (N, size), values by row or by column, to broadcast along `dim` of (N, C, H, W)."""
    return values[:, None, :, None] if dim == 2 else values[:, None, None, :]


# Geometric changes are the same for all images of a sample; colours change in each image independently.
COLORS: dict[str, Callable[[Tensor], Tensor]] = {"color": color}
PLACES: dict[str, Callable[[Tensor], Tensor]] = {
    "translation": translation,
    "cutout": cutout,
    "flip": flip,
    "rotate90": rotate90,
    "scale": scale,
    "rotation": rotation,
}
AUGMENTATIONS = COLORS | PLACES
ADAPTIVE_POLICY = ("flip", "rotate90", "translation", "scale", "rotation", "color")  # in the order of ADA's pipeline


class DiscriminatorAugment(nn.Module):
    """Random differentiable changes of (N, C, H, W), drawn for each sample: those in `policy`, in that order.

    DiffAugment (Zhao et al. 2020, arXiv 2006.10738) and the geometric part of ADA (Karras et al. 2020, arXiv
    2006.06676, appendix B); names from AUGMENTATIONS can be combined. Images are expected in about [-1, 1].

    Args:
        channels: of the images that lie one after the other in C, such as (3, 3) for a pair of colour images.
        target: apply each change with probability `p`, which starts at 0 and adapts so that the mean sign of the logits
            of real images approaches `target`. None applies every change.
        images_to_full: number of real images in which `p` can rise from 0 to 1.

    Raises:
        UserError: for an unknown name in `policy`.
    """

    p: Tensor
    sign_sum: Tensor
    images: Tensor
    calls: Tensor

    def __init__(
        self,
        policy: Sequence[str],
        channels: Sequence[int],
        target: float | None = None,
        images_to_full: int = IMAGES_TO_FULL,
    ) -> None:
        super().__init__()
        for name in policy:
            choose("augmentation", name, AUGMENTATIONS)
        self.policy, self.channels = tuple(policy), list(channels)
        self.target, self.images_to_full = target, images_to_full
        if target is not None:
            for buffer in ("p", "sign_sum", "images", "calls"):
                self.register_buffer(buffer, torch.zeros(()))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # A run may be continued with or without `target`, however it was saved.
        own = {prefix + name: buffer for name, buffer in self.named_buffers()}
        for name in [name for name in state_dict if name.startswith(prefix) and name not in own]:
            del state_dict[name]
        state_dict.update({name: buffer for name, buffer in own.items() if name not in state_dict})
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def forward(self, images: Tensor) -> Tensor:
        changed = images
        # Pixel positions are computed by matrix products, for which bf16 is too coarse.
        with torch.autocast(images.device.type, enabled=False):
            for name in self.policy:
                if name in COLORS:
                    parts = changed.float().split(self.channels, dim=1)
                    changed = torch.cat([self.sometimes(COLORS[name], part) for part in parts], dim=1)
                else:
                    changed = self.sometimes(PLACES[name], changed.float())
        return changed.to(images.dtype)

    def sometimes(self, change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Apply `change` to each sample with probability `p`."""
        if self.target is None:
            return change(images)
        picked = torch.rand(len(images), 1, 1, 1, device=images.device) < self.p
        return torch.where(picked, change(images), images)

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Take in logits (N, ...) of real images, positive for "real"; every fourth call moves `p` (ADA, section 3).

        A mean sign above `target` means that the discriminator overfits to the real images: `p` rises.
        """
        if self.target is None:
            return
        self.sign_sum += real_logits.float().sign().mean() * len(real_logits)
        self.images += len(real_logits)
        self.calls += 1
        due = self.calls == CALLS_PER_MOVE
        direction = (self.sign_sum / self.images - self.target).sign()
        self.p += due * direction * self.images / self.images_to_full
        self.p.clamp_(0, 1)
        for total in (self.sign_sum, self.images, self.calls):
            total.mul_(~due)
