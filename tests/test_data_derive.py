"""Pairs derived from single images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.color import rgb_to_lab as kornia_rgb_to_lab
from PIL import Image

from i2i.data.batch import normalise
from i2i.data.derive import BY_NAME, DERIVATIONS, Derivation, derivation, lab_to_rgb, rgb_to_lab
from i2i.data.domain import Domain
from tests.pictures import coordinates, noise

COLOUR = {
    "uint8": Domain(3),
    "uint16": Domain(3, "uint16", 0, 65535),
    "float32": Domain(3, "float32", -2, 6),
}
CUBE = np.stack(np.meshgrid(*[np.arange(0, 256, 5, np.uint8)] * 3), axis=-1).reshape(52, -1, 3)


def of_kind(pixels: np.ndarray, kind: str) -> np.ndarray:
    """8 bits in the full range of another kind."""
    if kind == "float32":
        return (pixels / 255 * 8 - 2).astype(np.float32)
    return pixels.astype(kind) * (257 if kind == "uint16" else 1)


def made(name: str, image: Domain | None = None, scale: int = 4) -> Derivation:
    return derivation(name, scale, image or Domain())


def pair(name: str, pixels: np.ndarray, image: Domain | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return made(name, image).pair(pixels, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", COLOUR)
@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_pairs_are_what_their_domains_say_at_every_size(name: str, kind: str, width: int, height: int) -> None:
    pixels = of_kind(noise(width, height), kind)
    for domain, image in zip(made(name, COLOUR[kind]).domains(), pair(name, pixels, COLOUR[kind]), strict=True):
        assert image.shape == (height, width, domain.channels)
        assert image.dtype == (domain.kind if domain.kind in COLOUR else np.float32)
        tensor = normalise(domain.to_tensor(image))
        assert tensor.shape == (domain.channels, height, width)
        assert tensor.isfinite().all()


@pytest.mark.parametrize("name", ["grey", "edges", "downscale", "inpainting"])
@pytest.mark.parametrize("kind", COLOUR)
def test_b_is_the_image_itself(name: str, kind: str) -> None:
    pixels = of_kind(noise(21, 13), kind)
    b = pair(name, pixels, COLOUR[kind])[1]
    assert b.dtype == pixels.dtype
    np.testing.assert_array_equal(b, pixels)


@pytest.mark.parametrize("name", ["colorization", "grey", "edges", "downscale"])
def test_only_holes_are_left_to_chance(name: str) -> None:
    pixels = noise(40, 30)
    for first, second in zip(pair(name, pixels, seed=1), pair(name, pixels, seed=2), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("colour", "lab"),  # of http://www.brucelindbloom.com for sRGB under D65
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.20, -107.86)),
        ((128, 128, 128), (53.59, 0, 0)),
    ],
)
def test_colours_become_lightness_and_chroma(colour: tuple[int, ...], lab: tuple[float, ...]) -> None:
    a, b = pair("colorization", np.full((2, 3, 3), colour, np.uint8))
    np.testing.assert_allclose(a[1, 2], [lab[0] / 50 - 1], atol=3e-4)
    np.testing.assert_allclose(b[1, 2], [lab[1] / 110, lab[2] / 110], atol=3e-4)


def test_lab_is_that_of_kornia() -> None:
    unit = (CUBE / np.float32(255)).astype(np.float32)
    expected = kornia_rgb_to_lab(torch.from_numpy(unit).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    np.testing.assert_allclose(rgb_to_lab(unit), expected, atol=1e-3)


@pytest.mark.parametrize("kind", COLOUR)
def test_every_colour_comes_back_from_lightness_and_chroma(kind: str) -> None:
    domains = made("colorization", COLOUR[kind]).domains()
    pixels = pair("colorization", of_kind(CUBE, kind), COLOUR[kind])
    halves = [domain.to_tensor(half)[None] for domain, half in zip(domains, pixels, strict=True)]
    assert all(half.abs().max() <= 1 for half in map(torch.from_numpy, pixels)), "to_tensor would have clipped it"
    back = (lab_to_rgb(*halves)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    np.testing.assert_allclose(back, CUBE, atol=0.05)


def test_a_grey_photograph_is_an_input_of_colorization() -> None:
    step = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    colorization = made("colorization")
    assert colorization.input_channels == 3
    rgb = lab_to_rgb(torch.from_numpy(colorization.input(step)).permute(2, 0, 1)[None], torch.zeros(1, 2, 1, 256))
    np.testing.assert_allclose((rgb[0, :, 0] + 1) * 127.5, np.repeat(np.arange(256)[None], 3, 0), atol=0.05)


def test_grey_is_that_of_pillow() -> None:
    pixels = noise(200, 100)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(pair("grey", pixels)[0][:, :, 0], expected)
    with_alpha = np.concatenate([pixels, noise(200, 100, 1)[:, :, :1]], axis=2)
    np.testing.assert_array_equal(pair("grey", with_alpha, Domain(4))[0][:, :, 0], expected)


def test_grey_of_sixteen_bits_and_floats_has_their_precision() -> None:
    # 0.299 * 1000 + 0.587 * 30000 + 0.114 * 65535 = 25379.99
    a, _ = pair("grey", np.array([[[1000, 30000, 65535], [65535] * 3]], np.uint16), COLOUR["uint16"])
    assert a.tolist() == [[[25380], [65535]]]
    a, _ = pair("grey", np.array([[[-1, 0.5, 20]]], np.float32), COLOUR["float32"])
    assert a.item() == pytest.approx(-0.299 + 0.2935 + 2.28, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_that_is_grey_stays_as_it_is(channels: int) -> None:
    shades = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], channels, axis=2)
    np.testing.assert_array_equal(made("grey", Domain(channels)).input(shades), shades[:, :, :1])


@pytest.mark.parametrize("kind", COLOUR)
def test_edges_are_black_lines_on_white(kind: str) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, 12:] = 200
    a, _ = pair("edges", of_kind(pixels, kind), COLOUR[kind])
    assert set(np.unique(a)) == {0, 255}
    assert (a[:, 11:13] == 0).sum(axis=1).ravel().tolist() == [1] * 20, "one line beside the step"
    assert (a == 0).sum() == 20, "and nothing else"


def test_edges_are_cannys() -> None:
    pixels = np.asarray(Image.fromarray(noise(12, 9)).resize((60, 45), Image.Resampling.BICUBIC))
    blurred = cv2.GaussianBlur(np.asarray(Image.fromarray(pixels).convert("L")), (0, 0), 1)
    a = pair("edges", pixels)[0][:, :, 0]
    np.testing.assert_array_equal(a, 255 - cv2.Canny(blurred, 100, 200))
    assert 0.01 < (a == 0).mean() < 0.3


def test_drawn_edges_stay_as_they_are() -> None:
    drawing = noise(9, 7)[:, :, :1]
    for image in COLOUR.values():
        edges = made("edges", image)
        assert edges.input_channels == 1
        np.testing.assert_array_equal(edges.input(drawing), drawing)
    np.testing.assert_array_equal(made("edges", COLOUR["uint16"]).input(of_kind(drawing, "uint16")), drawing)


@pytest.mark.parametrize("size", [(64, 48), (61, 47), (3, 100)])
def test_downscaling_is_pillows_there_and_back(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    small = tuple(max(1, round(side / 4)) for side in size)
    there = Image.fromarray(pixels).resize(small, Image.Resampling.BICUBIC)
    expected = np.asarray(there.resize(size, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(pair("downscale", pixels)[0] - expected).max() <= 2


def test_a_small_image_is_enlarged_to_be_an_input() -> None:
    small = noise(10, 7)
    expected = np.asarray(Image.fromarray(small).resize((30, 21), Image.Resampling.BICUBIC)).astype(int)
    enlarged = made("downscale", scale=3).input(small)
    assert np.abs(enlarged - expected).max() <= 1


@pytest.mark.parametrize("kind", COLOUR)
def test_downscaling_changes_no_range(kind: str) -> None:
    flat = of_kind(np.full((10, 10, 3), 255, np.uint8), kind)
    np.testing.assert_allclose(pair("downscale", flat, COLOUR[kind])[0], flat, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "middle", "clear", "opaque"), [("uint8", 127, 0, 255), ("uint16", 32767, 0, 65535), ("float32", 2, -2, 6)]
)
def test_a_hole_is_a_transparent_rectangle_of_mid_range(kind: str, middle: int, clear: int, opaque: int) -> None:
    pixels = of_kind(coordinates(100, 60), kind)
    for seed in range(50):
        a, _ = pair("inpainting", pixels, COLOUR[kind], seed)
        hole = a[:, :, 3] == clear
        np.testing.assert_array_equal(a[:, :, 3], np.where(hole, clear, opaque))
        np.testing.assert_array_equal(a[:, :, :3][~hole], pixels[~hole])
        assert (a[:, :, :3][hole] == middle).all()
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 15 <= len(rows) <= 30 and 25 <= len(columns) <= 50


def test_holes_are_anywhere_and_of_all_sizes() -> None:
    grey_image = np.full((40, 40, 1), 9, np.uint8)
    holes = np.stack([pair("inpainting", grey_image, Domain(1), seed)[0][:, :, 1] == 0 for seed in range(2000)])
    share = holes.mean(axis=0)
    # A length uniform in [10, 20] and rounded: its ends come up half as often.
    sizes, likely = np.arange(10, 21), np.array([0.05, *[0.1] * 9, 0.05])
    covered = (likely * sizes / (41 - sizes)).sum()  # of the 41 - size places, `size` hold the middle of a side
    assert share[20, 20] == pytest.approx(covered**2, abs=0.04)
    at_the_ends = [holes[:, row].any(axis=1).mean() for row in (0, -1)] + [
        holes[:, :, column].any(axis=1).mean() for column in (0, -1)
    ]
    np.testing.assert_allclose(at_the_ends, (likely / (41 - sizes)).sum(), atol=0.015)
    np.testing.assert_allclose(share, share[::-1, ::-1], atol=0.06)
    heights = holes.any(axis=2).sum(axis=1)
    np.testing.assert_allclose(np.bincount(heights)[10:] / 2000, likely, atol=0.03)
    widths = holes.any(axis=1).sum(axis=1)
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.08


def test_what_is_transparent_is_a_hole_to_be_filled() -> None:
    inpainting = made("inpainting")
    assert inpainting.input_channels == 4
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 254], [10, 20, 30, 128], [10, 20, 30, 0]]], np.uint8)
    known, hole = [10, 20, 30, 255], [127, 127, 127, 0]
    assert inpainting.input(rgba).tolist() == [[known, known, hole, hole]]
    in_grey = made("inpainting", Domain(1))
    assert in_grey.input_channels == 4
    assert in_grey.input(rgba).tolist() == [[[18, 255], [18, 255], [127, 0], [127, 0]]]


def test_a_derived_hole_is_an_input_again() -> None:
    for kind, image in COLOUR.items():
        a, _ = pair("inpainting", of_kind(noise(30, 20), kind), image)
        np.testing.assert_array_equal(made("inpainting", image).input(a), a)


def test_eight_bits_among_sixteen_keep_their_own_range() -> None:
    pixels = noise(16, 12)
    for name in ("colorization", "edges", "inpainting"):
        for mixed, alone in zip(pair(name, pixels, COLOUR["uint16"]), pair(name, pixels), strict=True):
            np.testing.assert_array_equal(mixed, alone)


def test_a_range_of_its_own_reaches_from_black_to_white() -> None:
    twelve_bits = Domain(3, "uint16", 0, 4095)
    a, b = pair("colorization", np.full((1, 1, 3), 4095, np.uint16), twelve_bits)
    np.testing.assert_allclose(np.concatenate([a, b], axis=2), [[[1, 0, 0]]], atol=1e-4)


def test_images_that_a_derivation_cannot_take_are_named() -> None:
    assert DERIVATIONS == ("none", "colorization", "grey", "edges", "downscale", "inpainting")
    with pytest.raises(ValueError, match="^--derive colorization takes images of 3 channels, not 1$"):
        made("colorization", Domain(1))
    with pytest.raises(ValueError, match="^--derive grey takes images of 1 or 3 or 4 channels, not 7$"):
        made("grey", Domain(7))
    assert made("downscale", Domain(7)).domains() == (Domain(7), Domain(7))
