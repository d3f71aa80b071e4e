"""What the translator refuses, and the files that it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from i2i.data import DataSpec, ImageError
from i2i.data.domain import Domain
from i2i.data.images.writing import write_image
from i2i.errors import UserError
from i2i.models import build_model
from i2i.models.pix2pix import Pix2Pix
from i2i.training import checkpoint
from i2i.translate.translator import Translator
from tests import tiny

SIDE = 16


def pixels(*shape: int, most: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, shape or (SIDE, SIDE, 3))


def translator(a: Domain | None = None, b: Domain | None = None, **options: Any) -> Translator:
    torch.manual_seed(0)
    a, b = a or Domain(), b or Domain()
    config = Pix2Pix.Config(**tiny.TRANSLATION | {"generator": "unet", "num_downs": 3})
    spec = DataSpec(a.channels, b.channels, a=(a,), b=(b,))
    return Translator(build_model("pix2pix", config, spec), device="cpu", **options)


# --- Tensors and arrays that are no images.


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((3, SIDE, SIDE), 1.01), ["1.01", r"\[-1, 1\]"]),
        (torch.full((3, SIDE, SIDE), -1.5), ["-1.5", r"\[-1, 1\]"]),
        (torch.from_numpy(pixels(3, SIDE, SIDE)).float(), ["from 0 to 255", r"\[-1, 1\].*uint8"]),
        (torch.from_numpy(pixels(3, SIDE, SIDE)).half(), ["from 0 to 255", r"\[-1, 1\].*uint8"]),
        (torch.full((3, SIDE, SIDE), torch.nan), ["NaN"]),
        (torch.ones(3, SIDE, SIDE).index_fill(2, torch.tensor([3]), -torch.inf), ["infinity"]),
        (torch.from_numpy(pixels(3, SIDE, SIDE)), ["int64", "uint8"]),
        (torch.from_numpy(pixels(3, SIDE, SIDE)).to(torch.int16), ["int16", "uint8"]),
        (torch.from_numpy(pixels(3, SIDE, SIDE)).to(torch.uint16), ["uint16", "uint8"]),
        (torch.ones(3, SIDE, SIDE, dtype=torch.bool), ["bool", "uint8"]),
        (torch.ones(3, SIDE, SIDE, dtype=torch.complex64), ["complex64", "uint8"]),
        (torch.zeros(3, 0, SIDE), [r"\(3, 0, 16\)"]),
        (torch.zeros(1, 3, SIDE, SIDE), [r"3 channels.*\(1, 3, 16, 16\)"]),
        ([[0]], ["list", "a path"]),
        (None, ["NoneType", "a path"]),
        (pixels().astype(complex), ["complex128"]),
        (pixels().astype(object), ["object"]),
        (pixels(), ["int64", "uint8"]),
        (np.zeros((0, SIDE, 3), np.uint8), [r"\(3, 0, 16\)"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_what_is_no_image_is_named(image: Any, words: list[str]) -> None:
    for word in words:
        with pytest.raises(UserError, match=word):
            translator()(image)


def test_rounding_and_8_bits_are_taken() -> None:
    translate = translator()
    image = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert isinstance(rounded := translate(image.clamp(-1, 1) * 1.0005), Tensor) and rounded.isfinite().all()
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert torch.is_tensor(translate(image.to(dtype)))
    whole = torch.from_numpy(pixels(3, SIDE, SIDE)).byte()
    torch.testing.assert_close(translate(whole), translate(whole / 127.5 - 1))


def test_arrays_of_floats_have_to_be_finite() -> None:
    translate = translator(Domain(1, "float32", 0, 10), Domain(1, "float32", 0, 10))
    image = pixels(SIDE, SIDE, most=10).astype(np.float32)
    assert np.isfinite(translate(image)).all()
    for value in (np.nan, np.inf):
        image[3, 3] = value
        with pytest.raises(UserError, match="this array.*not finite"):
            translate(image)
        with pytest.raises(UserError, match=r"no finite numbers|not finite"):
            translate(Image.fromarray(image))


def test_maps_of_classes_are_whole_numbers() -> None:
    translate = translator(Domain(4, "labels", 0, 3))
    classes = pixels(SIDE, SIDE, most=4).astype(np.uint8)
    assert translate(classes).shape == (SIDE, SIDE, 3)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="this array holds float64, and a map of classes whole numbers"):
        translate(classes + 0.5)


@pytest.mark.parametrize(
    "batch",
    [torch.zeros(3, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)],
)
def test_batches_are_checked_for_shape_and_type(batch: Tensor) -> None:
    translate, good = translator(), torch.zeros(1, 3, SIDE, SIDE)
    found = f"{str(batch.dtype).removeprefix('torch.')} .{', '.join(map(str, batch.shape))}"
    with pytest.raises(UserError, match=rf"\(N, 3, H, W\).*{found}"):
        translate.translate(batch)
    for images, truth in ((batch, None), (good, batch)):
        with pytest.raises(UserError, match=rf"\(N, 3, H, W\).*{found}"):
            translate.visuals(images, truth)


# --- Files.


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_opened(kind: type, tmp_path: Path) -> None:
    translate, file = translator(), tmp_path / "x.png"
    picture = Image.fromarray(pixels(SIDE, 2 * SIDE, 3).astype(np.uint8))
    picture.save(file)
    found = translate(kind(file))
    assert isinstance(found, Image.Image) and found.size == (2 * SIDE, SIDE)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(translate(picture)))


def test_a_photo_is_turned_and_transparency_is_as_the_run_wants_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = pixels(SIDE, 2 * SIDE, 3).astype(np.uint8)
    Image.fromarray(turned).save(tmp_path / "turned.png", exif=exif)
    found = translator()(tmp_path / "turned.png")
    np.testing.assert_array_equal(np.asarray(found), translator()(np.ascontiguousarray(np.rot90(turned, -1))))

    clear = Image.new("RGBA", (SIDE, SIDE), (200, 10, 10, 0))
    clear.save(tmp_path / "clear.png")
    for alpha, colour in (("drop", (200, 10, 10)), ("white", (255, 255, 255)), ("black", (0, 0, 0))):
        found = translator(alpha=alpha)(str(tmp_path / "clear.png"))
        expected = translator()(Image.new("RGB", (SIDE, SIDE), colour))
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_formats_that_pillow_does_not_read(tmp_path: Path) -> None:
    deep = pixels(SIDE, SIDE, 3, most=65536).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    np.save(tmp_path / "x.npy", pixels().astype(np.uint8))
    as_picture = translator()(tmp_path / "deep.tif")
    assert isinstance(as_picture, Image.Image) and as_picture.mode == "RGB"
    expected = translator()(deep)
    assert np.abs(np.asarray(as_picture).astype(float) * 257 - expected).max() <= 129  # type: ignore[operator]
    found = translator()(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.asarray(found), translator()(pixels().astype(np.uint8)))


def test_a_map_of_classes_is_read_as_indices(tmp_path: Path) -> None:
    domain = Domain(4, "labels", 0, 3)
    classes = pixels(SIDE, SIDE, most=4).astype(np.uint8)
    with_palette = write_image(domain.to_tensor(classes).float() / 127.5 - 1, tmp_path / "classes", domain)
    found = translator(domain)(with_palette)
    np.testing.assert_array_equal(np.asarray(found), translator(domain)(classes))
    Image.fromarray(classes + 2).save(tmp_path / "beyond.png")
    with pytest.raises(UserError, match=r"beyond\.png has class [45]"):
        translator(domain)(tmp_path / "beyond.png")


def test_a_run_says_how_its_files_are_read(tmp_path: Path) -> None:
    model = tiny.pix2pix()
    options = {"model": "pix2pix", "alpha": "white", "max_pixels": 100, "pages": "first"} | vars(model.config)
    state = {"options": options, "spec": model.spec.as_dict(), "model": model.state_dict(), "ema": None, "step": 0}
    checkpoint.save(state, tmp_path / "latest.pt")
    translate = Translator.from_run(tmp_path, device="cpu")
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "large.png")
    with pytest.raises(ImageError, match=r"large\.png has 16 x 16 pixels, more than --max_pixels 100"):
        translate(tmp_path / "large.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert translate(tmp_path / "pages.tif").size == (8, 8)  # type: ignore[union-attr]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "words.txt").write_text("no image")
    for name in ("missing.png", "damaged.png", "words.txt", ""):
        with pytest.raises(ImageError, match=f"{tmp_path / name} cannot be read as an image"):
            translator()(tmp_path / name)
