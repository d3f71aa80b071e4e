"""The U-Net generator of Pix2Pix (Isola et al. 2017, arXiv 1611.07004, section 3.2.1)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks.blocks import (
    chosen_features,
    conv_block,
    dropout_layer,
    norm_layer,
    pad_to_multiple,
    upsampling_layer,
)
from i2i.networks.layers import Conv2d


class UNetGenerator(nn.Module):
    """Translate (N, in_channels, H, W) to (N, out_channels, H, W) in [-1, 1], for any H and W.

    `num_downs` halvings to at most 8 * `filters` channels and as many doublings, each of which also sees the map of
    its size on the way down. Sizes that are no multiple of 2**num_downs are continued by reflection at the bottom and
    right, and the result is cropped back. `dropout` applies from the fifth level on, save the innermost.
    Raises ValueError for an unknown `norm` or `upsample` and for `num_downs` below 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "deconv",
        num_downs: int = 8,
    ) -> None:
        super().__init__()
        if num_downs < 2:
            raise UserError(f"num_downs {num_downs} is too small for a U-Net: choose 2 or more")
        self.multiple = 2**num_downs
        bias = norm != "batch"
        widths = [filters * min(2**level, 8) for level in range(num_downs)]
        self.down = nn.ModuleList(
            _down(level, [in_channels, *widths], norm if 0 < level < num_downs - 1 else "none", bias)
            for level in range(num_downs)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    activation=nn.ReLU(inplace=True),
                    conv=upsampling_layer(upsample, _arriving(level, widths), widths[level - 1], bias, kernel_size=4),
                    norm=norm_layer(norm, widths[level - 1]),
                    dropout=dropout_layer(dropout and 4 <= level < num_downs - 1),
                )
            )
            for level in reversed(range(1, num_downs))
        )
        head = upsampling_layer(upsample, 2 * filters, out_channels, bias=True, kernel_size=4)
        self.head = nn.Sequential(OrderedDict(activation=nn.ReLU(inplace=True), conv=head, output=nn.Tanh()))

    @property
    def encoder(self) -> list[nn.Module]:
        """The downsampling layers, which `--freeze generator.encoder` names."""
        return list(self.down)

    def forward(self, image: Tensor, features: Sequence[int] = ()) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return the image; with `features` also the outputs of the layers of these numbers, counted from the input."""
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.multiple)
        skips: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        maps = [skip.clone() for skip in skips] if features else []  # the next layer's ReLU works in place
        x = skips.pop()
        for layer in self.up:
            x = torch.cat([skips.pop(), layer(x)], dim=1)
            if features:
                maps.append(x.clone())
        output = self.head(x)[..., :height, :width]
        return (output, chosen_features(dict(enumerate(maps)), features)) if features else output


def _down(level: int, channels: list[int], norm: str, bias: bool) -> nn.Sequential:
    """Halve the map; the innermost result stays unactivated, as the ReLU of the way up comes next."""
    inner, outer = channels[level], channels[level + 1]
    innermost = level == len(channels) - 2
    activation = nn.Identity() if innermost else nn.LeakyReLU(0.2, inplace=True)
    return conv_block(Conv2d(inner, outer, 4, stride=2, padding=1, bias=bias), norm_layer(norm, outer), activation)


def _arriving(level: int, widths: list[int]) -> int:
    """Count the channels that a level of the way up receives: its own and, but for the innermost, those from below."""
    return widths[level] if level == len(widths) - 1 else 2 * widths[level]
