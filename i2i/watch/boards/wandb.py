"""The board of Weights & Biases: online by the user's login, or offline by WANDB_MODE=offline."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from i2i.data.images.sheets import sample_sheet
from i2i.watch.boards.background import Background
from i2i.watch.boards.board import Board, Example, Finding, Progress
from i2i.watch.boards.captions import caption, example_sheet, grouped

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT = 5.0  # seconds
FINISH_TIMEOUT = 10.0  # seconds; `wandb sync` sends what is left then


class WandbBoard(Background):
    """Send curves, samples, examples, findings as alerts and options to `project`; a step is an image seen.

    The run is named after its folder. Its id is kept in `folder`/wandb/id, so that a resumed run (`resume_images` not
    None) goes on in the same charts: where those have come further than `resume_images`, they are continued from there.
    """

    def __init__(self, folder: str | Path, resume_images: int | None = None, *, project: str = "i2i") -> None:
        def open() -> Board:
            return _Run(Path(folder).resolve(), resume_images is not None, project)

        super().__init__("Weights & Biases", open, "pip install wandb", close_timeout=FINISH_TIMEOUT + 2)


class _Run(Board):
    """One run on the server, or its files below `folder`/wandb."""

    def __init__(self, folder: Path, resumed: bool, project: str) -> None:
        import wandb
        import yaml

        self._wandb = wandb
        options = folder / "options.yaml"
        self._run = wandb.init(
            project=project,
            name=folder.name,
            id=_run_id(folder / "wandb" / "id", resumed),
            resume="allow" if resumed else None,
            dir=folder,
            config=yaml.safe_load(options.read_text(encoding="utf-8")) if options.is_file() else None,
            allow_val_change=True,
            mode="offline" if _stays_offline(folder / "wandb") else None,
            settings=wandb.Settings(console="off", quiet=True, finish_timeout=FINISH_TIMEOUT),
        )
        self._next = self._run.step  # of a resumed run: the charts take nothing before it

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        self._log(progress, {grouped(name): value for name, value in values.items() if math.isfinite(value)})

    def images(self, progress: Progress, pictures: dict[str, Tensor]) -> None:
        self._log(progress, {"samples": self._wandb.Image(sample_sheet(pictures).image)})

    def findings(self, progress: Progress, findings: Sequence[Finding]) -> None:
        for finding in findings:
            level = {"warning": "WARN", "alarm": "ERROR"}[finding.severity]
            self._run.alert(finding.name, f"{finding.message} {finding.advice}", level=level)

    def examples(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        for which, examples in (("best", best), ("worst", worst)):
            shown = [self._wandb.Image(example_sheet([example]), caption=caption(example)) for example in examples]
            self._log(progress, {f"examples/{which} by {metric}": shown})

    def close(self) -> None:
        self._run.finish()

    def _log(self, progress: Progress, values: dict[str, object]) -> None:
        if progress.images >= self._next:
            self._run.log(values, step=progress.images)


def _stays_offline(folder: Path) -> bool:
    """Return True, with a warning, if the server must not be used now; online, nothing would be kept."""
    import wandb

    settings = wandb.setup().settings
    missing = _missing(settings.base_url) if settings.mode == "online" else None
    if missing is not None:
        logger.warning("Weights & Biases: %s; the run is kept in %s, from where `wandb sync` sends it", missing, folder)
    return missing is not None


def _missing(server: str) -> str | None:
    """Return what is missing for going online: a login or a server; None if there is both."""
    import requests
    import wandb

    if not wandb.login(prompt=False, verify=False):  # a prompt would read the terminal beside the progress of training
        return "nobody is logged in (`wandb login`)"
    try:
        requests.head(server, timeout=ANSWER_TIMEOUT)
    except requests.exceptions.SSLError:  # it answers, and wandb may trust it
        return None
    except requests.RequestException as error:
        return f"{server} does not answer ({type(error).__name__})"
    return None


def _run_id(path: Path, resumed: bool) -> str:
    if resumed and path.is_file():
        return path.read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
    return path.read_text(encoding="utf-8")
