"""Procedural scenes of circles, squares and triangles: paired, unpaired, and with ground truth in both directions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
Render = Callable[["Scene", int], Array]

KINDS = ("circle", "square", "triangle")
GAP = 0.04  # between shapes and to the border, so that outlines never touch

# A and B share the hue of a kind and roughly its luminance: a generator that starts near the identity starts near the
# right answer, and not near an inversion of the colours.
PAPER = (0.99, 0.99, 0.98)
INK = (0.13, 0.16, 0.23)
PLAIN_BACKGROUND = (0.98, 0.95, 0.88)
TEXTURED_BACKGROUND = (0.74, 0.87, 0.92)
PLAIN = {"circle": (0.91, 0.40, 0.33), "square": (0.22, 0.56, 0.62), "triangle": (0.95, 0.69, 0.25)}
TEXTURED = {  # the dark and the light tone of each texture
    "circle": ((0.75, 0.16, 0.29), (1.00, 0.76, 0.72)),
    "square": ((0.13, 0.31, 0.51), (0.55, 0.83, 0.76)),
    "triangle": ((0.85, 0.47, 0.10), (1.00, 0.92, 0.55)),
}


@dataclass(frozen=True)
class Shape:
    """A shape in a unit square: kind, centre (x, y), circumradius, and rotation in radians."""

    kind: str
    x: float
    y: float
    radius: float
    angle: float

    def apart_from(self, other: "Shape") -> bool:
        """Whether the circumcircles of the two shapes keep their distance."""
        return float(np.hypot(self.x - other.x, self.y - other.y)) >= self.radius + other.radius + GAP

    def distance(self, x: Array, y: Array) -> Array:
        """Distance to the edge, negative inside, in units of the image; (H, W) from (H, W) coordinates."""
        x, y = x - self.x, y - self.y
        if self.kind == "circle":
            return np.hypot(x, y) - self.radius
        sides = 4 if self.kind == "square" else 3
        normals = self.angle + 2 * np.pi * np.arange(sides) / sides
        edges = [x * np.cos(normal) + y * np.sin(normal) for normal in normals]
        return np.max(edges, axis=0) - self.radius * np.cos(np.pi / sides)


Scene = tuple[Shape, ...]


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw one to three big shapes that do not touch each other or the border."""
    shapes: list[Shape] = []
    wanted = int(rng.integers(1, 4))
    largest = (0.36, 0.27, 0.22)[wanted - 1]
    while len(shapes) < wanted:
        radius = rng.uniform(0.75, 1.0) * largest
        x, y = rng.uniform(radius + GAP, 1 - radius - GAP, size=2)
        shape = Shape(str(rng.choice(KINDS)), x, y, radius, rng.uniform(0, 2 * np.pi))
        if all(shape.apart_from(other) for other in shapes):
            shapes.append(shape)
        elif rng.random() < 0.02:
            shapes.clear()  # the shapes so far may leave no room
    return tuple(shapes)


def render_plain(scene: Scene, size: int) -> Array:
    """Domain A: each shape in the one colour of its kind; (size, size, 3) in [0, 1]."""
    return _render(scene, size, PLAIN_BACKGROUND, lambda kind: np.array(PLAIN[kind]))


def render_textured(scene: Scene, size: int) -> Array:
    """Domain B: each shape in the two tones and the texture of its kind; (size, size, 3) in [0, 1].

    The textures depend on the place in the image alone, so that the picture follows from the scene, and are symmetric
    about its centre, so that a mirrored picture belongs to the domain as well.
    """

    def fill(kind: str) -> Array:
        dark, light = (np.array(tone) for tone in TEXTURED[kind])
        return dark + _texture(kind, size)[..., None] * (light - dark)

    return _render(scene, size, TEXTURED_BACKGROUND, fill)


def render_outline(scene: Scene, size: int) -> Array:
    """The input of the pairs: the outlines in ink on paper; (size, size, 3) in [0, 1]."""
    image = np.broadcast_to(np.array(PAPER), (size, size, 3))
    half_width = max(1.0, size / 64)
    for shape in scene:
        line = np.abs(shape.distance(*_coordinates(size))) * size - half_width
        image = _over(image, np.array(INK), line)
    return image


def _render(scene: Scene, size: int, background: tuple[float, ...], fill: Callable[[str], Array]) -> Array:
    image = np.broadcast_to(np.array(background), (size, size, 3))
    for shape in scene:
        image = _over(image, fill(shape.kind), shape.distance(*_coordinates(size)) * size)
    return image


def _over(image: Array, colour: Array, distance: Array) -> Array:
    coverage = np.clip(0.5 - distance, 0, 1)[..., None]  # distance in pixels: an edge one pixel wide
    return image + coverage * (colour - image)


def _texture(kind: str, size: int) -> Array:
    period = size / 8
    x, y = (np.cos(2 * np.pi * (axis - 0.5) * size / period) for axis in _coordinates(size))
    wave = {"circle": x + y - 0.5, "square": x * y * 1.5, "triangle": y}[kind]
    return np.clip(0.5 + wave * period / (2 * np.pi), 0, 1)  # steep enough for edges about one pixel wide


def _coordinates(size: int) -> tuple[Array, Array]:
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return x, y


# Folder, scenes, sides from left to right. The same number means the same scenes: only the truth shares any.
SETS: tuple[tuple[str, int, tuple[Render, ...]], ...] = (
    ("train", 0, (render_outline, render_textured)),
    ("test", 1, (render_outline, render_textured)),
    ("trainA", 2, (render_plain,)),
    ("trainB", 3, (render_textured,)),
    ("testA", 4, (render_plain,)),
    ("truthB", 4, (render_textured,)),
    ("testB", 5, (render_textured,)),
    ("truthA", 5, (render_plain,)),
)


def write_shapes(folder: Path, size: int = 64, count: int = 512, test_count: int = 32, seed: int = 0) -> None:
    """Write the pairs, both unpaired domains and the truth of their test images as PNG files below `folder`.

    Args:
        size: height and width of a scene in pixels, at least 16; a pair is twice as wide.
        count: images in each of `train`, `trainA`, `trainB`.
        test_count: images in each of `test`, `testA`, `testB`, `truthA`, `truthB`.
        seed: not negative; image i of a folder depends on the seed and i alone, not on the counts.
    """
    for name, scenes, renders in SETS:
        (folder / name).mkdir(parents=True)
        for index in range(count if name.startswith("train") else test_count):
            scene = draw_scene(np.random.default_rng([seed, scenes, index]))
            image = np.concatenate([render(scene, size) for render in renders], axis=1)
            Image.fromarray(np.round(image * 255).astype(np.uint8)).save(folder / name / f"{index:04d}.png")
