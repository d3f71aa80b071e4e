"""From image tensors to pictures for people: conversion, magnification and labelled sheets."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from i2i.records import replacing

SMALLEST_CELL, LARGEST_CELL = 128, 512  # longest side in pixels of a picture on a sheet
GAP = 4
INK = "#222222"
MAX_ROW_LABEL = 10  # widest class name, in heights of its letters

Box = tuple[int, int, int, int]  # left, top, width and height in pixels


class Sheet(NamedTuple):
    """Labelled pictures on white, and where on it they are: a dict from labels to boxes for each sample."""

    image: Image.Image
    boxes: list[dict[str, Box]]


def to_uint8(images: Tensor) -> Tensor:
    """Images of any shape from float [-1, 1] to uint8 [0, 255], by rounding; values outside are clamped."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def to_pil(image: Tensor) -> Image.Image:
    """One image (C, H, W), float in [-1, 1], as a Pillow image.

    One channel is grey ("L"), three are colour ("RGB") and four have alpha ("RGBA"). Two are shown as red and green,
    and of more than four the first three are shown.
    """
    pixels = to_uint8(image.detach().cpu())
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    if len(pixels) == 2:
        pixels = torch.cat([pixels, torch.zeros_like(pixels[:1])])
    pixels = pixels if len(pixels) == 4 else pixels[:3]
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def grid(
    images: Tensor, columns: int, column_labels: Sequence[str] = (), row_labels: Sequence[str] = ()
) -> Image.Image:
    """Images (N, C, H, W) in reading order, `columns` to a row; small ones magnified without smoothing."""
    cells = _cells(images, _cell_size([images]))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return _sheet(rows, column_labels, row_labels)[0]


def comparison_grid(pictures: dict[str, Tensor]) -> Image.Image:
    """One row a sample and one column a label, the label on top; the batches (N, C, H, W) may differ in C, H and W."""
    return _comparison(pictures).image


def sample_sheet(pictures: dict[str, Tensor]) -> Sheet:
    """Arrange batches for a board: a comparison, or with one label only a square of its images."""
    if len(pictures) > 1:
        return _comparison(pictures)
    ((label, images),) = pictures.items()
    columns = math.ceil(math.sqrt(len(images)))
    cells = _cells(images, _cell_size([images]))
    sheet, boxes = _sheet([cells[start : start + columns] for start in range(0, len(cells), columns)])
    return Sheet(sheet, [{label: box} for row in boxes for box in row])


def _comparison(pictures: dict[str, Tensor]) -> Sheet:
    size = _cell_size(pictures.values())
    columns = [_cells(images, size) for images in pictures.values()]
    sheet, boxes = _sheet([list(row) for row in zip(*columns, strict=True)], column_labels=list(pictures))
    return Sheet(sheet, [dict(zip(pictures, row, strict=True)) for row in boxes])


def labelled_grid(
    images: Tensor, labels: Tensor | Sequence[int], class_names: Sequence[str], columns: int
) -> Image.Image:
    """Images (N, C, H, W) of classes `labels` (N), one row a class in the order of the labels, its name at the left.

    The first `columns` images of each class are shown; classes without an image get no row.
    """
    by_class: dict[int, list[Image.Image]] = {}
    for label, cell in zip(torch.as_tensor(labels).tolist(), _cells(images, _cell_size([images])), strict=True):
        by_class.setdefault(label, []).append(cell)
    classes = sorted(by_class)
    return _sheet([by_class[label][:columns] for label in classes], row_labels=[class_names[c] for c in classes])[0]


def save_png(image: Image.Image, path: Path, compress_level: int = 1) -> None:
    """Write a PNG, never seen half written; level 1 encodes about four times as fast as Pillow's default of 6."""
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", compress_level=compress_level)


def _cell_size(batches: Iterable[Tensor]) -> int:
    """The longest side in pixels at which pictures of these sizes look good beside each other."""
    return min(LARGEST_CELL, max(SMALLEST_CELL, *(side for images in batches for side in images.shape[-2:])))


def _cells(images: Tensor, size: int) -> list[Image.Image]:
    """One Pillow image each: magnified by a whole number towards a longest side of `size`, or reduced to it."""
    pictures = [to_pil(image) for image in images]
    longest = max(images.shape[-2:])
    height, width = (
        max(1, side * size // longest if longest > size else side * (size // longest)) for side in images.shape[-2:]
    )
    resample = Image.Resampling.LANCZOS if longest > size else Image.Resampling.NEAREST
    return [picture.resize((width, height), resample) for picture in pictures]


def _sheet(
    rows: list[list[Image.Image]], column_labels: Sequence[str] = (), row_labels: Sequence[str] = ()
) -> tuple[Image.Image, list[list[Box]]]:
    """Cells on white, each column as wide and each row as high as its largest cell; labels on top and at the left.

    Gives the boxes of the cells too, by row.
    """
    columns = list(zip_longest(*rows))
    widths = [max(cell.width for cell in column if cell) for column in columns]
    heights = [max(cell.height for cell in row) for row in rows]
    font = _font(max(13, max(widths) // 12), [*column_labels, *row_labels])
    row_labels = [_clip(label, font, MAX_ROW_LABEL * font.size) for label in row_labels]
    left = GAP + (round(max(map(font.getlength, row_labels))) + 2 * GAP if row_labels else 0)
    top = GAP + (sum(font.getmetrics()) + GAP if column_labels else 0)
    lefts = list(accumulate(widths, lambda x, width: x + width + GAP, initial=left))
    tops = list(accumulate(heights, lambda y, height: y + height + GAP, initial=top))

    sheet = Image.new("RGB", (lefts[-1], tops[-1]), "white")
    boxes = [
        [(x, y, *cell.size) for cell, x in zip(row, lefts, strict=False)] for row, y in zip(rows, tops, strict=False)
    ]
    for cells, places in zip(rows, boxes, strict=True):
        for cell, box in zip(cells, places, strict=True):
            sheet.paste(cell, box[:2])
    draw = ImageDraw.Draw(sheet)
    for label, x, width in zip(column_labels, lefts, widths, strict=False):
        draw.text((x + width / 2, top / 2), _clip(label, font, width), INK, font, anchor="mm")
    for label, y, height in zip(row_labels, tops, heights, strict=False):
        draw.text((left - 2 * GAP, y + height / 2), label, INK, font, anchor="rm")
    return sheet, boxes


def _font(size: int, labels: Sequence[str]) -> ImageFont.FreeTypeFont:
    """Pillow's own font, or where that lacks letters the one that comes with matplotlib."""
    if all(label.isascii() for label in labels):
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _clip(label: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The label on one line, its end replaced by an ellipsis where it is wider than `width` pixels."""
    line = " ".join(label.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
