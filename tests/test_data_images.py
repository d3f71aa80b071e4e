"""Reading one image, of whatever format."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import ImageError, Key
from i2i.data.folder import image_extensions, open_image
from tests.pictures import coordinates, dataset, noise, save

LOSSLESS = ["png", "bmp", "tif", "tiff", "ppm", "tga", "pcx", "dib", "sgi", "webp", "jp2"]
LOSSY = ["jpg", "jpeg", "JPG", "gif"]
RESIZING = {".ico", ".icns", ".cur"}  # formats of fixed sizes


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_formats_keep_every_pixel(tmp_path: Path, extension: str) -> None:
    path, array = tmp_path / f"x.{extension}", coordinates(12, 8)
    options: dict[str, Any] = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(extension, {})
    Image.fromarray(array).save(path, **options)
    np.testing.assert_array_equal(pixels(open_image(path, 3)), array)


@pytest.mark.parametrize("extension", LOSSY)
def test_lossy_formats_come_close(tmp_path: Path, extension: str) -> None:
    path, array = tmp_path / f"x.{extension}", np.full((16, 24, 3), (200, 100, 50), np.uint8)
    Image.fromarray(array).save(path)
    read = pixels(open_image(path, 3))
    assert read.shape == array.shape
    assert np.abs(read.astype(int) - array).max() <= 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a format that Pillow means to drop
def test_every_format_that_pillow_writes_and_reads_is_found_and_read(tmp_path: Path) -> None:
    tried = 0
    for extension in sorted(image_extensions() - RESIZING):
        path = tmp_path / f"x{extension}"
        for mode in ("RGB", "L", "1", "P"):
            try:
                Image.fromarray(coordinates(16, 16)).convert(mode).save(path)
                break
            except (OSError, KeyError, ValueError):  # a format that is only read, or that has no such mode
                path.unlink(missing_ok=True)
        if path.exists():
            tried += 1
            assert [str(path)] == dataset(tmp_path, "single").files
            image = open_image(path, 3)
            assert (image.mode, image.size) == ("RGB", (16, 16)), extension
            path.unlink()
    assert tried > 20


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("stored", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_any_mode_comes_as_the_channels_asked_for(tmp_path: Path, stored: str, channels: int, mode: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.full((4, 6, 3), 255, np.uint8)).convert(stored).save(path)
    image = open_image(path, channels)
    assert (image.mode, image.size) == (mode, (6, 4))
    assert pixels(image).min() == 255


def test_colours_are_weighted_to_grey_and_alpha_is_dropped(tmp_path: Path) -> None:
    colour = save(tmp_path / "rgb.png", np.full((1, 1, 3), (100, 50, 200), np.uint8))
    # ITU-R 601: 0.299 * 100 + 0.587 * 50 + 0.114 * 200 = 82.05
    assert open_image(colour, 1).getpixel((0, 0)) == 82
    clear = save(tmp_path / "rgba.png", np.full((1, 1, 4), (100, 50, 200, 0), np.uint8))
    assert open_image(clear, 3).getpixel((0, 0)) == (100, 50, 200)
    assert open_image(clear, 4).getpixel((0, 0)) == (100, 50, 200, 0)


def test_a_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([9, 8, 7, 6, 5, 4])
    image.save(tmp_path / "x.png", transparency=b"\x80\x40")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(tmp_path / "x.png", 3).getpixel((0, 0)) == (6, 5, 4)
        assert open_image(tmp_path / "x.png", 4).getpixel((0, 0)) == (6, 5, 4, 64)


def test_print_colours_become_screen_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert open_image(tmp_path / "x.tif", 3).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("extension", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, extension: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    path = tmp_path / f"x.{extension}"
    if extension == "pgm":
        path.write_bytes(b"P5 5 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert pixels(open_image(path, 1)).tolist() == [[0, 0, 1, 128, 255]]
    assert pixels(open_image(path, 3))[0, 3].tolist() == [128, 128, 128]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.full((2, 2), 300, kind)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=r"x\.tif cannot be read as an image \(pixels of 32 bits have no fixed range"):
        open_image(tmp_path / "x.tif", 1)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[0, 1, 2], [3, 4, 5]]),
        (2, [[2, 1, 0], [5, 4, 3]]),
        (3, [[5, 4, 3], [2, 1, 0]]),
        (6, [[3, 0], [4, 1], [5, 2]]),  # turned clockwise by a quarter
        (8, [[2, 5], [1, 4], [0, 3]]),
    ],
)
def test_photographs_stand_upright(tmp_path: Path, orientation: int, expected: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(tmp_path / "x.png", exif=exif)
    assert pixels(open_image(tmp_path / "x.png", 1)).tolist() == expected


def broken(path: Path, kind: str) -> Path:
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "JPEG")
    contents = {"truncated": whole.getvalue()[:2000], "text": b"<html>404</html>", "empty": b"", "header": b"\xff\xd8"}
    if kind == "dangling":
        path.symlink_to(path.parent / "gone.jpg")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "header", "dangling", "missing", "folder"])
def test_a_file_that_is_no_image_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path / "it's bad.jpg", kind)
    with pytest.raises(ImageError) as caught:
        open_image(path, 3)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read as an image (")
    assert message.count("bad.jpg") == 1 and "\n" not in message


def test_whatever_a_reader_raises_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("decoder\nfell over")

    path = save(tmp_path / "x.png", noise(4, 4))
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(ImageError, match=r"x\.png cannot be read as an image \(decoder\)$"):
        open_image(path, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_data_set_gives_the_pixels_of_the_file(tmp_path: Path, channels: int) -> None:
    save(tmp_path / "x.png", noise(5, 3))
    sample = dataset(tmp_path, "single", in_channels=channels).load(Key(0, 0))
    expected = torch.tensor(pixels(open_image(tmp_path / "x.png", channels)).reshape(3, 5, channels))
    assert sample.a is not None
    assert torch.equal(sample.a, expected.permute(2, 0, 1))
