"""Everything that a run shows: files and a page of their own, and servers when asked."""

from i2i.watch.boards.board import Board, Boards, Example, Finding, Progress
from i2i.watch.boards.files import FileBoard
from i2i.watch.boards.tensorboard import TensorBoard
from i2i.watch.boards.visdom import VisdomBoard
from i2i.watch.boards.wandb import WandbBoard

__all__ = [
    "Board",
    "Boards",
    "Example",
    "FileBoard",
    "Finding",
    "Progress",
    "TensorBoard",
    "VisdomBoard",
    "WandbBoard",
]
