"""The board that needs nothing: numbers, sample sheets, loss curves and a page of them as files of the run."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from i2i.data.images.sheets import Box, sample_sheet, save_png
from i2i.pages import render
from i2i.records import MetricsFiles, append_record, append_text, keep_records, replace_text, write_records
from i2i.watch.boards.board import Board, Example, Finding, Progress
from i2i.watch.boards.examples import ExamplesFiles

FIRST_PLOT = 100.0  # seconds into a run


class FileBoard(Board):
    """Write a run's numbers, findings and pictures into its folder.

    | file | holds |
    |---|---|
    | `metrics.jsonl`, `metrics.csv` | the numbers, a row each time that some are reported |
    | `findings.jsonl` | what the doctor has found |
    | `web/images/`, `web/samples.jsonl` | sample sheets, and for each its labels and the boxes of its pictures |
    | `web/examples/`, `web/examples.json` | the best and the worst images of the newest validation |
    | `web/index.html`, `web/loss_curves.png` | a page of the sheets |

    A fresh run (`resume_images` None) starts these files anew. A resumed one keeps what was recorded up to
    `resume_images`, the image count of its checkpoint, so that nothing appears twice. No other file is touched.
    At most `max_samples` sheets are kept: beyond that the sheets closest together in time make room.
    """

    def __init__(self, folder: str | Path, resume_images: int | None = None, *, max_samples: int = 200) -> None:
        self._folder = Path(folder)
        web = self._folder / "web"
        self._page, self._curves, self._pictures = web / "index.html", web / "loss_curves.png", web / "images"
        self._findings, self._index = self._folder / "findings.jsonl", web / "samples.jsonl"
        self._max_samples = max_samples
        self._next_plot = monotonic() + FIRST_PLOT
        self._pictures.mkdir(parents=True, exist_ok=True)
        last = -1 if resume_images is None else resume_images
        self._metrics = MetricsFiles(self._folder, last)
        self._examples = ExamplesFiles(web, last)
        keep_records(self._findings, last)
        self._samples = {sample["images"]: sample for sample in keep_records(self._index, last)}
        self._sections = _read_sections(self._page, last)
        self._rewrite_page()
        if resume_images is None:
            self._curves.unlink(missing_ok=True)

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Append a row: step, images, epoch, time (ISO 8601, UTC) and values; what is not finite is null."""
        self._metrics.append(_now(progress) | values)

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        """Append a line for each finding: when it was found, and its fields."""
        for finding in findings:
            append_record(self._findings, _now(progress) | finding._asdict())

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Write the batches as one sheet, put it on top of the page, and redraw the curves if that is cheap."""
        sheet, boxes = sample_sheet(pictures)
        name = _picture_name(progress.images)
        save_png(sheet, self._pictures / name)
        self._list_sample(_sample(progress, f"images/{name}", sheet.size, boxes, pictures))
        if progress.images not in self._sections:
            size = {"width": sheet.width, "height": sheet.height}
            section = render("sample.html", **progress._asdict(), picture=name, labels=list(pictures), **size)
            self._sections[progress.images] = section
            append_text(self._page, section)
        if len(self._sections) > self._max_samples:
            self._thin_out()
        if monotonic() >= self._next_plot:
            self._plot()

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Replace the examples by these."""
        self._examples.write(progress, metric, best, worst)

    def close(self) -> None:
        """Stop the page from reloading itself and draw the final curves."""
        append_text(self._page, "<script>clearInterval(reloading)</script>\n")
        self._plot()

    def _list_sample(self, sample: dict[str, Any]) -> None:
        is_new = sample["images"] not in self._samples
        self._samples[sample["images"]] = sample
        if is_new:
            append_record(self._index, sample)
        else:
            write_records(self._index, self._samples.values())

    def _plot(self) -> None:
        # Imported here because `python -m i2i.visuals.curves` imports this package first.
        from i2i.watch.boards.curves import plot_curves

        started = monotonic()
        plot_curves(self._folder / "metrics.jsonl", self._curves)
        ended = monotonic()
        self._next_plot = ended + 100 * (ended - started)  # so that plotting takes under 1 % of a run

    def _thin_out(self) -> None:
        # A quarter at once, so that the page is rewritten rarely.
        kept = evenly_spaced(list(self._sections), max(2, self._max_samples * 3 // 4))
        self._sections = {images: self._sections[images] for images in kept}
        self._rewrite_page()

    def _rewrite_page(self) -> None:
        head = render("samples.html", title=self._folder.resolve().name)
        replace_text(self._page, head + "".join(self._sections.values()))
        self._samples = {images: sample for images, sample in self._samples.items() if images in self._sections}
        write_records(self._index, self._samples.values())
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


def _now(progress: Progress) -> dict[str, Any]:
    return {**progress._asdict(), "time": datetime.now(UTC).isoformat(timespec="seconds")}


def _sample(
    progress: Progress,
    picture: str,
    size: tuple[int, int],
    boxes: list[dict[str, Box]],
    pictures: dict[str, Tensor],
) -> dict[str, Any]:
    """A line of samples.jsonl: the sheet, its size (width, height), and of each sample its boxes by label.

    `sizes` are those of the images themselves, which the sheet may magnify.
    """
    sizes = {label: (images.shape[-1], images.shape[-2]) for label, images in pictures.items()}
    where = {"picture": picture, "size": size, "labels": list(pictures), "sizes": sizes, "boxes": boxes}
    return {**progress._asdict(), **where}


def _read_sections(page: Path, last: int) -> dict[int, str]:
    """The page's samples up to `last` images, by image count."""
    if not page.exists():
        return {}
    with page.open(encoding="utf-8", errors="replace") as file:
        found = [(re.fullmatch(r'<section id="images-(\d+)">.*</section>\n', line), line) for line in file]
    return {int(match[1]): line for match, line in found if match and int(match[1]) <= last}
