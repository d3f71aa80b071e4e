"""Formats whose readers are extras of the installation: HEIC by pillow-heif, OpenEXR by its own package."""

from __future__ import annotations

import importlib
import io
import tempfile
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from i2i.data.images.channels import Info, UnfitError, known_kind
from i2i.data.images.pillow import PillowFile

EXTRAS = {".heic": "heif", ".heif": "heif", ".exr": "exr"}  # by the extension of a file
MODULES = {"heif": "pillow_heif", "exr": "OpenEXR"}
EXR_MAGIC = b"\x76\x2f\x31\x01"
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")


def installed_extensions() -> set[str]:
    """The extensions of the formats whose readers are installed."""
    return {extension for extension, extra in EXTRAS.items() if find_spec(MODULES[extra])}


def is_heic(content: bytes) -> bool:
    """Return True if a file begins like HEIC: a box `ftyp` with a brand of HEVC, the main one or a compatible one."""
    length = int.from_bytes(content[:4], "big")
    brands = content[8:12] + content[16 : min(length, 64)]
    return content[4:8] == b"ftyp" and any(brands[at : at + 4] in HEIC_BRANDS for at in range(0, len(brands), 4))


def open_heic(content: bytes) -> PillowFile:
    """A HEIC file, of 8 bits, turned as its header says."""
    image = _reader("heif").open_heif(io.BytesIO(content)).to_pillow()
    image.format = "HEIF"
    return PillowFile(content, image)


class ExrFile:
    """An OpenEXR file of one part: RGB, RGBA, or its single channels in the order of their names, as floats."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @property
    def info(self) -> Info:
        """Read the header."""
        height, width, channels = self._pixels.shape
        names = " ".join(self._channels)
        return Info(width, height, channels, "float32", f"{names} float32", "EXR", alpha=names == "RGBA")

    def pixels(self, at_least: tuple[int, int] | None = None, pages: int = 1) -> np.ndarray:
        """The image: (H, W, C) float32."""
        return known_kind(self._pixels)

    def labels(self) -> np.ndarray:
        """The image as stored: (H, W, C)."""
        return self._pixels

    @cached_property
    def _channels(self) -> dict[str, np.ndarray]:
        module = _reader("exr")
        with tempfile.TemporaryDirectory() as folder:  # it reads files alone
            path = Path(folder) / "image.exr"
            path.write_bytes(self.content)
            found = {name: np.asarray(channel.pixels) for name, channel in module.File(str(path)).channels().items()}
        colours = next(({name: found[name]} for name in ("RGBA", "RGB") if name in found), None)
        return colours or dict(sorted(found.items()))

    @cached_property
    def _pixels(self) -> np.ndarray:
        planes = [channel.reshape(*channel.shape[:2], -1) for channel in self._channels.values()]
        if len({plane.shape[:2] for plane in planes}) != 1:
            raise UnfitError("has channels of different sizes")
        return np.concatenate(planes, axis=2).astype(np.float32)


def _reader(extra: str) -> Any:
    try:
        return importlib.import_module(MODULES[extra])
    except ImportError:
        raise UnfitError(f"needs a reader that is not installed: pip install 'i2i-gan[{extra}]'") from None
