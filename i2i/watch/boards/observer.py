"""The boards as an observer of a run."""

from __future__ import annotations

from i2i.training.observer import Observation, Observer, RunView
from i2i.watch.boards.board import Boards


class BoardsObserver(Observer):
    """Hands everything that is reported or observed to the boards."""

    def __init__(self, boards: Boards) -> None:
        self.boards = boards

    def notice(self, run: RunView, observation: Observation) -> None:
        if observation.values:
            self.boards.scalars(run.progress, dict(observation.values))
        if (found := observation.validation) is not None and found.best:
            self.boards.examples(run.progress, found.ranked_by, found.best, found.worst)
        if observation.pictures:
            self.boards.images(run.progress, dict(observation.pictures))
        if observation.findings:
            self.boards.findings(run.progress, observation.findings)

    def close(self) -> None:
        self.boards.close()
