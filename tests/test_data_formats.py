"""Reading images and label maps of every format, depth and number of channels."""

from __future__ import annotations

import struct
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from i2i.data import ImageError
from i2i.data.files import read_bytes, signature, suffix
from i2i.data.images import Info, Reader, fast, pil_pixels, readable_extensions
from tests.pictures import REAL, coordinates, needs_data, noise, save

tifffile = pytest.importorskip("tifffile")

EVERY_EIGHT = np.arange(256, dtype=np.uint8).reshape(16, 16)
EVERY_SIXTEEN = np.arange(65536, dtype=np.uint16).reshape(256, 256)
LOSSLESS = ["png", "bmp", "tif", "tiff", "ppm", "tga", "pcx", "dib", "sgi", "webp", "jp2", "qoi"]
WHOLE = [(0, 0, 1, 1)]  # column, row and steps of the only pass; and those of the seven when interlaced
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
RESIZING = {".ico", ".icns", ".cur"}  # formats of fixed sizes


def read(path: Path, channels: int, **options: Any) -> np.ndarray:
    return Reader(**options).pixels(str(path), channels)


def png(
    array: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes], bits: int = 16, passes: Any = WHOLE
) -> bytes:
    """A PNG file made by hand, as Pillow writes neither 16 bits of colour nor an interlaced image."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    arrays = [array[y::down, x::right] for x, y, right, down in passes]
    rows = b"".join(b"\0" + (row.astype(">u2") if bits == 16 else row).tobytes() for part in arrays for row in part)
    width = array.shape[1] * max(1, 8 // bits)
    header = struct.pack(">II5B", width, len(array), bits, colour_type, 0, 0, len(passes) > 1)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep(channels: int, width: int = 7, height: int = 5) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels), np.uint16)


# Formats


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_formats_keep_every_pixel(tmp_path: Path, extension: str) -> None:
    path, array = tmp_path / f"x.{extension}", coordinates(12, 8)
    options: dict[str, Any] = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(extension, {})
    Image.fromarray(array).save(path, **options)
    np.testing.assert_array_equal(read(path, 3), array)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a format that Pillow means to drop
def test_every_format_that_pillow_writes_is_read(tmp_path: Path) -> None:
    tried = 0
    for extension in sorted(readable_extensions() - RESIZING):
        path = tmp_path / f"x{extension}"
        for mode in ("RGB", "L", "1", "P"):
            try:
                Image.fromarray(coordinates(16, 16)).convert(mode).save(path)
                break
            except (OSError, KeyError, ValueError):  # a format that is only read, or that has no such mode
                path.unlink(missing_ok=True)
        if path.exists():
            tried += 1
            assert read(path, 3).shape == (16, 16, 3), extension
    assert tried > 20


def test_the_content_tells_the_format_whatever_the_name(tmp_path: Path) -> None:
    array = coordinates(6, 4)
    Image.fromarray(array).save(tmp_path / "png", "PNG")
    np.save(tmp_path / "npy.npy", array)
    tifffile.imwrite(tmp_path / "tif", array.astype(np.uint16))
    for kind in ("png", "npy.npy", "tif"):
        path = tmp_path / "x.jpg"
        path.write_bytes((tmp_path / kind).read_bytes())
        np.testing.assert_array_equal(read(path, 3), array)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}])
def test_jpeg_is_what_pillow_makes_of_it(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    Image.fromarray(noise(37, 21)).convert(mode).save(tmp_path / "x.jpg", **options)
    with Image.open(tmp_path / "x.jpg") as image:
        np.testing.assert_array_equal(read(tmp_path / "x.jpg", 3), np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(
            read(tmp_path / "x.jpg", 1)[:, :, 0], np.asarray(image.convert("RGB").convert("L"))
        )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"optimize": True}, {"dpi": (72, 72)}])
@pytest.mark.parametrize("library", [True, False])
def test_png_is_what_pillow_makes_of_it(
    tmp_path: Path, mode: str, options: dict[str, Any], library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_optional", fast._optional if library else lambda name: None)
    picture = Image.fromarray(np.dstack([noise(37, 21), noise(37, 21, seed=1)[:, :, 0]])).convert(mode)
    picture.save(tmp_path / "x.png", **options)
    expected = np.asarray(picture.convert("RGBA"))
    np.testing.assert_array_equal(read(tmp_path / "x.png", 4), expected)
    np.testing.assert_array_equal(read(tmp_path / "x.png", 3), expected[:, :, :3])


def test_the_faster_libraries_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    pytest.importorskip("kornia_rs")
    Image.fromarray(noise(9, 7)).save(tmp_path / "x.jpg")
    Image.fromarray(noise(9, 7)).save(tmp_path / "x.png")
    monkeypatch.setattr(fast, "pillow_array", None)
    assert read(tmp_path / "x.jpg", 3).shape == read(tmp_path / "x.png", 3).shape == (7, 9, 3)


def test_small_damage_to_a_jpeg_that_pillow_forgives_is_forgiven(tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg")
    Image.fromarray(coordinates(32, 32)).save(tmp_path / "x.jpg")
    whole, expected = (tmp_path / "x.jpg").read_bytes(), read(tmp_path / "x.jpg", 3)
    (tmp_path / "x.jpg").write_bytes(whole[:-2] + b"extra bytes" + whole[-2:])
    np.testing.assert_array_equal(read(tmp_path / "x.jpg", 3), expected)


def test_colour_profiles_are_left_alone(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name in ("x.png", "x.tif", "x.webp"):
        Image.fromarray(coordinates(5, 4)).save(tmp_path / name, icc_profile=profile, lossless=True)
        np.testing.assert_array_equal(read(tmp_path / name, 3), coordinates(5, 4))


def test_the_first_frame_of_an_animation_is_the_image(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 20, 30)]
    for name in ("x.gif", "x.webp", "x.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert np.unique(read(tmp_path / name, 3)).tolist() == [10]


# Depth


@pytest.mark.parametrize("extension", ["png", "tif", "bmp", "webp", "pgm", "npy"])
def test_all_values_of_eight_bits_are_exact(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    if extension == "npy":
        np.save(path, EVERY_EIGHT)
    else:
        Image.fromarray(EVERY_EIGHT).save(path, **({"lossless": True} if extension == "webp" else {}))
    np.testing.assert_array_equal(read(path, 1)[:, :, 0], EVERY_EIGHT)
    np.testing.assert_array_equal(read(path, 3), np.dstack([EVERY_EIGHT] * 3))


@pytest.mark.parametrize("name", ["pillow.png", "hand.png", "pillow.tif", "lzw.tif", "x.pgm", "x.npy", "big.npy"])
def test_all_values_of_sixteen_bits_are_exact(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "hand.png":
        path.write_bytes(png(EVERY_SIXTEEN, 0))
    elif name == "lzw.tif":
        tifffile.imwrite(path, EVERY_SIXTEEN, compression="lzw", predictor=True)
    elif name == "x.pgm":
        path.write_bytes(b"P5 256 256 65535\n" + EVERY_SIXTEEN.astype(">u2").tobytes())
    elif name.endswith("npy"):
        np.save(path, EVERY_SIXTEEN.astype(">u2") if name == "big.npy" else EVERY_SIXTEEN)
    else:
        Image.fromarray(EVERY_SIXTEEN).save(path)
    image = read(path, 1)
    assert image.dtype == np.dtype("=u2") and Reader().info(str(path)).kind == "uint16"
    np.testing.assert_array_equal(image[:, :, 0], EVERY_SIXTEEN)
    np.testing.assert_array_equal(read(path, 3)[:, :, 2], EVERY_SIXTEEN)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_sixteen_bits_keeps_them_in_every_colour_type(tmp_path: Path, colour_type: int, channels: int) -> None:
    path, array = tmp_path / "x.png", deep(channels)
    path.write_bytes(png(array, colour_type))
    np.testing.assert_array_equal(read(path, channels), array)
    alpha = channels in (2, 4)
    assert Reader().info(str(path)) == Info(7, 5, channels, "uint16", f"uint16 x {channels}", "PNG", alpha=alpha)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_interlaced_png_is_put_together(tmp_path: Path, kind: type) -> None:
    array = deep(3, 19, 13).astype(kind)
    (tmp_path / "x.png").write_bytes(png(array, 2, bits=8 * array.itemsize, passes=ADAM7))
    np.testing.assert_array_equal(read(tmp_path / "x.png", 3), array)


@pytest.mark.parametrize("plain", [True, False])
def test_ppm_of_sixteen_bits_keeps_them(tmp_path: Path, plain: bool) -> None:
    path, array = tmp_path / "x.ppm", deep(3)
    values = " ".join(map(str, array.ravel())).encode() if plain else array.astype(">u2").tobytes()
    path.write_bytes((b"P3" if plain else b"P6") + b"\n# a comment\n7 5\n65535\n" + values)
    np.testing.assert_array_equal(read(path, 3), array)
    assert Reader().info(str(path)).kind == "uint16"


def test_netpbm_files_of_odd_depth_use_the_full_range(tmp_path: Path) -> None:
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6 1 1 4095\n" + np.array([0, 1, 4095], ">u2").tobytes())
    assert read(path, 3).tolist() == [[[0, 16, 65535]]]


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "float16", "float32", "float64"])
def test_tiff_and_numpy_of_other_types_come_as_floats(tmp_path: Path, kind: str) -> None:
    low = -100 if kind != "uint32" else 100
    array = (np.arange(60).reshape(4, 5, 3) + low).astype(kind)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb")
    np.save(tmp_path / "x.npy", array)
    for name in ("x.tif", "x.npy"):
        image = read(tmp_path / name, 3)
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, array)
        assert Reader().info(str(tmp_path / name)) == Info(
            5, 4, 3, "float32", f"{kind} x 3", "numpy" if name.endswith("npy") else "TIFF"
        )


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pillow_writes_floats_that_are_read(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.array([[-5, 300]], kind)).save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif", 1).tolist() == [[[-5.0], [300.0]]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, value]], np.float32))
    with pytest.raises(ImageError, match=r"x\.npy holds values that are no finite numbers; replace them$"):
        read(tmp_path / "x.npy", 1)


# Channels and transparency


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("stored", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_any_mode_comes_as_the_channels_asked_for(tmp_path: Path, stored: str, channels: int) -> None:
    picture = Image.fromarray(np.full((4, 6, 3), 255, np.uint8)).convert(stored)
    assert pil_pixels(picture, channels).shape == (4, 6, channels)
    assert pil_pixels(picture, channels).min() == 255
    path = tmp_path / ("x.tif" if stored in ("CMYK", "YCbCr") else "x.png")
    if stored != "PA":
        picture.save(path)
        np.testing.assert_array_equal(read(path, channels), pil_pixels(picture, channels))


def test_colours_are_weighted_to_grey(tmp_path: Path) -> None:
    colours = noise(40, 30)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(read(save(tmp_path / "x.png", colours), 1)[:, :, 0], expected)
    tifffile.imwrite(tmp_path / "deep.tif", np.array([[[1000, 500, 2000]]], np.uint16), photometric="rgb")
    assert read(tmp_path / "deep.tif", 1).tolist() == [[[820]]]  # 299 + 293.5 + 228 = 820.5, to even
    np.save(tmp_path / "x.npy", np.full((4, 4, 3), [-1.0, 0.5, 2.0], np.float32))
    assert read(tmp_path / "x.npy", 1)[0, 0, 0] == pytest.approx(-0.299 + 0.2935 + 0.228)


POLICIES = {"drop": (100, 50, 200), "white": (178, 153, 228), "black": (50, 25, 100), "grey": (114, 89, 164)}


@pytest.mark.parametrize("alpha", POLICIES)
def test_transparency_follows_the_policy(tmp_path: Path, alpha: str) -> None:
    path = save(tmp_path / "x.png", np.full((1, 1, 4), (100, 50, 200, 128), np.uint8))
    expected = POLICIES[alpha]
    assert np.abs(read(path, 3, alpha=alpha)[0, 0].astype(int) - expected).max() <= 1
    assert read(path, 4, alpha=alpha)[0, 0].tolist() == [100, 50, 200, 128]
    grey = Image.new("RGB", (1, 1), tuple(read(path, 3, alpha=alpha)[0, 0].tolist())).convert("L").getpixel((0, 0))
    assert read(path, 1, alpha=alpha)[0, 0, 0] == grey


@pytest.mark.parametrize(
    ("alpha", "clear", "half"), [("white", 65535, 40000), ("black", 0, 7232), ("grey", 32768, 23616)]
)
def test_transparency_of_sixteen_bits_is_exact(tmp_path: Path, alpha: str, clear: int, half: int) -> None:
    opacities = np.array([0, 32768, 65535], np.uint64)
    array = np.array([[[14464, 14464, 14464, opacity] for opacity in opacities]], np.uint16)
    path = tmp_path / "x.png"
    path.write_bytes(png(array, 6))
    result = read(path, 3, alpha=alpha)
    assert result[0, [0, 2], 0].tolist() == [clear, 14464]
    assert abs(int(result[0, 1, 0]) - half) <= 1


def test_grey_with_alpha_and_single_transparent_colours_follow_it_too(tmp_path: Path) -> None:
    (tmp_path / "la.png").write_bytes(png(np.array([[[30, 0], [30, 255]]], np.uint8), 4, bits=8))
    Image.fromarray(np.array([[30, 40]], np.uint8)).save(tmp_path / "key.png", transparency=30)
    for name in ("la.png", "key.png"):
        opaque = {"la.png": 30, "key.png": 40}[name]
        assert read(tmp_path / name, 3, alpha="white")[0, :, 0].tolist() == [255, opaque]
        assert read(tmp_path / name, 1)[0, :, 0].tolist() == [30, opaque]
        assert read(tmp_path / name, 4)[0, :, 3].tolist() == [0, 255]


def test_a_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([9, 8, 7, 6, 5, 4])
    image.save(tmp_path / "x.png", transparency=b"\x80\x40")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "x.png", 3)[0, 0].tolist() == [6, 5, 4]
        assert read(tmp_path / "x.png", 4)[0, 0].tolist() == [6, 5, 4, 64]
        assert read(tmp_path / "x.png", 3, alpha="black")[0, 0].tolist() == [2, 1, 1]


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_fourth_channel_that_is_not_there_is_opaque(tmp_path: Path, kind: type, most: int) -> None:
    bits = 8 * np.dtype(kind).itemsize
    (tmp_path / "x.png").write_bytes(png(np.full((5, 5, 3), 7, kind), 2, bits=bits))
    assert read(tmp_path / "x.png", 4)[0, 0].tolist() == [7, 7, 7, most]


@pytest.mark.parametrize(
    ("shape", "kind", "wanted"),
    [((9, 9, 7), np.uint8, 3), ((9, 9, 4), np.float32, 3), ((9, 9, 3), np.uint8, 2), ((9, 9, 3), np.float32, 4)],
)
def test_channels_that_do_not_fit_are_named(tmp_path: Path, shape: tuple[int, ...], kind: type, wanted: int) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, kind))
    stored = shape[2]
    message = rf"x\.npy has {stored} channels, {wanted} are wanted; --in_channels/--out_channels {stored}$"
    with pytest.raises(ImageError, match=message):
        read(tmp_path / "x.npy", wanted)
    with pytest.raises(ValueError, match="has 3 channels, 7 are wanted"):
        pil_pixels(Image.new("RGB", (2, 2)), 7)


# TIFF


@pytest.mark.parametrize(
    "options", [{}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}]
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_any_inner_order_is_exact(tmp_path: Path, planar: str, options: dict[str, Any]) -> None:
    array = deep(3, 21, 18)
    stored = array if planar == "contig" else np.moveaxis(array, 2, 0)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar, **options)
    np.testing.assert_array_equal(read(tmp_path / "x.tif", 3), array)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_where_white_is_zero_is_turned_about(tmp_path: Path, kind: type, byteorder: Any) -> None:
    array = np.array([[0, 1, 200]], kind)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="miniswhite", byteorder=byteorder)
    most = int(np.iinfo(kind).max)
    assert read(tmp_path / "x.tif", 1)[0, :, 0].tolist() == [most, most - 1, most - 200]


def test_tiff_with_a_palette_has_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(8, 8)).quantize(16)
    picture.save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", 3), np.asarray(picture.convert("RGB")))


def test_print_colours_become_screen_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif", 3)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("count", [2, 5, 7])
def test_tiff_with_many_channels(tmp_path: Path, count: int) -> None:
    array = deep(count)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", count), array)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_pages_are_channels_if_so_many_are_wanted(tmp_path: Path, kind: type) -> None:
    pages = np.arange(5 * 4 * 6).reshape(5, 4, 6).astype(kind)
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "x.tif", 5), np.moveaxis(pages, 0, 2))
    np.testing.assert_array_equal(read(tmp_path / "x.tif", 1, pages="first")[:, :, 0], pages[0])
    assert Reader().info(str(tmp_path / "x.tif")).pages == 5
    advice = "--in_channels/--out_channels 5 reads all, --pages first the first"
    with pytest.raises(ImageError, match=rf"x\.tif has 5 pages of 1 channels, 3 are wanted; {advice}$"):
        read(tmp_path / "x.tif", 3)


def test_pages_with_several_channels_and_small_previews(tmp_path: Path) -> None:
    pages = np.stack([noise(8, 6), noise(8, 6, seed=1)])
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb", metadata=None)
            file.write(page[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "x.tif", 6), np.concatenate(list(pages), axis=2))


def test_pages_that_differ_are_no_channels(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for size in (8, 6, 8):
            file.write(noise(size, 6)[:, :, 0], metadata=None)
    with pytest.raises(ImageError, match="pages that differ in size or type; --pages first takes the first$"):
        read(tmp_path / "x.tif", 3)
    assert read(tmp_path / "x.tif", 1, pages="first").shape == (6, 8, 1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, which tries first
@pytest.mark.parametrize("missing", ["StripOffsets", "BitsPerSample"])
def test_a_damaged_tiff_is_not_shown_as_zeros(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, deep(3, 40, 30), photometric="rgb", rowsperstrip=10)
    with tifffile.TiffFile(path) as file:
        entry = file.pages[0].tags[missing].offset
    content = bytearray(path.read_bytes())
    content[entry + 8 : entry + 12] = b"\xff\xff\xff\x7f"  # where the values lie
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.tif cannot be read as an image \(a tag is damaged\)$"):
        read(path, 3)


# Arrays


def test_arrays_with_channels_first_or_last(tmp_path: Path) -> None:
    array, path = deep(3, 6, 5), tmp_path / "x.npy"
    for stored in (array, np.moveaxis(array, 2, 0), np.asfortranarray(array)):
        np.save(path, stored)
        np.testing.assert_array_equal(read(path, 3), array)
        assert Reader().info(str(path))[:3] == (6, 5, 3)
    np.save(path, np.zeros((3, 8, 5), np.float32))
    assert read(path, 5).shape == (3, 8, 5)
    assert read(path, 3).shape == (8, 5, 3)
    assert read(path, 1).shape == (8, 5, 1)  # of three channels, as the shorter side holds them


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[True, False]]))
    assert read(tmp_path / "x.npy", 1)[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("names", [["whatever"], ["mask", "image"], ["mask", "arr_0"]])
def test_npz_gives_its_only_array_or_the_one_called_image(tmp_path: Path, names: list[str]) -> None:
    arrays = {name: np.full((2, 3), number, np.uint8) for number, name in enumerate(names)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        assert read(tmp_path / "x.npz", 1).max() == len(names) - 1


def test_arrays_that_are_no_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, mask=np.zeros((2, 2)), depth=np.zeros((2, 2)))
    with pytest.raises(ImageError, match=r'holds several arrays or none \(mask, depth\); call the image "image"$'):
        read(path, 1)
    for array, reason in [
        (np.zeros(4), r"holds an array of shape \(4,\)"),
        (np.zeros((1, 2, 3, 4)), r"holds an array of shape \(1, 2, 3, 4\)"),
        (np.zeros((2, 2), complex), "holds complex128, not numbers"),
        (np.zeros((0, 2)), "has no pixels"),
        (np.array([[{}]]), "holds object, not numbers"),
    ]:
        np.savez(path, array)
        with pytest.raises(ImageError, match=reason):
            read(path, 1)


# Orientation, reduced sizes, limits

TURNED = {
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],
    3: [[5, 4, 3], [2, 1, 0]],
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[3, 0], [4, 1], [5, 2]],  # turned clockwise by a quarter
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[2, 5], [1, 4], [0, 3]],
}


@pytest.mark.parametrize("name", ["x.png", "late.png", "deep.png", "x.webp", "x.tif", "deep.tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_photographs_stand_upright(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    array, path = np.arange(6, dtype=np.uint8).reshape(2, 3), tmp_path / name
    if name == "deep.tif":
        tifffile.imwrite(path, array.astype(np.uint16), extratags=[(274, 3, 1, orientation, True)], metadata=None)
    elif name == "deep.png":
        path.write_bytes(png(array, 0, (b"eXIf", exif.tobytes()[6:])))
    else:
        Image.fromarray(array).save(path, exif=exif, lossless=True)
    if name == "late.png":  # as ExifTool puts it
        content = path.read_bytes()
        start, pixels = content.index(b"eXIf") - 4, content.index(b"IDAT") - 4
        path.write_bytes(content[:start] + content[pixels:-12] + content[start:pixels] + content[-12:])
    expected = TURNED[orientation]
    assert read(path, 1)[:, :, 0].tolist() == expected
    if name != "x.webp":
        assert Reader().labels(str(path)).tolist() == expected
    assert Reader().info(str(path))[:2] == (len(expected[0]), len(expected))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("library", [True, False])
def test_a_large_jpeg_comes_reduced_but_not_below_the_size(
    tmp_path: Path, orientation: int, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_optional", fast._optional if library else lambda name: None)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(coordinates(200, 120)).save(tmp_path / "x.jpg", exif=exif, quality=95)
    stored = (200, 120)[:: 1 if orientation == 1 else -1]
    for scale, at_least in [(8, (25, 15)), (4, (26, 15)), (4, (50, 30)), (2, (50, 31)), (1, (101, 1)), (1, (999, 9))]:
        wanted = at_least[:: 1 if orientation == 1 else -1]
        image = Reader().pixels(str(tmp_path / "x.jpg"), 3, wanted)
        assert image.shape == (stored[1] // scale, stored[0] // scale, 3)
        whole = Image.fromarray(read(tmp_path / "x.jpg", 3)).resize(image.shape[1::-1], Image.Resampling.BOX)
        assert np.abs(image.astype(int) - np.asarray(whole)).mean() < 2


@needs_data
def test_a_reduced_photograph_looks_the_same_after_the_resize(tmp_path: Path) -> None:
    with Image.open(sorted((REAL / "horse2zebra").rglob("*.jpg"))[0]) as photograph:
        photograph.convert("RGB").resize((1024, 1024), Image.Resampling.LANCZOS).save(tmp_path / "x.jpg", quality=90)
    images = [Reader().pixels(str(tmp_path / "x.jpg"), 3, at_least) for at_least in (None, (286, 286))]
    assert [image.shape[0] for image in images] == [1024, 512]
    full, reduced = (Image.fromarray(image).resize((286, 286), Image.Resampling.BICUBIC) for image in images)
    error = np.square(np.asarray(full, float) - np.asarray(reduced, float)).mean()
    assert 10 * np.log10(255**2 / error) > 40


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "npy", "npz", "bmp"])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, extension: str) -> None:
    path, array = tmp_path / f"x.{extension}", np.zeros((30, 40), np.uint8)
    if extension in ("npy", "npz"):
        (np.save if extension == "npy" else np.savez)(path, array)
    else:
        Image.fromarray(array).save(path)
    assert read(path, 1, max_pixels=1200).shape == (30, 40, 1)
    for ask in (lambda reader: reader.pixels(str(path), 1), lambda reader: reader.labels(str(path))):
        with pytest.raises(ImageError, match=r"has 40 x 30 pixels, more than --max_pixels 1199$"):
            ask(Reader(max_pixels=1199))


def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name in ("x.png", "x.gif", "x.jpg", "x.bmp"):
        save(tmp_path / name, noise(8, 8))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read(tmp_path / name, 3).shape == (8, 8, 3)


# Labels


def test_labels_are_indices_not_colours(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)
    picture = Image.fromarray(indices, "L")
    picture.save(tmp_path / "grey.png")
    picture.save(tmp_path / "grey.tif")
    palette = Image.fromarray(indices).convert("P")
    palette.putpalette(noise(16, 16).tobytes())
    palette.save(tmp_path / "palette.png", transparency=0)
    palette.save(tmp_path / "palette.tif")
    np.save(tmp_path / "x.npy", indices.astype(np.int64))
    tifffile.imwrite(tmp_path / "white.tif", 255 - indices, photometric="miniswhite")
    for path in sorted(tmp_path.iterdir()):
        labels = Reader().labels(str(path))
        assert labels.tolist() == indices.tolist(), path
        assert labels.dtype == (np.int32 if path.suffix == ".npy" else np.uint8)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_count_from_zero(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(np.array([[0b00011011], [0b11100100]], np.uint8), 0, bits=bits))
    digits = [[0, 0, 0, 1, 1, 0, 1, 1], [0, 1, 2, 3], [1, 11]][(1, 2, 4).index(bits)]
    assert Reader().labels(str(path))[0].tolist() == digits
    most = 2**bits - 1
    assert read(path, 1)[0, :, 0].tolist() == [digit * 255 // most for digit in digits]


def test_labels_of_many_classes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(EVERY_SIXTEEN, 0))
    np.testing.assert_array_equal(Reader().labels(str(tmp_path / "x.png")), EVERY_SIXTEEN)
    Image.fromarray(np.array([[70000, -1]], np.int32)).save(tmp_path / "x.tif")
    assert Reader().labels(str(tmp_path / "x.tif")).tolist() == [[70000, -1]]


def test_colours_and_fractions_are_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "x.png", noise(4, 4))
    with pytest.raises(ImageError, match=r"x\.png is no label map: it has 3 channels; save class numbers as"):
        Reader().labels(str(tmp_path / "x.png"))
    np.save(tmp_path / "x.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(ImageError, match=r"x\.npy is no label map: it holds float32, not whole numbers"):
        Reader().labels(str(tmp_path / "x.npy"))


# Round trips of any size

anything = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
side = st.integers(1, 300)


@anything
@given(side, side, st.sampled_from([1, 3, 4]), st.integers(0, 9))
def test_png_of_any_size_comes_back(tmp_path: Path, width: int, height: int, channels: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    Image.fromarray(array.squeeze(2) if channels == 1 else array).save(tmp_path / "x.png", compress_level=1)
    np.testing.assert_array_equal(read(tmp_path / "x.png", channels), array)


@anything
@given(side, side, st.integers(1, 6), st.sampled_from(["u1", "u2", "f4"]), st.sampled_from([None, "zlib", "lzw"]))
def test_tiff_of_any_size_comes_back(
    tmp_path: Path, width: int, height: int, channels: int, kind: str, compression: str | None
) -> None:
    array = np.random.default_rng(width).integers(0, 256, (height, width, channels)).astype(kind)
    planar = "contig" if channels > 1 else None
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="minisblack", planarconfig=planar, compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "x.tif", channels), array)


@anything
@given(side, side, st.integers(1, 6), st.sampled_from(["u1", ">u2", "f4"]), st.booleans())
def test_arrays_of_any_size_come_back(
    tmp_path: Path, width: int, height: int, channels: int, kind: str, packed: bool
) -> None:
    array = np.random.default_rng(width).integers(0, 256, (height, width, channels)).astype(kind)
    path = tmp_path / ("x.npz" if packed else "x.npy")
    (np.savez_compressed if packed else np.save)(path, array)
    np.testing.assert_array_equal(read(path, channels), array)


@anything
@given(side, side, st.sampled_from([1, 3]), side, side)
def test_jpeg_of_any_size_is_reduced_to_no_less_than_asked(
    tmp_path: Path, width: int, height: int, channels: int, least_width: int, least_height: int
) -> None:
    Image.fromarray(noise(width, height)).convert("L" if channels == 1 else "RGB").save(tmp_path / "x.jpg")
    image = Reader().pixels(str(tmp_path / "x.jpg"), channels, (least_width, least_height))
    assert image.shape[1] >= min(width, least_width) and image.shape[0] >= min(height, least_height)
    assert image.shape[2] == channels and image.flags.writeable and image.flags.c_contiguous


# Files


def test_a_file_is_known_by_size_time_and_extension(tmp_path: Path) -> None:
    path = save(tmp_path / "X::Y.PNG", noise(3, 3))
    assert read_bytes(str(path)) == path.read_bytes()
    assert suffix(str(path)) == suffix(f"{tmp_path}/x.tar::000.a.PNG") == ".png"
    assert signature(str(path)) == (path.stat().st_size, path.stat().st_mtime_ns)
    tar = path.rename(tmp_path / "x.tar")
    assert signature(f"{tar}::member.jpg") == signature(str(tar)) == (tar.stat().st_size, tar.stat().st_mtime_ns)


def test_heavy_libraries_wait_until_they_are_needed(tmp_path: Path) -> None:
    import subprocess

    script = (
        "import sys; from i2i.data.images import Reader; Reader().pixels(sys.argv[1], 3); "
        "print(*[name for name in ('cv2', 'tifffile', 'imagecodecs', 'torchvision') if name in sys.modules])"
    )
    path = save(tmp_path / "x.bmp", noise(3, 3))
    result = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True
    )
    assert result.stdout.strip() == ""


def test_colours_of_a_page_that_no_rgb_is(tmp_path: Path) -> None:
    pages = [Image.new(mode, (4, 3), colour) for mode, colour in (("CMYK", (55, 225, 255, 0)), ("CMYK", 9))]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    expected = np.asarray(pages[0].convert("RGB"))
    np.testing.assert_array_equal(Reader(pages="first").pixels(str(tmp_path / "x.tif"), 3), expected)
    with pytest.raises(ImageError, match="holds colours as SEPARATED, which is not read; save it as RGB"):
        Reader().pixels(str(tmp_path / "x.tif"), 8)
