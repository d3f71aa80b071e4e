"""The board that writes event files for TensorBoard; `tensorboard --logdir checkpoints` shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from i2i.data.images.sheets import sample_sheet
from i2i.watch.boards.background import Background
from i2i.watch.boards.board import Board, Example, Finding, Progress
from i2i.watch.boards.captions import caption, example_sheet, grouped, sentence


class TensorBoard(Background):
    """Write curves, samples, examples, findings and options below `folder`/tensorboard; a step is an image seen.

    A fresh run (`resume_images` None) starts these files anew. A resumed one keeps what was recorded up to
    `resume_images`: what lies behind that is hidden by TensorBoard.
    """

    def __init__(self, folder: str | Path, resume_images: int | None = None) -> None:
        super().__init__("TensorBoard", lambda: _Events(Path(folder), resume_images), "pip install tensorboard")


class _Events(Board):
    """One file of events."""

    def __init__(self, folder: Path, resume_images: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        logs = folder / "tensorboard"
        if resume_images is None:
            for path in logs.glob("events.out.tfevents.*"):
                path.unlink()
        first = 0 if resume_images is None else resume_images + 1
        self._writer = SummaryWriter(str(logs), purge_step=first)
        options = folder / "options.yaml"
        if options.is_file():
            code = options.read_text(encoding="utf-8").replace("\n", "\n    ")  # indented, Markdown shows it as it is
            self._writer.add_text("options", f"    {code}", first)

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._writer.add_scalar(grouped(name), value, progress.images)

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        self._picture("samples", sample_sheet(pictures).image, progress)

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._writer.add_text(f"findings/{finding.name}", sentence(finding), progress.images)

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        for which, examples in (("best", best), ("worst", worst)):
            if examples:
                self._picture(f"examples/{which} by {metric}", example_sheet(examples), progress)
                lines = "\n".join(f"1. {caption(example)}" for example in examples)
                self._writer.add_text(f"examples/{which} by {metric}", lines, progress.images)

    def close(self) -> None:
        self._writer.close()

    def _picture(self, name: str, sheet: Image.Image, progress: Progress) -> None:
        self._writer.add_image(name, np.asarray(sheet), progress.images, dataformats="HWC")
        self._writer.flush()
