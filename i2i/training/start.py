"""Starting from weights: `--init_from` and `--freeze`, for fine-tuning and transfer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from i2i.config import option
from i2i.errors import UserError
from i2i.models.base import GanModel
from i2i.networks.reference_weights import read
from i2i.run import checkpoint_path
from i2i.training import checkpoint


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """Options of the weights that a new run starts from, and of those that stay frozen."""

    init_from: str | None = option(
        None,
        "start from weights that fit: a run's folder, a checkpoint FILE.pt, or a reference file latest_net_G.pth",
        path=True,
    )
    freeze: tuple[str, ...] | None = option(
        None, "parts that are not trained, such as discriminator.0-2, generator.encoder, generator.blocks.3"
    )


class Loaded(NamedTuple):
    """Result of loading weights: how many fitted, and the names of the model's weights for which there were none."""

    source: str
    loaded: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        kept = f"; {len(self.missing)} start anew: {_some(self.missing)}" if self.missing else ""
        return f"{self.loaded} weights from {self.source}{kept}"


def load_fitting_weights(model: GanModel, init_from: str, checkpoints_dir: str) -> Loaded:
    """Load all weights that fit by name and shape from a run, a checkpoint or a file of the reference implementation.

    A run's averaged weights are used for its generators if it has them. A file of the reference belongs to the network
    in its name, such as `G_A` of `latest_net_G_A.pth`.

    Raises:
        UserError: if there is no such file, or nothing in it fits.
    """
    path = _checkpoint_of(init_from, checkpoints_dir)
    weights = _reference_weights(model, path) if path.suffix == ".pth" else _checkpoint_weights(path)
    own = model.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and isinstance(own[name], Tensor) and own[name].shape == value.shape
    }
    learned = {name for name, _ in model.named_parameters()}
    if not learned & fitting.keys():
        raise UserError(f"--init_from {init_from}: no weight in {path} fits the model; it has {_some(list(weights))}")
    model.load_state_dict(fitting, strict=False)
    return Loaded(str(path), len(learned & fitting.keys()), tuple(sorted(learned - fitting.keys())))


def _checkpoint_of(init_from: str, checkpoints_dir: str) -> Path:
    path = Path(init_from)
    if path.is_file():
        return path
    for folder in (path, Path(checkpoints_dir) / init_from):
        if (folder / "latest.pt").is_file():
            return checkpoint_path(folder, "latest")
    raise UserError(f"--init_from {init_from}: neither a file, nor a run's folder, nor a run in {checkpoints_dir}")


def _checkpoint_weights(path: Path) -> Mapping[str, Tensor]:
    saved = checkpoint.load(path)
    averaged = saved["ema"]["weights"] if saved["ema"] is not None else {}
    return {name: value for name, value in (saved["model"] | averaged).items() if isinstance(value, Tensor)}


def _reference_weights(model: GanModel, path: Path) -> dict[str, Tensor]:
    architecture, weights = read(path)
    named = re.search(r"_net_(\w+)$", path.stem)
    attributes = model.reference_names
    if named is not None and named[1] in attributes:
        attribute = attributes[named[1]]
    else:  # another model's name, or none: the first network of its kind
        kind = "G" if architecture.kind == "generator" else "D"
        attribute = next((a for name, a in attributes.items() if name.startswith(kind)), "")
    if not attribute:
        raise UserError(f"--init_from {path}: this model has no network for a {architecture.kind} of the reference")
    return {f"{attribute}.{name}": value for name, value in weights.items()}


def freeze(model: GanModel, parts: Sequence[str]) -> list[str]:
    """Exclude the named parts from training; return a line for each.

    A part is a player or a network (`discriminator`, `generator_a_to_b`), followed by `.3` or `.0-2` for layers counted
    from the input, by `.encoder` for the downsampling layers of a generator, or by the name of a submodule.

    Raises:
        UserError: for a part that does not exist; names what there is. And if a player has nothing left to train.
    """
    lines = []
    for part in parts:
        modules = _modules(model, part)
        count = sum(parameter.numel() for module in modules for parameter in module.parameters())
        for module in modules:
            module.requires_grad_(False)
        lines.append(f"frozen: {part}, {count / 1e6:.3f} M parameters")
    for name, player in model.players.items():
        if not player.parameters():
            raise UserError(f"--freeze {' '.join(parts)}: the {name} has nothing left to train")
    return lines


def _modules(model: GanModel, part: str) -> list[nn.Module]:
    name, _, rest = part.partition(".")
    if name in model.players:
        networks: Sequence[nn.Module] = model.players[name].modules
    else:
        networks = [network for key, network in model.named_children() if key == name]
    if not networks:
        names = dict.fromkeys([*model.players, *_network_names(model)])
        raise UserError(f"--freeze {part}: there is no {name}, but {', '.join(names)}")
    return [module for network in networks for module in _parts(network, rest, part)]


def _network_names(model: GanModel) -> list[str]:
    networks = {id(network) for player in model.players.values() for network in player.modules}
    return [name for name, child in model.named_children() if id(child) in networks]


def _parts(network: nn.Module, rest: str, part: str) -> list[nn.Module]:
    if not rest:
        return [network]
    layers = layers_in_order(network)
    if (numbers := re.fullmatch(r"(\d+)(?:-(\d+))?", rest)) is not None:
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if not first <= last < len(layers):
            raise UserError(f"--freeze {part}: the layers are numbered from 0 to {len(layers) - 1}")
        return layers[first : last + 1]
    if rest == "encoder" and isinstance(encoder := getattr(network, "encoder", None), Sequence):
        return list(encoder)
    try:
        return [network.get_submodule(rest)]
    except AttributeError:
        there = [name for name, _ in network.named_children()]
        raise UserError(f"--freeze {part}: no such part; there are {', '.join(there)} and layer numbers") from None


def layers_in_order(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network from its input on: its children, with each ModuleList unrolled."""
    children = network.children()
    return [layer for child in children for layer in (child if isinstance(child, nn.ModuleList) else [child])]


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
