"""Spectral normalisation: no layer stretches what it gets (Miyato et al. 2018, arXiv 1802.05957)."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from i2i.networks.class_conditional import layers_of
from i2i.networks.equalized import EqualizedConv2d, EqualizedEmbedding, EqualizedLinear

NORMALIZED = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding)
EQUALIZED = (EqualizedConv2d, EqualizedLinear, EqualizedEmbedding)


def spectral_normalize(network: nn.Module) -> None:
    """Divide the weight of every convolution, linear layer and embedding by its largest singular value, in place.

    For that a weight is a matrix of one row for each output channel (or embedding). The value is followed by one power
    iteration each time a weight is read in training mode. From here on `layer.weight` is computed, and can be read but
    not written: call this after `initialize`. Layers that are normalised already stay as they are; those with an
    equalised learning rate keep that and their gain, while the norm takes the place of their scale.
    """
    for module in layers_of(network):
        if isinstance(module, NORMALIZED + EQUALIZED) and not is_parametrized(module, "weight"):
            spectral_norm(module)
            if isinstance(module, EQUALIZED):
                module.scale = module.gain


def fold_spectral_norm(network: nn.Module) -> None:
    """Make the normalised weights plain parameters, in place, for a network that is trained no more.

    It computes what it did in evaluation mode, without the division, and can be pickled, which torch refuses before.
    """
    for module in list(network.modules()):
        if is_parametrized(module, "weight"):
            module.get_submodule("parametrizations").eval()
            weight = module.weight.detach()  # type: ignore[operator]
            # Not torch's `remove_parametrizations`: it takes the weight from the class, which deep copies share.
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.weight = nn.Parameter(weight, requires_grad=False)
