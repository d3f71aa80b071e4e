"""The board that sends curves and samples to a visdom server, from a thread of its own."""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from i2i.visuals.board import Progress
from i2i.visuals.images import sample_sheet

logger = logging.getLogger(__name__)

QUEUE_LENGTH = 64
REQUEST_TIMEOUT = 10.0  # seconds
CLOSE_TIMEOUT = 5.0  # seconds that the end of a run waits for what is still to be sent
SEND_INTERVAL = 1.0  # seconds between two transmissions of the curves
MAX_POINTS = 1000  # of a curve, since the server's work grows with every point

INSTALL_HINT = (
    "visdom is not installed, the run goes on without it; to install it, write setuptools<81 into a file c.txt "
    "and run: PIP_CONSTRAINT=c.txt PIP_BUILD_CONSTRAINT=c.txt pip install visdom"
)


class VisdomBoard:
    """Show the curves in one window and the newest samples in another, in the environment named after the run.

    Nothing here blocks or fails: what comes faster than the server takes it is dropped, and where the package or the
    server is missing, fails or stops answering, one warning is logged and the board falls silent. A resumed run's
    curves begin with the numbers up to `resume_images` in `folder`'s metrics.jsonl. `env` replaces the folder's name.
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
        self._address = (server, port, env or folder.name)
        self._history = (folder / "metrics.jsonl", -1 if resume_images is None else resume_images)
        self._events: queue.Queue[Callable[[_Windows], None] | None] = queue.Queue(QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._work, name="visdom", daemon=True)
        self._thread.start()

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        """Queue a point of each named curve; values that are not finite are left out."""
        self._put(lambda windows: windows.scalars(progress, values))

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        """Queue the batches as one sheet."""
        self._put(lambda windows: windows.images(progress, pictures))

    def close(self) -> None:
        """Send what is queued, for at most a few seconds."""
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while self._thread.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Full):
                self._events.put(None, timeout=0.1)
                break
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _put(self, event: "Callable[[_Windows], None]") -> None:
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._events.put_nowait(event)

    def _work(self) -> None:
        server, port, _ = self._address
        try:
            windows = _Windows(_connect(*self._address))
            windows.restore(*self._history)
            while (event := self._events.get()) is not None:
                event(windows)
            windows.send_curves()
        except ImportError:
            logger.warning(INSTALL_HINT)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            logger.warning("visdom at %s:%d failed, the run goes on without it: %s", server, port, reason)


class _Windows:
    """The two windows of a run on the server."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._traces: dict[str, _Trace] = {}
        self._sent = -math.inf

    def restore(self, metrics: Path, last: int) -> None:
        # Imported here because `python -m i2i.visuals.curves` imports this package first.
        from i2i.visuals.curves import read_metrics

        for name, curve in read_metrics(metrics).items() if last >= 0 and metrics.exists() else ():
            for images, value in zip(*curve, strict=True):
                if images <= last:
                    self._traces.setdefault(name, _Trace()).add(images, value)

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._traces.setdefault(name, _Trace()).add(progress.images, value)
        if time.monotonic() - self._sent >= SEND_INTERVAL:
            self.send_curves()

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        sheet = np.asarray(sample_sheet(pictures)).transpose(2, 0, 1)
        title = f"{progress.images:,} images, epoch {progress.epoch}"
        self._client.image(sheet, win="samples", opts={"title": title})

    def send_curves(self) -> None:
        """Send the curves as a whole: for the server that is cheaper than appending to a window."""
        if not self._traces:
            return
        points = [trace.points for trace in self._traces.values()]
        labels = np.repeat(np.arange(len(points)) + 1, [len(trace) for trace in points])
        opts = {"title": "losses", "xlabel": "images", "legend": list(self._traces), "mode": "lines"}
        self._client.scatter(np.concatenate(points), labels, win="losses", opts=opts)
        self._sent = time.monotonic()


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
    """A client that raises on every failure, and neither waits for ever nor prints."""
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
                raise RuntimeError(reason) from None
            return response.text

    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    return Client(server=server, port=port, env=env, use_incoming_socket=False, raise_exceptions=True)
