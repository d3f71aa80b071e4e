"""Names of our networks' layers in the reference implementation (junyanz/pytorch-CycleGAN-and-pix2pix)."""

from collections.abc import Iterator

from torch import nn

from i2i.errors import UserError
from i2i.networks.patchgan import PatchGAN, PixelDiscriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.unet import UNetGenerator

_PIXEL_NAMES = {"layers.0.conv": "net.0", "layers.1.conv": "net.2", "layers.1.norm": "net.3", "head": "net.5"}


def reference_keys(network: nn.Module) -> dict[str, str]:
    """Map every key of the network's state dict to the reference's; raises ValueError for one it does not have."""
    names = dict(_module_names(network))
    split = (key.rpartition(".") for key in network.state_dict())
    return {f"{module}.{tensor}": f"{names[module]}.{tensor}" for module, _, tensor in split}


def _module_names(network: nn.Module) -> Iterator[tuple[str, str]]:
    if isinstance(network, ResNetGenerator):
        yield from _resnet_names(network)
    elif isinstance(network, UNetGenerator):
        yield from _unet_names(len(network.down))
    elif isinstance(network, PatchGAN):
        yield from _patchgan_names(len(network.layers))
    elif isinstance(network, PixelDiscriminator):
        yield from _PIXEL_NAMES.items()
    else:
        raise UserError(f"the reference has no {type(network).__name__}: only resnet, unet, basic, n_layers and pixel")


def _patchgan_names(count: int) -> Iterator[tuple[str, str]]:
    yield "layers.0.conv", "model.0"
    for i in range(1, count):
        yield f"layers.{i}.conv", f"model.{3 * i - 1}"
        yield f"layers.{i}.norm", f"model.{3 * i}"
    yield "head", f"model.{3 * count - 1}"


def _resnet_names(network: ResNetGenerator) -> Iterator[tuple[str, str]]:
    second = 6 if isinstance(network.blocks[0].dropout, nn.Dropout) else 5
    after = 10 + len(network.blocks)
    for part, index in {"stem": 1, "down.0": 4, "down.1": 7, "up.0": after, "up.1": after + 3}.items():
        yield f"{part}.conv", f"model.{index}"
        yield f"{part}.norm", f"model.{index + 1}"
    for i in range(len(network.blocks)):
        for name, index in {"conv1": 1, "norm1": 2, "conv2": second, "norm2": second + 1}.items():
            yield f"blocks.{i}.{name}", f"model.{10 + i}.conv_block.{index}"
    yield "head.conv", f"model.{after + 7}"


def _unet_names(num_downs: int) -> Iterator[tuple[str, str]]:
    yield "down.0.conv", "model.model.0"
    for level in range(1, num_downs):
        place = unet_level(level)
        innermost = level == num_downs - 1
        up = f"up.{num_downs - 1 - level}"
        yield f"down.{level}.conv", f"{place}.1"
        yield f"down.{level}.norm", f"{place}.2"
        yield f"{up}.conv", f"{place}.{3 if innermost else 5}"
        yield f"{up}.norm", f"{place}.{4 if innermost else 6}"
    yield "head.conv", "model.model.3"


def unet_level(level: int) -> str:
    """Name the reference's block of this level of a U-Net; each is nested in the one above it."""
    return "model.model" + (".1.model" if level else "") + ".3.model" * (level - 1)
