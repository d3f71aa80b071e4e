"""Weights from and to the checkpoints of the reference implementation, junyanz/pytorch-CycleGAN-and-pix2pix.

Its files are bare state dicts named `{latest|<epoch>|iter_<n>}_net_{G|D|G_A|G_B|D_A|D_B}.pth`. Nothing in them says
what network they belong to: names and shapes do.
"""

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import UserError
from i2i.networks import DISCRIMINATORS, GENERATORS
from i2i.networks.reference_layout import reference_keys, unet_level

StateDict = Mapping[str, Tensor]

_WRAPPERS = {"module", "_orig_mod"}
_LEGACY_STATISTICS = re.compile(r"(.*)\.(running_mean|running_var|num_batches_tracked)")


@dataclass(frozen=True)
class Architecture:
    """A network of `GENERATORS` or `DISCRIMINATORS` (`kind`: generator or discriminator) and what builds it.

    `norm_is_assumed` says that the weights look the same for the norms instance and none, and instance was taken. The
    dropout of a U-Net leaves no trace in its weights; `keywords["dropout"]` is False for it.
    """

    kind: str
    name: str
    keywords: dict[str, Any]
    norm_is_assumed: bool = False


def build(architecture: Architecture) -> nn.Module:
    """Build the network with fresh weights."""
    registry = GENERATORS if architecture.kind == "generator" else DISCRIMINATORS
    return registry[architecture.name](**architecture.keywords)


def describe(state_dict: StateDict, norm: str | None = None) -> Architecture:
    """Infer the network from the names and shapes of a reference state dict.

    `norm` overrides the inferred one. Raises ValueError where no known network has such names.
    """
    tensors = _clean(state_dict)
    has_statistics = any(key.endswith(".running_mean") for key in tensors)
    architecture, bias_before_norm = _infer(tensors)
    inferred = "batch" if has_statistics else "instance" if bias_before_norm in tensors else "none"
    keywords = architecture.keywords | {"norm": norm or inferred}
    return replace(architecture, keywords=keywords, norm_is_assumed=norm is None and inferred == "instance")


def from_reference(state_dict: StateDict, norm: str | None = None) -> tuple[Architecture, dict[str, Tensor]]:
    """Turn a reference state dict into ours; `build(architecture)` loads it strictly.

    The prefixes `module.` and `_orig_mod.` are dropped, and so are the running statistics that instance norms had
    before 2018. Raises ValueError naming the first tensors that are missing, unexpected or of another shape.
    """
    tensors = _clean(state_dict)
    architecture = describe(tensors, norm)
    network = _outline(architecture)
    ours = network.state_dict()
    theirs = reference_keys(network)
    blanks = _biases_without_counterpart(architecture) | {key for key in ours if key.endswith("num_batches_tracked")}
    required = {theirs[key]: tuple(ours[key].shape) for key in ours if key not in blanks or theirs[key] in tensors}
    misfits = list(_misfits(tensors, required))
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise UserError(
            f"weights look like {architecture.name} with {architecture.keywords['norm']} norm, but "
            f"{'; '.join(misfits[:3])}{more}: give the norm, or check where the file comes from"
        )
    return architecture, {
        key: tensors[theirs[key]] if theirs[key] in tensors else torch.zeros_like(ours[key], device="cpu")
        for key in ours
    }


def to_reference(state_dict: StateDict, architecture: Architecture) -> dict[str, Tensor]:
    """Turn a state dict of ours into the reference's.

    Raises ValueError where the reference has no such network: another upsampling than deconv, or biases before the norm
    none, which it leaves out, that have become other than 0.
    """
    upsample = architecture.keywords.get("upsample", "deconv")
    if upsample != "deconv":
        raise UserError(
            f"the reference has no upsampling {upsample!r}: only networks with deconv can be written for it"
        )
    dropped = _biases_without_counterpart(architecture)
    trained = [key for key in dropped if state_dict[key].any()]
    if trained:
        raise UserError(f"the reference has no bias {min(trained)!r} with norm none: train with norm instance or batch")
    return {
        theirs: state_dict[key] for key, theirs in reference_keys(_outline(architecture)).items() if key not in dropped
    }


def load_file(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU without ever running code from the file.

    Raises ValueError for a file that is missing, damaged, holds more than tensors, or is not a flat state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read weights from {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is refused: it is damaged, or holds objects other than tensors that could run code"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError):
        raise UserError(f"{path} is damaged or no PyTorch file: copy it again") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} is not a state dict of tensors by name: save network.state_dict() instead")
    return dict(content)


def read(path: str | Path, norm: str | None = None) -> tuple[Architecture, dict[str, Tensor]]:
    """Read a file of the reference as `from_reference` does; every ValueError names the file."""
    state_dict = load_file(path)
    try:
        return from_reference(state_dict, norm)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def save_reference(
    folder: str | Path, label: str, network: str, state_dict: StateDict, architecture: Architecture
) -> Path:
    """Write `{label}_net_{network}.pth` (`latest_net_G_A.pth`) as the reference does; raises as `to_reference`."""
    path = Path(folder) / f"{label}_net_{network}.pth"
    torch.save(to_reference(state_dict, architecture), path)
    return path


def _clean(state_dict: StateDict) -> dict[str, Tensor]:
    """Drop the prefixes of wrappers, and the running statistics of norms without a scale, which are instance norms."""
    tensors = {".".join(part for part in key.split(".") if part not in _WRAPPERS): v for key, v in state_dict.items()}
    legacy = [key for key in tensors if (m := _LEGACY_STATISTICS.fullmatch(key)) and f"{m[1]}.weight" not in tensors]
    return {key: tensor for key, tensor in tensors.items() if key not in legacy}


def _infer(tensors: StateDict) -> tuple[Architecture, str]:
    """Find everything but the norm, and the name of a bias that only precedes an instance norm."""
    if any(key.startswith("model.model.") for key in tensors):
        return _infer_unet(tensors)
    if any(".conv_block." in key for key in tensors):
        return _infer_resnet(tensors)
    if "net.0.weight" in tensors:
        filters, in_channels = _channels(tensors, "net.0.weight")
        return Architecture("discriminator", "pixel", dict(in_channels=in_channels, filters=filters)), "net.2.bias"
    if "model.0.weight" in tensors:
        return _infer_patchgan(tensors)
    raise UserError(
        f"weights fit no known network: they start with {', '.join(map(repr, list(tensors)[:3])) or 'nothing'}, but a "
        "resnet has 'model.10.conv_block.1.weight', a unet 'model.model.0.weight', a basic or n_layers discriminator "
        "'model.0.weight' and pixel 'net.0.weight'"
    )


def _infer_resnet(tensors: StateDict) -> tuple[Architecture, str]:
    blocks = {key.split(".")[1] for key in tensors if ".conv_block." in key}
    count = len(blocks)
    filters, in_channels = _channels(tensors, "model.1.weight")
    out_channels, _ = _channels(tensors, f"model.{count + 17}.weight")
    keywords: dict[str, Any] = dict(in_channels=in_channels, out_channels=out_channels, filters=filters)
    # Dropout stands between the two convolutions and moves the second from 5 to 6, the place of its norm.
    keywords["dropout"] = "model.10.conv_block.5.weight" not in tensors
    if count in (6, 9):
        return Architecture("generator", f"resnet_{count}blocks", keywords), "model.1.bias"
    return Architecture("generator", "resnet", keywords | {"num_blocks": count}), "model.1.bias"


def _infer_unet(tensors: StateDict) -> tuple[Architecture, str]:
    depth = max(key.count(".model.") for key in tensors)
    filters, in_channels = _channels(tensors, "model.model.0.weight")
    _, out_channels = _channels(tensors, "model.model.3.weight")
    keywords = dict(in_channels=in_channels, out_channels=out_channels, filters=filters, dropout=False)
    bias_before_norm = f"{unet_level(1)}.1.bias"
    if depth in (6, 7, 8):
        return Architecture("generator", f"unet_{2**depth}", keywords), bias_before_norm
    return Architecture("generator", "unet", keywords | {"num_downs": depth}), bias_before_norm


def _infer_patchgan(tensors: StateDict) -> tuple[Architecture, str]:
    n_layers = sum(map(_is_kernel, tensors.values())) - 2
    filters, in_channels = _channels(tensors, "model.0.weight")
    keywords = dict(in_channels=in_channels, filters=filters, n_layers=n_layers)
    return Architecture("discriminator", "basic" if n_layers == 3 else "n_layers", keywords), "model.2.bias"


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.dim() == 4


def _channels(tensors: StateDict, key: str) -> tuple[int, int]:
    """Read the two channel counts of a convolution."""
    if key not in tensors or not _is_kernel(tensors[key]):
        raise UserError(f"weights fit no known network: there is no convolution {key!r}")
    first, second, *_ = tensors[key].shape
    return first, second


def _outline(architecture: Architecture) -> nn.Module:
    """Build the network without memory for its weights."""
    with torch.device("meta"):
        return build(architecture)


def _biases_without_counterpart(architecture: Architecture) -> set[str]:
    """List the biases that the reference leaves out with norm none, as it does with norm batch."""
    if architecture.keywords["norm"] != "none":
        return set()
    with_batch = replace(architecture, keywords=architecture.keywords | {"norm": "batch"})
    biases = {key for key in _outline(architecture).state_dict() if key.endswith(".bias")}
    return biases - _outline(with_batch).state_dict().keys()


def _misfits(tensors: StateDict, required: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for key, shape in required.items():
        if key not in tensors:
            yield f"{key!r} is missing"
        elif tuple(tensors[key].shape) != shape:
            yield f"{key!r} has shape {tuple(tensors[key].shape)} instead of {shape}"
    yield from (f"{key!r} is unexpected" for key in tensors if key not in required)
