"""Everything that a run shows: files and a page of their own, and servers when asked."""

from i2i.visuals.board import Board, Boards, Progress
from i2i.visuals.files import FileBoard
from i2i.visuals.page import ResultsPage
from i2i.visuals.visdom import VisdomBoard

__all__ = ["Board", "Boards", "FileBoard", "Progress", "ResultsPage", "VisdomBoard"]
