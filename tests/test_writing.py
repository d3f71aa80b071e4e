"""From tensors back to files of the kind that they came from."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from i2i.data.batch import normalise
from i2i.data.domain import Domain
from i2i.data.images.writing import Encoding, class_colours, denormalise, file_suffix, write_image, write_picture

DEEP = Domain(1, "uint16", 0, 65535)


def there_and_back(pixels: np.ndarray, domain: Domain) -> np.ndarray:
    return denormalise(normalise(domain.to_tensor(pixels)), domain)


def read(path: Path) -> np.ndarray:
    """By a library that had no part in the writing, where there is one."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored.dtype == np.uint8:
        return np.asarray(Image.open(path))
    return stored if stored.ndim == 2 else stored[:, :, [2, 1, 0, 3][: stored.shape[2]]]


def written(pixels: np.ndarray, domain: Domain, folder: Path) -> np.ndarray:
    """What is read from the file that the tensor of `pixels` is written to."""
    array = read(write_image(normalise(domain.to_tensor(pixels)), folder / "x", domain))
    return array[:, :, None] if array.ndim == 2 and not domain.is_labels else array


def every_value(domain: Domain) -> np.ndarray:
    """(H, W, C) with all values of 8 or 16 bits in every channel, shifted from channel to channel."""
    side = 16 if domain.kind == "uint8" else 256
    values = np.arange(side * side).astype(domain.kind).reshape(side, side, 1)
    return np.concatenate([np.roll(values, 3 * channel, axis=0) for channel in range(domain.channels)], axis=2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("kind", "high"), [("uint8", 255), ("uint16", 65535)])
def test_every_value_of_eight_and_sixteen_bits_comes_back(tmp_path: Path, kind: str, high: int, channels: int) -> None:
    domain = Domain(channels, kind, 0, high)
    pixels = every_value(domain)
    for out in (there_and_back(pixels, domain), written(pixels, domain, tmp_path)):
        assert out.dtype == kind
        np.testing.assert_array_equal(out, pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_files_hold_the_pixels_at_every_level(tmp_path: Path, channels: int) -> None:
    random = np.random.default_rng(0)
    for size in ((1, 1), (37, 5), (64, 300)):
        pixels = random.integers(0, 256, (*size, channels)).cumsum(axis=1, dtype=np.uint64).astype(np.uint8) // 8
        files = [write_picture(pixels, tmp_path / f"{level}", Encoding(png_level=level)) for level in (0, 1, 9)]
        for file in files:
            np.testing.assert_array_equal(read(file).reshape(pixels.shape), pixels)
    assert files[0].stat().st_size > files[1].stat().st_size > files[2].stat().st_size
    domain = Domain(channels, "uint16", 0, 65535, alpha=channels == 4)
    deep = [
        write_image(torch.zeros(channels, 64, 300), tmp_path / f"deep{n}", domain, Encoding(png_level=n))
        for n in (0, 9)
    ]
    assert deep[0].stat().st_size > 10 * deep[1].stat().st_size


def test_pictures_are_png_or_jpeg(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    for channels, suffix in ((1, ".jpg"), (3, ".jpg"), (4, ".png")):
        pixels = np.repeat(smooth[:, :, None], channels, axis=2)
        pixels[:, :, -1] += 40
        path = write_picture(pixels, tmp_path / "photo.v2", Encoding("jpg", jpeg_quality=98))
        assert path == tmp_path / f"photo.v2{suffix}"
        found = np.asarray(Image.open(path)).reshape(pixels.shape).astype(int)
        assert np.abs(found - pixels).max() <= 4
        assert write_picture(pixels, tmp_path / "photo.v2").suffix == ".png"
        np.testing.assert_array_equal(read(tmp_path / "photo.v2.png").reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    ("size", "encoding", "message"),
    [
        ((2, 70000), Encoding("jpg"), "70000x2 pixels are more than a jpg file can hold; use --format png, or smaller"),
        ((70000, 1), Encoding("jpg"), "1x70000 pixels are more than a jpg file can hold"),
        ((1, 1000001), Encoding("png"), "1000001x1 pixels are more than a png file can hold; use smaller images"),
    ],
)
def test_what_a_format_cannot_hold_is_one_line(
    tmp_path: Path, size: tuple[int, int], encoding: Encoding, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_picture(np.zeros((*size, 3), np.uint8), tmp_path / "x", encoding)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (1000, 65000), (500, 501)])
def test_every_value_of_a_range_of_its_own_comes_back(low: int, high: int) -> None:
    domain = DEEP._replace(low=low, high=high)
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    np.testing.assert_array_equal(there_and_back(pixels, domain), np.clip(pixels, low, high))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_floats_come_back_to_a_millionth_of_their_range(tmp_path: Path, channels: int) -> None:
    domain = Domain(channels, "float32", -300, 1500)
    pixels = np.random.default_rng(0).uniform(-300, 1500, (31, 17, channels)).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = -300, 1500
    for out in (there_and_back(pixels, domain), written(pixels, domain, tmp_path)):
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, pixels, rtol=0, atol=1e-6 * 1800)


def test_numbers_are_rounded_and_clipped() -> None:
    image = torch.tensor([[[-2.0, -1.0, 0.0, 0.996, 1.0, 3.0]]])
    # (0.996 + 1) * 127.5 = 254.49
    assert denormalise(image, Domain(1))[0, :, 0].tolist() == [0, 0, 128, 254, 255, 255]
    assert denormalise(image, DEEP)[0, :, 0].tolist() == [0, 0, 32768, 65404, 65535, 65535]
    assert denormalise(image, Domain(1, "float32", 10, 30))[0, :, 0].tolist() == pytest.approx(
        [10, 10, 20, 29.96, 30, 30]
    )
    wide = Domain(1, "uint8", -100, 300)
    assert denormalise(image, wide)[0, :, 0].tolist() == [0, 0, 100, 255, 255, 255]


def test_a_networks_output_is_taken_as_it_is() -> None:
    image = torch.zeros(1, 2, 3, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(denormalise(image, DEEP), np.full((2, 3, 1), 32768))


@pytest.mark.parametrize(
    ("domain", "suffix", "mode"),
    [
        (Domain(1), ".png", "L"),
        (Domain(3), ".png", "RGB"),
        (Domain(4, alpha=True), ".png", "RGBA"),
        (Domain(4), ".tif", None),
        (DEEP, ".png", "I;16"),
        (Domain(5, "labels", 0, 4), ".png", "P"),
        (Domain(256, "labels", 0, 255), ".png", "P"),
        (Domain(257, "labels", 0, 256), ".png", "I;16"),
        (Domain(1, "float32", 0, 1), ".tif", "F"),
        (Domain(2), ".tif", None),
        (Domain(7, "uint16", 0, 65535), ".tif", None),
        (Domain(2, "chroma", -1, 1), ".tif", None),
    ],
)
def test_the_kind_of_file_is_known_beforehand(tmp_path: Path, domain: Domain, suffix: str, mode: str | None) -> None:
    path = write_image(torch.zeros(domain.channels, 4, 6), tmp_path / "photo.v2_fake_B", domain)
    assert path == tmp_path / f"photo.v2_fake_B{suffix}"
    assert file_suffix(domain) == suffix
    assert os.listdir(tmp_path) == [path.name]
    if mode:
        with Image.open(path) as image:
            assert (image.mode, image.size) == (mode, (6, 4))


def test_a_float_tiff_of_three_channels_is_in_colour(tmp_path: Path) -> None:
    path = write_image(torch.zeros(3, 4, 6), tmp_path / "x", Domain(3, "float32", 0, 1))
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert (page.photometric.name, page.planarconfig.name, page.shape) == ("RGB", "CONTIG", (4, 6, 3))
    path = write_image(torch.zeros(7, 4, 6), tmp_path / "x", Domain(7))
    with tifffile.TiffFile(path) as file:
        assert (len(file.pages), file.pages.first.photometric.name) == (1, "MINISBLACK")


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_smallest_images_are_written(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    for domain in (Domain(channels), Domain(channels, "uint16", 0, 65535), Domain(channels, "float32", 0, 1)):
        pixels = np.ones((*size, channels), domain.kind)
        np.testing.assert_array_equal(written(pixels, domain, tmp_path).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("classes", [2, 21, 256, 257, 1000])
def test_labels_come_back_as_the_classes_indices(tmp_path: Path, classes: int) -> None:
    domain = Domain(classes, "labels", 0, classes - 1)
    indices = (np.arange(45 * 30) % classes).reshape(45, 30).astype(np.uint16)
    np.testing.assert_array_equal(there_and_back(indices, domain), indices)
    np.testing.assert_array_equal(written(indices, domain, tmp_path), indices)


def test_the_likeliest_class_is_written_in_its_colour(tmp_path: Path) -> None:
    logits = torch.tensor([[[0.1, -0.9]], [[0.2, -1.0]], [[-1.0, -0.95]]])
    path = write_image(logits, tmp_path / "x", Domain(3, "labels", 0, 2))
    with Image.open(path) as image:
        assert np.asarray(image).tolist() == [[1, 0]]
        assert np.asarray(image.convert("RGB")).tolist() == [[[128, 0, 0], [0, 0, 0]]]


def test_the_colours_of_classes_are_pascals_and_distinct() -> None:
    colours = class_colours(256)
    # background, aeroplane, bicycle, bird ..., tvmonitor, and the border
    assert colours[[0, 1, 2, 3, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 64, 128]]
    assert colours[255].tolist() == [224, 224, 192]
    assert len(np.unique(class_colours(3000), axis=0)) == 3000


def test_a_file_that_was_there_is_replaced_and_not_changed(tmp_path: Path) -> None:
    path = write_image(torch.full((3, 4, 4), -1.0), tmp_path / "x", Domain())
    os.link(path, tmp_path / "old.png")
    write_image(torch.ones(3, 4, 4), tmp_path / "x", Domain())
    assert read(tmp_path / "old.png").max() == 0
    assert read(path).min() == 255


def test_a_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(torch.full((3, 4, 4), -1.0), tmp_path / "x", Domain())
    before = path.read_bytes()

    def disk_full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_image(torch.ones(3, 4, 4), tmp_path / "x", Domain())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]


def test_no_class_stays_no_class(tmp_path: Path) -> None:
    domain = Domain(3, "labels", 0, 2)
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    image = domain.to_tensor(labels) / 127.5 - 1
    np.testing.assert_array_equal(denormalise(image, domain), labels)
    with Image.open(write_image(image, tmp_path / "x", domain)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), labels)
