"""What the terminal shows of a run: a bar where there is a terminal, lines where there is a file."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

from i2i.progress import is_terminal
from i2i.watch.boards import Progress


class ProgressBar:
    """A bar over `total` images with the losses behind it and the time left; plain lines if stderr is no terminal."""

    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="image",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not is_terminal(sys.stderr),
            file=sys.stderr,
        )

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.close()

    def advance(self, images: int) -> None:
        """So many images are done."""
        if not self._bar.disable:
            self._bar.update(min(images, self._total) - self._bar.n)

    def show(self, progress: Progress, losses: dict[str, float], seconds_per_image: float, data_share: float) -> None:
        """The means of the losses, the seconds an image took, and the share of the time spent waiting for data."""
        shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        speed = f"{seconds_per_image:.3f} s/image, data {data_share:.0%}"
        if sys.stderr is None:
            return
        if self._bar.disable:
            print(f"epoch {progress.epoch}, {progress.images} images, {speed}: {shown}", file=sys.stderr, flush=True)
        else:
            self._bar.set_description_str(f"epoch {progress.epoch}", refresh=False)
            self._bar.set_postfix_str(f"{speed}, {shown}")
