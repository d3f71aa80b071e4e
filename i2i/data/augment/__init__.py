"""Random changes of geometry and colour: the presets, drawing the parameters of a sample, and their definition.

The parameters are drawn once from the sample's own random numbers; `augment.cpu` and `augment.device` apply them.
The changes are made in this order. Coordinates start at the image's centre; colours are in [0, 1] and clipped to it
after each step:

    geometry    p -> R(angle) Shear(shear) scale p + (shift_x width, shift_y height), reflected at the borders
    contrast    x -> (1 + contrast) (x - 1/2) + 1/2 + brightness
    saturation  x -> x + saturation (x - grey), grey = 0.299 red + 0.587 green + 0.114 blue
    hue         turned by hue turns in HSV
    blur        a Gaussian of sigma = blur pixels, sampled at up to 5 pixels from its centre, reflected at the borders
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from i2i.data.domain import Domain


class Change(NamedTuple):
    """The range from which a parameter is drawn uniformly, and the probability that it is drawn at all."""

    low: float
    high: float
    probability: float = 1.0


def _around_zero(**sizes: float) -> dict[str, Change]:
    return {name: Change(-size, size) for name, size in sizes.items()}


PARAMETERS = ("angle", "scale", "shift_x", "shift_y", "shear", "brightness", "contrast", "saturation", "hue", "blur")
GEOMETRIC, COLORING = PARAMETERS[:5], PARAMETERS[5:]
NEUTRAL = np.array([float(name == "scale") for name in PARAMETERS], np.float32)
# Angle and shear in degrees, shifts in widths and heights, hue in turns, blur in pixels.
# `reference` only crops and mirrors, see `transforms.Preprocess`.
AUGMENT_PRESETS: dict[str, dict[str, Change]] = {
    "none": {},
    "reference": {},
    "light": {"scale": Change(0.9, 1.1)}
    | _around_zero(angle=10, shift_x=0.05, shift_y=0.05, brightness=0.1, contrast=0.1),
    "strong": {"scale": Change(0.8, 1.25), "blur": Change(0, 1.5, probability=0.3)}
    | _around_zero(angle=25, shift_x=0.1, shift_y=0.1, shear=10)
    | _around_zero(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.05),
}
BLUR_RADIUS = 5  # of the largest sigma above, 3.3


def draw(preset: str, geometry: np.random.Generator, color: np.random.Generator | None = None) -> np.ndarray | None:
    """Draw `PARAMETERS` as float32 (P,); None if `preset` changes nothing. Without `color`, colours stay as they are.

    The count of random numbers taken is always the same, so equal generators give several images the same geometry.
    """
    changes = AUGMENT_PRESETS[preset]
    if not changes:
        return None
    drawn = NEUTRAL.copy()
    for index, name in enumerate(PARAMETERS):
        generator = geometry if name in GEOMETRIC else color
        if generator is not None:
            chance, place = generator.random(2)
            change = changes.get(name)
            if change is not None and chance < change.probability:
                drawn[index] = change.low + (change.high - change.low) * place
    return drawn


def parameter(parameters: np.ndarray, name: str) -> np.ndarray:
    """Return the values of one parameter from an array (..., P)."""
    return parameters[..., PARAMETERS.index(name)]


def is_neutral(parameters: np.ndarray, *names: str) -> bool:
    """Return True if the named parameters change nothing in any sample."""
    return all(bool((parameter(parameters, name) == parameter(NEUTRAL, name)).all()) for name in names)


def matrix(parameters: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the matrix (..., 3, 3) that moves pixels (column, row, 1); positive angles turn counter-clockwise."""
    angle, scale, shift_x, shift_y, shear = (parameter(parameters, name).astype(np.float64) for name in GEOMETRIC)
    sine, cosine, slope = np.sin(np.radians(angle)), np.cos(np.radians(angle)), np.tan(np.radians(shear))
    out = np.zeros((*angle.shape, 3, 3))
    out[..., 0, 0], out[..., 0, 1] = scale * cosine, scale * (cosine * slope + sine)
    out[..., 1, 0], out[..., 1, 1] = -scale * sine, scale * (cosine - sine * slope)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.stack([shift_x * width, shift_y * height], axis=-1)
    out[..., :2, 2] = centre + shift - out[..., :2, :2] @ centre
    out[..., 2, 2] = 1
    return out


def colored_channels(domain: Domain) -> int:
    """Return how many leading channels hold colours; classes, Lab channels and transparency are none."""
    if domain.kind in ("labels", "lightness", "chroma"):
        return 0
    return domain.channels - domain.alpha


def blur_size(width: int, height: int) -> int:
    """Return the side of the blur kernel, limited because a border can only reflect the pixels that there are."""
    return 2 * min(BLUR_RADIUS, width - 1, height - 1) + 1
