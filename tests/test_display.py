"""What people are shown of images that are no pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i.data.batch import normalise
from i2i.data.derive import derivation
from i2i.data.domain import Domain
from i2i.data.images.display import displayed
from tests.pictures import coordinates

LIGHTNESS, CHROMA = Domain(1, "lightness", -1, 1), Domain(2, "chroma", -1, 1)
LABELS = Domain(4, "labels", 0, 3)
RGB = (Domain(3),)


def one_hot(indices: list[list[int]], classes: int = 4) -> Tensor:
    return normalise(Domain(classes, "labels", 0, classes - 1).to_tensor(np.array(indices)))[None]


def eight_bit(images: Tensor) -> list[list[list[int]]]:
    """The only image of a batch as rows of pixels."""
    return ((images[0].permute(1, 2, 0) + 1) * 127.5).round().int().tolist()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_stay_as_they_are(channels: int) -> None:
    images = torch.rand(2, channels, 4, 5) * 2 - 1
    domain = (Domain(channels, "uint16", 0, 65535, alpha=channels == 4),)
    assert torch.equal(displayed({"fake_B": images}, RGB, domain)["fake_B"], images)


def test_classes_are_shown_in_their_colours() -> None:
    shown = displayed({"real_A": one_hot([[0, 1], [2, 3]])}, (LABELS,), RGB)["real_A"]
    assert eight_bit(shown) == [[[0, 0, 0], [128, 0, 0]], [[0, 128, 0], [128, 128, 0]]]


def test_of_an_unsure_network_the_likeliest_class_is_shown() -> None:
    logits = torch.tensor([-0.9, -0.2, -0.3, -1]).view(1, 4, 1, 1)
    assert eight_bit(displayed({"fake_B": logits}, RGB, (LABELS,))["fake_B"]) == [[[128, 0, 0]]]


@pytest.mark.parametrize("backwards", [False, True])
def test_chroma_is_shown_with_its_lightness(backwards: bool) -> None:
    pixels = coordinates(9, 7)
    colorization = derivation("colorization", 4, Domain())
    tensors = [
        domain.to_tensor(half)[None]
        for domain, half in zip(colorization.domains(), colorization.pair(pixels, np.random.default_rng()), strict=True)
    ]
    names = ("real_B", "real_A") if backwards else ("real_A", "real_B")
    a, b = ((CHROMA,), (LIGHTNESS,)) if backwards else ((LIGHTNESS,), (CHROMA,))
    shown = displayed(dict(zip(names, tensors, strict=True)), a, b)
    assert torch.equal(shown[names[0]], tensors[0])
    np.testing.assert_array_equal(eight_bit(shown[names[1]]), pixels)


def test_chroma_by_itself_is_shown_on_mid_grey() -> None:
    shown = displayed({"fake_B": torch.zeros(1, 2, 1, 1)}, (LIGHTNESS,), (CHROMA,))["fake_B"]
    assert eight_bit(shown) == [[[119, 119, 119]]]  # L = 50


def test_conditions_are_shown_side_by_side() -> None:
    grey, colour = torch.full((1, 1, 1, 2), -1.0), torch.ones(1, 3, 1, 2)
    clear = torch.tensor([1.0, -1, 1, -1]).view(1, 4, 1, 1).expand(-1, -1, 1, 2)
    conditions = torch.cat([grey, one_hot([[3, 2]]), colour, clear], dim=1)
    shown = displayed({"real_A": conditions}, (Domain(1), LABELS, Domain(3), Domain(4, alpha=True)), RGB)["real_A"]
    black, white, magenta = [0, 0, 0], [255, 255, 255], [255, 0, 255]
    assert eight_bit(shown) == [[black, black, [128, 128, 0], [0, 128, 0], white, white, magenta, magenta]]


def test_other_numbers_of_channels_are_shown_as_well_as_can_be() -> None:
    two = torch.tensor([1.0, 0]).view(1, 2, 1, 1)
    seven = torch.linspace(-1, 1, 7).view(1, 7, 1, 1)
    shown = displayed({"real_A": two, "fake_B": seven}, (Domain(2),), (Domain(7),))
    assert eight_bit(shown["real_A"]) == [[[255, 128, 0]]]
    assert torch.equal(shown["fake_B"], seven[:, :3])


def test_the_name_tells_the_domain() -> None:
    of_a, of_b = ("real_A", "fake_A", "rec_A", "real"), ("real_B", "fake_B", "rec_B", "fake", "truth", "cat")
    pictures = dict.fromkeys(of_a, one_hot([[1]])) | dict.fromkeys(of_b, torch.zeros(1, 1, 1, 1))
    shown = displayed(pictures, (LABELS,), (Domain(1),))
    assert list(shown) == [*of_a, *of_b]
    assert {name: images.shape[1] for name, images in shown.items()} == dict.fromkeys(of_a, 3) | dict.fromkeys(of_b, 1)


def test_half_precision_is_shown_too() -> None:
    pictures = {"real_A": torch.zeros(1, 1, 1, 1), "fake_B": torch.zeros(1, 2, 1, 1)}
    shown = displayed({name: images.bfloat16() for name, images in pictures.items()}, (LIGHTNESS,), (CHROMA,))
    assert {images.dtype for images in shown.values()} == {torch.float32}
