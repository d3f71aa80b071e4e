"""Everything that a run shows: files and a page of their own, and servers when asked."""

from i2i.visuals.board import Board, Boards, Example, Finding, Progress
from i2i.visuals.files import FileBoard
from i2i.visuals.page import ResultsPage
from i2i.visuals.tensorboard import TensorBoard
from i2i.visuals.visdom import VisdomBoard
from i2i.visuals.wandb import WandbBoard

__all__ = [
    "Board",
    "Boards",
    "Example",
    "FileBoard",
    "Finding",
    "Progress",
    "ResultsPage",
    "TensorBoard",
    "VisdomBoard",
    "WandbBoard",
]
