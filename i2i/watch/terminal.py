"""The terminal: a progress bar, or lines where stderr is a file."""

from __future__ import annotations

import sys

from tqdm import tqdm

from i2i.progress import is_terminal
from i2i.training.observer import LossReport, Observer, RunView


class TerminalObserver(Observer):
    """Shows progress, mean losses and the time left on stderr: as a bar on a terminal, else as lines."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def begin(self, run: RunView) -> None:
        self._images = run.images
        self._bar = tqdm(
            total=run.images,
            initial=run.progress.images,
            unit="image",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not is_terminal(sys.stderr),
            file=sys.stderr,
        )

    def advance(self, images: int) -> None:
        if self._bar is not None and not self._bar.disable:
            self._bar.update(min(images, self._images) - self._bar.n)

    def report(self, run: RunView, report: LossReport) -> None:
        shown = " ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
        speed = f"{report.speed['seconds_per_image']:.3f} s/image, data {report.speed['data_share']:.0%}"
        progress = run.progress
        if sys.stderr is None or self._bar is None:
            return
        if self._bar.disable:
            print(f"epoch {progress.epoch}, {progress.images} images, {speed}: {shown}", file=sys.stderr, flush=True)
        else:
            self._bar.set_description_str(f"epoch {progress.epoch}", refresh=False)
            self._bar.set_postfix_str(f"{speed}, {shown}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
