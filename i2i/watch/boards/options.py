"""Options of boards, and the boards that follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from i2i.config import option
from i2i.errors import file_errors
from i2i.watch.boards.board import Board, Boards
from i2i.watch.boards.files import FileBoard
from i2i.watch.boards.tensorboard import TensorBoard
from i2i.watch.boards.visdom import VisdomBoard
from i2i.watch.boards.wandb import WandbBoard
from i2i.watch.report.board import ReportBoard


@dataclasses.dataclass(frozen=True)
class VisualsConfig:
    """Boards beside the files that every run writes."""

    visdom: bool = option(False, "show curves and samples on a visdom server")
    visdom_server: str = option("http://localhost", "address of the visdom server")
    visdom_port: int = option(8097, "port of the visdom server")
    visdom_env: str | None = option(None, "visdom environment (default: the name of the run)")
    tensorboard: bool = option(False, "write curves and samples for TensorBoard into the run's folder")
    wandb: bool = option(
        False, "send curves and samples to Weights & Biases (WANDB_MODE=offline keeps them)", aliases=("--use_wandb",)
    )
    wandb_project: str = option("i2i", "project of Weights & Biases", aliases=("--wandb_project_name",))


# By the flag that asks for it: the board of the run in a folder, going on from so many images, or anew for None.
BOARDS: dict[str, Callable[[VisualsConfig, Path, int | None], Board]] = {
    "visdom": lambda config, folder, resumed: VisdomBoard(
        folder, resumed, server=config.visdom_server, port=config.visdom_port, env=config.visdom_env
    ),
    "tensorboard": lambda config, folder, resumed: TensorBoard(folder, resumed),
    "wandb": lambda config, folder, resumed: WandbBoard(folder, resumed, project=config.wandb_project),
}


@file_errors("--checkpoints_dir")
def build_boards(config: VisualsConfig, folder: Path, resume_images: int | None) -> Boards:
    """The boards of the run in `folder`, going on from so many images, or anew for None.

    The run's files are always written, and the report from them; both before the boards that the end of a run, or an
    impatient user, may have to wait for.
    """
    asked = [build(config, folder, resume_images) for name, build in BOARDS.items() if getattr(config, name)]
    return Boards([FileBoard(folder, resume_images), ReportBoard(folder), *asked])
