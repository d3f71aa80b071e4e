"""The replay pool: discriminators also see what the generator made a while ago."""

import torch
from torch import Tensor, nn

from i2i.errors import UserError


class ReplayPool(nn.Module):
    """Mix new fakes with up to `size` earlier ones (Shrivastava et al. 2017, arXiv 1612.07828, section 2.3).

    Its images are part of `state_dict`; its random choices come from torch's global CPU generator. Size 0 passes
    everything through. Raises ValueError for a negative size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 0:
            raise UserError(f"pool size {size} is negative: choose 0 for no pool, or 50 as CycleGAN does")
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Take (N, C, H, W) and give as many back, detached, on the same device.

        While the pool fills, an image is stored and returned. After that it is, one time in two, exchanged for a
        random stored one, and otherwise returned without being stored.
        """
        images = images.detach()
        if self.images and self.images[0].device != images.device:  # loaded from a checkpoint
            self.images = [image.to(images.device) for image in self.images]
        return images if self.size == 0 else torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        # A slice would keep its whole batch alive: clone what stays.
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if torch.rand(()).item() < 0.5:
            return image
        index = int(torch.randint(self.size, ()).item())
        stored, self.images[index] = self.images[index], image.clone()
        return stored

    def get_extra_state(self) -> list[Tensor]:
        return list(self.images)

    def set_extra_state(self, state: list[Tensor]) -> None:
        self.images = list(state)[: self.size]

    def extra_repr(self) -> str:
        return f"size={self.size}"
