"""Damaged files of every format: an array or one line that names the file comes out, and nothing else."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i.data import ImageError
from i2i.data.images import Reader
from tests.pictures import coordinates, noise

tifffile = pytest.importorskip("tifffile")

# Half smooth and half noise, so that compression has something to do and something to fail at.
PICTURE = np.concatenate([coordinates(20, 12), noise(20, 12)])
DEEP = PICTURE.astype(np.uint16) * 257
READER = Reader(max_pixels=10**6)


def pillow(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def numpy(write: Callable[..., None], array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    write(stream, array)
    return stream.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


FILES: dict[str, bytes] = {
    "jpg": pillow("JPEG"),
    "progressive.jpg": pillow("JPEG", progressive=True),
    "turned.jpg": pillow("JPEG", exif=turned()),
    "cmyk.jpg": pillow("JPEG", "CMYK"),
    "png": pillow("PNG"),
    "palette.png": pillow("PNG", "P"),
    "turned.png": pillow("PNG", exif=turned()),
    "deep.png": numpy(lambda stream, array: Image.fromarray(array).save(stream, "PNG"), DEEP[:, :, 0]),
    "webp": pillow("WEBP"),
    "lossless.webp": pillow("WEBP", lossless=True),
    "gif": pillow("GIF"),
    "bmp": pillow("BMP"),
    "tga": pillow("TGA", compression="tga_rle"),
    "ppm": pillow("PPM"),
    "deep.ppm": b"P6 20 24 65535\n" + DEEP.astype(">u2").tobytes(),
    "tif": pillow("TIFF"),
    "deflate.tif": pillow("TIFF", compression="tiff_adobe_deflate"),
    "jpeg.tif": pillow("TIFF", compression="jpeg"),
    "fax.tif": pillow("TIFF", "1", compression="group4"),
    "deep.tif": tiff(DEEP, photometric="rgb"),
    "lzw.tif": tiff(DEEP, photometric="rgb", compression="lzw", predictor=True, byteorder=">"),
    "float.tif": tiff(PICTURE.astype(np.float32), photometric="rgb", compression="zlib", predictor=True),
    "tiles.tif": tiff(np.tile(DEEP, (2, 2, 1)), photometric="rgb", tile=(16, 16), compression="packbits"),
    "pages.tif": tiff(np.moveaxis(DEEP, 2, 0), photometric="minisblack", bigtiff=True),
    "npy": numpy(np.save, PICTURE),
    "npz": numpy(np.savez_compressed, PICTURE.astype(np.float32)),
}
ASK: tuple[Callable[[str], Any], ...] = (
    READER.info,
    READER.labels,
    lambda path: READER.pixels(path, 3),
    lambda path: READER.pixels(path, 1, (8, 8)),
)


def outcomes(path: Path, content: bytes) -> list[Any]:
    """What comes out of each way to read the file: a value, or a message that is known to be one line on the file."""
    path.write_bytes(content)
    found: list[Any] = []
    for ask in ASK:
        try:
            found.append(ask(str(path)))
        except ImageError as error:
            found.append(str(error))
            assert found[-1].startswith(f"{path} ") and "\n" not in found[-1]
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, on tags that are damaged
@pytest.mark.parametrize("name", FILES)
def test_what_is_cut_off_is_an_error_or_changes_nothing(tmp_path: Path, name: str) -> None:
    content, path = FILES[name], tmp_path / f"it's.{name}"
    whole = outcomes(path, content)[2]
    assert whole.shape in [(24, 20, 3), (20, 24, 3), (48, 40, 3)]
    refused = 0
    for length in {*range(min(40, len(content))), *range(0, len(content), max(1, len(content) // 40))}:
        image = outcomes(path, content[:length])[2]
        refused += isinstance(image, str)
        # The end of a file may be a mark alone, which some readers do not ask for.
        assert isinstance(image, str) or np.array_equal(image, whole), length
    assert refused > 40


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_give_an_image_or_an_error(tmp_path: Path, name: str) -> None:
    path, generator = tmp_path / f"x.{name}", np.random.default_rng(len(FILES[name]))
    for trial in range(100):
        content = bytearray(FILES[name])
        reach = len(content) if trial % 2 else min(len(content), 300)  # the header is where it hurts
        for place in generator.integers(0, reach, generator.integers(1, 6)):
            content[place] ^= 1 << generator.integers(8)
        for image in outcomes(path, bytes(content))[1:]:
            assert isinstance(image, (str, np.ndarray))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tif", ".npy", ".npz", ".webp", ".gif"])
def test_what_is_no_image_is_told_in_one_line(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x{extension}"
    archive = io.BytesIO()
    zipfile.ZipFile(archive, "w").close()
    for content in (
        b"",
        b"\0" * 1000,
        b"<html>404</html>",
        b"a,b\n1,2\n" * 99,
        archive.getvalue(),
        noise(9, 9).tobytes(),
    ):
        for message in outcomes(path, content):
            assert isinstance(message, str) and "cannot be read as an image (" in message
    assert "(it is empty)" in outcomes(path, b"")[0]
    path.unlink()
    for create, reason in [(lambda: None, "No such file or directory"), (path.mkdir, "Is a directory")]:
        create()
        for ask in ASK:
            with pytest.raises(ImageError, match=rf"x\{extension} cannot be read as an image \({reason}\)$"):
                ask(str(path))


def bombs() -> dict[str, bytes]:
    """Small files whose headers promise 60000 x 60000 pixels."""
    side = 60000
    ihdr = b"IHDR" + struct.pack(">II5B", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (side, side, 3)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("arr_0.npy", header.getvalue() + bytes(1000))
    start = FILES["jpg"].index(b"\xff\xc0") + 5
    size = struct.pack(">HH", side, side)
    with tifffile.TiffFile(io.BytesIO(FILES["deep.tif"])) as image:
        places = [image.pages[0].tags[name].offset + 8 for name in ("ImageWidth", "ImageLength")]
        kinds = [image.pages[0].tags[name].dtype for name in ("ImageWidth", "ImageLength")]
    large = bytearray(FILES["deep.tif"])
    for place, kind in zip(places, kinds, strict=True):
        large[place : place + 4] = struct.pack("<I" if kind == 4 else "<HH", *([side] if kind == 4 else [side, 0]))
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk + FILES["png"][33:],
        "jpg": FILES["jpg"][:start] + size + FILES["jpg"][start + 4 :],
        "npy": header.getvalue(),
        "npz": archive.getvalue(),
        "tif": bytes(large),
        "ppm": b"P6 60000 60000 255\n" + bytes(1000),
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + FILES["gif"][10:],
    }


@pytest.mark.parametrize("name", ["png", "jpg", "npy", "npz", "tif", "ppm", "gif"])
def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, name: str) -> None:
    found = outcomes(tmp_path / f"x.{name}", bombs()[name])
    assert found[0][:2] == (60000, 60000)
    for message in found[1:]:
        assert message.endswith("has 60000 x 60000 pixels, more than --max_pixels 1000000")


def test_a_small_image_that_swells_when_unpacked_stops_at_its_size(tmp_path: Path) -> None:
    row = zlib.compress(bytes(50_000_000))
    ihdr = FILES["png"][12:29]
    chunks = [ihdr, b"IDAT" + row, b"IEND"]
    packed = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in chunks]
    for image in outcomes(tmp_path / "x.png", b"\x89PNG\r\n\x1a\n" + b"".join(packed))[2:]:
        assert isinstance(image, str) or image.shape[:2] == (24, 20)


SCRIPT = """
import sys
from i2i.data.batch import ImageError
from i2i.data.images import Reader
for path in sys.argv[1:]:
    try:
        Reader().pixels(path, 3)
    except ImageError:
        pass
"""


def test_the_readers_keep_their_troubles_to_themselves(tmp_path: Path) -> None:
    names = ["jpg", "png", "deep.png", "webp", "gif", "deep.tif", "lzw.tif", "tiles.tif", "npz"]
    for name in names:
        (tmp_path / name).write_bytes(FILES[name][: len(FILES[name]) // 2])
    command = [sys.executable, "-c", SCRIPT, *(str(tmp_path / name) for name in names)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
