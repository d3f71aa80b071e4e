"""What other libraries say again and again."""

from __future__ import annotations

import logging
import warnings


def silence_libraries() -> None:
    """Leave out, in this whole process, tifffile's lines on odd tags and torch's warning of TorchScript's future.

    For commands and for processes that they start: the library leaves logging and warnings alone.
    """
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
