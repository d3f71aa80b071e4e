"""The board that sends curves and samples to a visdom server, and comes back to one that was away."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from i2i.data.images.sheets import sample_sheet
from i2i.watch.boards.background import Background
from i2i.watch.boards.board import Board, Example, Finding, Progress
from i2i.watch.boards.captions import caption, example_sheet, grouped, position, sentence

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 10.0  # seconds
SEND_INTERVAL = 1.0  # seconds between two transmissions of the curves, at least
SEND_SHARE = 0.05  # of the time, at most, that is spent on them: most of it waiting, the rest is taken from training
RETRY_INTERVAL = 10.0  # seconds between two looks whether the server is back
MAX_POINTS = 1000  # of a curve, since the server's work grows with every point

INSTALL = (
    "write setuptools<81 into a file c.txt and run: PIP_CONSTRAINT=c.txt PIP_BUILD_CONSTRAINT=c.txt pip install visdom"
)


class VisdomBoard(Background):
    """Show curves, the newest samples, examples and findings in the environment named after the run.

    While the server is away nothing is lost but time: one warning is logged, and once it answers again all windows are
    sent anew. A resumed run's curves begin with the numbers up to `resume_images` in `folder`'s metrics.jsonl. `env`
    replaces the folder's name.
    """

    def __init__(
        self,
        folder: str | Path,
        resume_images: int | None = None,
        *,
        server: str = "http://localhost",
        port: int = 8097,
        env: str | None = None,
    ) -> None:
        folder = Path(folder).resolve()

        def open() -> Board:
            windows = _Windows(partial(_connect, server, port, env or folder.name), f"visdom at {server}:{port}")
            windows.restore(folder / "metrics.jsonl", -1 if resume_images is None else resume_images)
            return windows

        super().__init__(f"visdom at {server}:{port}", open, INSTALL)


class _Unreachable(Exception):
    """The server does not answer, or refuses."""


class _Windows(Board):
    """The content of each window of a run, and the windows that the server does not have yet."""

    def __init__(self, connect: Callable[[], Any], title: str) -> None:
        self._connect, self._title = connect, title
        self._client: Any = None
        self._retry_at = self._send_at = -math.inf
        self._warned = False
        self._curves: dict[str, dict[str, _Trace]] = {}
        self._findings: list[str] = []
        self._windows: dict[str, Callable[[Any], None]] = {}
        self._stale: set[str] = set()
        self._send()

    def restore(self, metrics: Path, last: int) -> None:
        # Imported here because `python -m i2i.visuals.curves` imports this package first.
        from i2i.watch.boards.curves import read_metrics

        for name, curve in read_metrics(metrics).items() if last >= 0 and metrics.exists() else ():
            for images, value in zip(*curve, strict=True):
                if images <= last:
                    self._add(images, name, value)

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._add(progress.images, name, value)
        if time.monotonic() >= self._send_at:
            self._send()

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        self._picture("samples", sample_sheet(pictures).image, {"title": position(progress)})
        self._send()

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        self._findings += [f"<p>{position(progress)}: {escape(sentence(finding))}</p>" for finding in findings]
        text = "".join(reversed(self._findings))
        self._show("findings", lambda client: client.text(text, win="findings", opts={"title": "findings"}))
        self._send()

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        for which, examples in (("best", best), ("worst", worst)):
            if examples:
                lines = "; ".join(map(caption, examples))
                opts = {"title": f"{which} by {metric}, {position(progress)}", "caption": lines}
                self._picture(which, example_sheet(examples), opts)
        self._send()

    def close(self) -> None:
        self._retry_at = -math.inf
        self._send()

    def _add(self, images: float, name: str, value: float) -> None:
        window, label = _place(name)
        self._curves.setdefault(window, {}).setdefault(label, _Trace()).add(images, value)
        self._show(window, partial(self._send_curves, window))

    def _picture(self, window: str, sheet: Image.Image, opts: dict[str, Any]) -> None:
        pixels = np.asarray(sheet).transpose(2, 0, 1)
        self._show(window, lambda client: client.image(pixels, win=window, opts=opts))

    def _send_curves(self, window: str, client: Any) -> None:
        """Send a window's curves as a whole: for the server that is cheaper than appending to them."""
        traces = self._curves[window]
        points = [trace.points for trace in traces.values()]
        labels = np.repeat(np.arange(len(points)) + 1, [len(trace) for trace in points])
        opts = {"title": window, "xlabel": "images", "legend": list(traces), "mode": "lines"}
        client.scatter(np.concatenate(points), labels, win=window, opts=opts)

    def _show(self, window: str, send: Callable[[Any], None]) -> None:
        self._windows[window] = send
        self._stale.add(window)

    def _send(self) -> None:
        """Send what the server has not got: after an outage, everything."""
        started = time.monotonic()
        if self._client is None and started < self._retry_at:
            return
        try:
            if self._client is None:
                self._client = self._connect()
                self._stale = set(self._windows)
            for window in sorted(self._stale):
                self._windows[window](self._client)
                self._stale.remove(window)
        except _Unreachable as error:
            self._away(error)
        ended = time.monotonic()
        self._send_at = ended + max(SEND_INTERVAL, (ended - started) / SEND_SHARE if self._client is not None else 0.0)

    def _away(self, error: _Unreachable) -> None:
        self._client, self._retry_at = None, time.monotonic() + RETRY_INTERVAL
        if not self._warned:
            self._warned = True
            logger.warning("%s: %s; the run goes on, and shows itself there once it answers", self._title, error)


def _place(name: str) -> tuple[str, str]:
    """The window and the label of a curve: a metric's validation and training share a window, else a group does."""
    group, label = grouped(name).split("/", 1)
    return (label, group) if group in ("val", "train") else (group, label)


class _Trace:
    """A curve of bounded length: whenever it is full, every second point goes, and so does every second new one."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._stride = 1
        self._seen = 0

    def add(self, images: float, value: float) -> None:
        if self._seen % self._stride == 0:
            self.points.append((images, value))
        self._seen += 1
        if len(self.points) >= MAX_POINTS:
            self.points = self.points[::2]
            self._stride *= 2


def _connect(server: str, port: int, env: str) -> Any:
    """A client that raises _Unreachable on every failure, and neither waits for ever nor prints."""
    import requests
    from visdom import Visdom

    class Client(Visdom):
        def _handle_post(self, url: str, data: Any = None) -> str:
            session: requests.Session = self.session  # type: ignore[attr-defined]
            try:
                response = session.post(url, data=data or {}, timeout=REQUEST_TIMEOUT)
                response.raise_for_status()
            except requests.RequestException as error:
                # Not one of the requests package's own exceptions: of those the base class prints tracebacks.
                reason = f"no answer ({type(error).__name__}); a server is started with: python -m visdom.server"
                raise _Unreachable(reason) from None
            return response.text

    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    return Client(server=server, port=port, env=env, use_incoming_socket=False, raise_exceptions=True)
