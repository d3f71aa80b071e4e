"""The ResNet generator of CycleGAN (Zhu et al. 2017, arXiv 1703.10593, appendix 7.2), after Johnson et al. 2016."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from i2i.networks.blocks import (
    chosen_features,
    conv_block,
    dropout_layer,
    norm_layer,
    pad_to_multiple,
    upsampling_layer,
)
from i2i.networks.layers import Conv2d, ReflectionPad


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input; keeps the shape (N, C, H, W)."""

    def __init__(self, channels: int, norm: str, dropout: bool, bias: bool) -> None:
        super().__init__()
        self.pad = ReflectionPad(1)
        self.conv1 = Conv2d(channels, channels, 3, bias=bias)
        self.norm1 = norm_layer(norm, channels)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = dropout_layer(dropout)
        self.conv2 = Conv2d(channels, channels, 3, bias=bias)
        self.norm2 = norm_layer(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.norm1(self.conv1(self.pad(x)))))
        return x + self.norm2(self.conv2(self.pad(hidden)))


class ResNetGenerator(nn.Module):
    """Translate (N, in_channels, H, W) to (N, out_channels, H, W) in [-1, 1], for any H and W.

    Two downsamplings, `num_blocks` residual blocks at 4 * `filters` channels, two upsamplings. Sizes that are no
    multiple of 4 are continued by reflection at the bottom and right, and the result is cropped back.
    Raises ValueError for an unknown `norm` or `upsample`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "deconv",
        num_blocks: int = 9,
    ) -> None:
        super().__init__()
        bias = norm != "batch"
        stem = Conv2d(in_channels, filters, 7, bias=bias)
        self.stem = conv_block(stem, norm_layer(norm, filters), nn.ReLU(inplace=True), padding=3)
        self.down = nn.ModuleList(
            conv_block(
                Conv2d(inner, 2 * inner, 3, stride=2, padding=1, bias=bias),
                norm_layer(norm, 2 * inner),
                nn.ReLU(inplace=True),
            )
            for inner in (filters, 2 * filters)
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * filters, norm, dropout, bias) for _ in range(num_blocks))
        self.up = nn.ModuleList(
            conv_block(
                upsampling_layer(upsample, 2 * outer, outer, bias, kernel_size=3),
                norm_layer(norm, outer),
                nn.ReLU(inplace=True),
            )
            for outer in (2 * filters, filters)
        )
        head = Conv2d(filters, out_channels, 7)
        self.head = nn.Sequential(OrderedDict(pad=ReflectionPad(3), conv=head, activation=nn.Tanh()))

    @property
    def encoder(self) -> list[nn.Module]:
        """The downsampling layers, which `--freeze generator.encoder` names."""
        return [self.stem, *self.down]

    def forward(self, image: Tensor, features: Sequence[int] = ()) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return the image; with `features` also the outputs of the layers of these numbers, counted from the input."""
        height, width = image.shape[-2:]
        # From 8x8 on the innermost maps are 2x2 or larger, which reflection and instance norm both need.
        x = pad_to_multiple(image, multiple=4, minimum=8)
        maps: dict[int, Tensor] = {}
        for number, layer in enumerate((self.stem, *self.down, *self.blocks, *self.up)):
            x = layer(x)
            if features:
                maps[number] = x
        output = self.head(x)[..., :height, :width]
        return (output, chosen_features(maps, features)) if features else output
