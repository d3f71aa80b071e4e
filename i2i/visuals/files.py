"""The board that needs nothing: numbers, sample sheets, loss curves and a page of them as files of the run."""

import json
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from torch import Tensor

from i2i.visuals.board import Progress
from i2i.visuals.images import sample_sheet, save_png
from i2i.visuals.page import render


class FileBoard:
    """Write `metrics.jsonl` and `web/` (index.html, loss_curves.png, images/) into a run's folder.

    A fresh run (`resume_images` None) starts these files anew. A resumed one keeps what was recorded up to
    `resume_images`, the image count of its checkpoint, so that nothing appears twice. No other file is touched.
    At most `max_samples` sheets are kept: beyond that the sheets closest together in time make room.
    """

    def __init__(self, folder: str | Path, resume_images: int | None = None, *, max_samples: int = 200) -> None:
        self._folder = Path(folder)
        self._metrics = self._folder / "metrics.jsonl"
        self._page = self._folder / "web" / "index.html"
        self._curves = self._folder / "web" / "loss_curves.png"
        self._pictures = self._folder / "web" / "images"
        self._max_samples = max_samples
        self._next_plot = 0.0
        self._pictures.mkdir(parents=True, exist_ok=True)
        last = -1 if resume_images is None else resume_images
        _keep_metrics(self._metrics, last)
        self._sections = _read_sections(self._page, last)
        self._rewrite_page()
        if resume_images is None:
            self._curves.unlink(missing_ok=True)

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Append a line of strict JSON: step, images, epoch, time (ISO 8601, UTC) and values; not finite is null."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**progress._asdict(), "time": now, **finite}) + "\n")

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Write the batches as one sheet, put it on top of the page, and redraw the curves if that is cheap."""
        sheet = sample_sheet(pictures)
        name = _picture_name(progress.images)
        save_png(sheet, self._pictures / name)
        if progress.images not in self._sections:
            size = {"width": sheet.width, "height": sheet.height}
            section = render("sample.html", **progress._asdict(), picture=name, labels=list(pictures), **size)
            self._sections[progress.images] = section
            with self._page.open("a", encoding="utf-8") as file:
                file.write(section)
        if len(self._sections) > self._max_samples:
            self._thin_out()
        if monotonic() >= self._next_plot:
            self._plot()

    def close(self) -> None:
        """Draw the final curves and stop the page from reloading itself."""
        self._plot()
        with self._page.open("a", encoding="utf-8") as file:
            file.write("<script>clearInterval(reloading)</script>\n")

    def _plot(self) -> None:
        # Imported here because `python -m i2i.visuals.curves` imports this package first.
        from i2i.visuals.curves import plot_curves

        started = monotonic()
        plot_curves(self._metrics, self._curves)
        ended = monotonic()
        self._next_plot = ended + 100 * (ended - started)  # so that plotting takes under 1 % of a run

    def _thin_out(self) -> None:
        # A quarter at once, so that the page is rewritten rarely.
        kept = evenly_spaced(list(self._sections), max(2, self._max_samples * 3 // 4))
        self._sections = {images: self._sections[images] for images in kept}
        self._rewrite_page()

    def _rewrite_page(self) -> None:
        head = render("samples.html", title=self._folder.resolve().name)
        _replace_text(self._page, head + "".join(self._sections.values()))
        listed = {_picture_name(images) for images in self._sections}
        for path in self._pictures.iterdir():
            if re.fullmatch(r"\.?\d{9,}\.png(\.tmp)?", path.name) and path.name not in listed:
                path.unlink()


def evenly_spaced(counts: list[int], keep: int) -> list[int]:
    """`keep` of the sorted counts: one after the other, the one whose neighbours are closest goes, never an end."""
    counts = list(counts)
    while len(counts) > keep:
        gaps = [after - before for before, after in zip(counts, counts[2:], strict=False)]
        del counts[gaps.index(min(gaps)) + 1]
    return counts


def _picture_name(images: int) -> str:
    return f"{images:09d}.png"


def _keep_metrics(path: Path, last: int) -> None:
    """Keep the whole lines up to `last` images; a line torn by a kill goes."""
    from i2i.visuals.curves import read_records

    records = read_records(path) if path.exists() else []
    _replace_text(path, "".join(json.dumps(record) + "\n" for record in records if record["images"] <= last))


def _read_sections(page: Path, last: int) -> dict[int, str]:
    """The page's samples up to `last` images, by image count."""
    if not page.exists():
        return {}
    with page.open(encoding="utf-8", errors="replace") as file:
        found = [(re.fullmatch(r'<section id="images-(\d+)">.*</section>\n', line), line) for line in file]
    return {int(match[1]): line for match, line in found if match and int(match[1]) <= last}


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
