"""Pictures inside a page: as data URIs, each different one once."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

Row = dict[str, str]  # the keys of a sample's pictures by label

QUALITY = 80
LOSSLESS_SIDE = 64  # pixels of a longest side up to which nothing is lost
LARGEST_SIDE = 512


class PictureStore:
    """Encoded pictures by key, kept so that a page that is written again and again encodes only what is new."""

    def __init__(self) -> None:
        self._encoded: dict[str, str] = {}
        self._sheets: dict[tuple[Path, int], list[Row]] = {}

    def sheet(self, path: Path, sample: Mapping[str, Any]) -> list[Row]:
        """Keys of the pictures on a sample sheet, a line of samples.jsonl.

        Raises:
            OSError: if the file is gone, as that of a run under way may be.
        """
        from PIL import Image

        version = (path, path.stat().st_mtime_ns)
        if version not in self._sheets:
            with Image.open(path) as sheet:
                self._sheets[version] = [
                    {label: self._key(_cut(sheet, box, sample["sizes"][label])) for label, box in row.items()}
                    for row in sample["boxes"]
                ]
        return self._sheets[version]

    def file(self, path: Path) -> str:
        """Key of the picture in a file."""
        from PIL import Image

        with Image.open(path) as picture:
            return self._key(picture.copy())

    def uris(self, keys: Iterable[str]) -> dict[str, str]:
        """Data URIs by key."""
        return {key: self._encoded[key] for key in keys}

    def keep(self, keys: set[str]) -> None:
        """Forget all pictures but these."""
        self._encoded = self.uris(keys)
        self._sheets = {
            sheet: rows
            for sheet, rows in self._sheets.items()
            if keys.issuperset(key for row in rows for key in row.values())
        }

    def size(self, keys: Iterable[str]) -> int:
        """Characters that these pictures take in a page."""
        return sum(len(self._encoded[key]) for key in keys)

    def _key(self, picture: Image.Image) -> str:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        description = f"{picture.mode} {picture.size}".encode()
        key = hashlib.blake2b(picture.tobytes() + description, digest_size=8).hexdigest()
        if key not in self._encoded:
            self._encoded[key] = _data_uri(picture)
        return key


def _cut(sheet: Image.Image, box: Sequence[int], size: Sequence[int]) -> Image.Image:
    """A picture from a sheet, without the magnification that it has there."""
    from PIL import Image

    left, top, width, height = box
    picture = sheet.crop((left, top, left + width, top + height))
    return picture.resize((size[0], size[1]), Image.Resampling.NEAREST) if width > size[0] else picture


def _data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=2, lossless=max(picture.size) <= LOSSLESS_SIDE)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
