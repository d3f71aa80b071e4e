"""Networks without random weights, for those that are loaded at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# Those of torch.nn.init that show themselves to a mode do so before the fill that they end in.
_FILLS = ("normal_", "uniform_", "kaiming_uniform_")


class Undrawn(TorchFunctionMode):
    """Within it whatever fills a tensor with random numbers leaves it as memory comes, and draws nothing.

    Building networks then takes next to no time; constants, such as the ones of a norm, are made as ever. On
    `torch.device("meta")` constants that no checkpoint holds would be lost, and its `normal_` imports the compiler.
    """

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        if function.__name__ in _FILLS:
            return arguments[0] if arguments else (keywords or {})["tensor"]
        if function is torch.linalg.qr:  # how orthogonal weights are made of normal ones
            return arguments[0], arguments[0]
        return function(*arguments, **keywords or {})
