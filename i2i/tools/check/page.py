"""The report as a page of its own, with pictures of what is suspicious."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from i2i.data.batch import ImageError
from i2i.data.cache import shown_size
from i2i.tools.check.advice import command
from i2i.tools.check.measure import stretched
from i2i.tools.check.report import DataReport, histogram
from i2i.tools.check.scan import read
from i2i.tools.check.sources import Wanted
from i2i.tools.check.survey import DataFinding, Item

if TYPE_CHECKING:
    from jinja2 import Environment

PICTURED = 48  # items of a finding that are shown
FILES = 4  # of an item
SIDE = 112  # pixels of a thumbnail's longer side


class PagePicture(NamedTuple):
    """A file and its thumbnail as a data URI, None where there is nothing to see."""

    path: str
    source: str | None


class Shown(NamedTuple):
    """An item of a finding, with pictures."""

    pictures: list[PagePicture]
    note: str
    hidden: int


def write_page(report: DataReport, path: Path) -> None:
    """Write the report as one HTML file that needs no other."""
    findings = sorted(report.findings, key=lambda finding: not finding.fatal)
    sizes = histogram(report.sizes)
    html = (
        _environment()
        .get_template("check.html")
        .render(
            report=report,
            config=report.survey.config,
            findings=[(finding, _pictured(report, finding), len(finding.items) - PICTURED) for finding in findings],
            sizes=sizes,
            most=max((count for _, count in sizes), default=1),
            memory=shown_size(report.estimate.cache_bytes),
            batch=shown_size(report.estimate.batch_bytes),
            epoch_seconds=report.estimate.epoch_seconds(report.survey.config.num_threads),
            command=command(report.survey, report.advice)
            if report.survey.config.phase in report.survey.datasets
            else None,
        )
    )
    path.write_text(html, encoding="utf-8", errors="replace")


def _pictured(report: DataReport, finding: DataFinding) -> list[Shown]:
    return [_shown(report, item) for item in finding.items[:PICTURED]]


def _shown(report: DataReport, item: Item) -> Shown:
    pictures = [PagePicture(path, _thumbnail(report, path)) for path in item.paths[:FILES]]
    return Shown(pictures, item.note, max(0, len(item.paths) - FILES))


def _thumbnail(report: DataReport, path: str) -> str | None:
    record = report.survey.by_path.get(path)  # an unmatched file has none
    if record is not None and not record.views:
        return None
    phase = next(iter(report.survey.datasets)) if record is None else record.phase
    reader = report.survey.datasets[phase].pipeline.reader
    try:
        pixels = [reader.pixels(path, 3)] if record is None else read(Wanted(path, record.slots), reader)
        images = [_visible(image) for image in pixels]
    except ImageError:
        return None
    height = images[0].shape[0]
    return _jpeg(np.concatenate([image[:height] for image in images], axis=1))


def _visible(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any type and channels as uint8 RGB (H, W, 3)."""
    if pixels.ndim == 2:  # classes, in shades far apart
        return np.repeat((pixels.astype(np.int64) * 79 % 256).astype(np.uint8)[:, :, None], 3, axis=2)
    shown = stretched(pixels)
    return shown[:, :, :3] if shown.shape[2] >= 3 else np.repeat(shown[:, :, :1], 3, axis=2)


def _jpeg(pixels: np.ndarray) -> str:
    import io

    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((2 * SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("i2i.tools.check"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
