"""Which boards a run reports to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from i2i.config import option
from i2i.visuals.board import Board, Boards
from i2i.visuals.files import FileBoard
from i2i.visuals.visdom import VisdomBoard


@dataclasses.dataclass(frozen=True)
class VisualsConfig:
    """Boards beside the files that every run writes."""

    visdom: bool = option(False, "show curves and samples on a visdom server")
    visdom_server: str = option("http://localhost", "address of the visdom server")
    visdom_port: int = option(8097, "port of the visdom server")
    visdom_env: str | None = option(None, "visdom environment (default: the name of the run)")


def build_boards(config: VisualsConfig, folder: Path, resume_images: int | None) -> Boards:
    """The boards of the run in `folder`, going on from so many images, or anew for None."""
    boards: list[Board] = []
    if config.visdom:
        board = VisdomBoard(
            folder, resume_images, server=config.visdom_server, port=config.visdom_port, env=config.visdom_env
        )
        boards.append(board)
    return Boards([*boards, FileBoard(folder, resume_images)])
