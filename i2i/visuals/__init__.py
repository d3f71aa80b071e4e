"""Everything that a run shows: files and a page of their own, and servers when asked."""

from collections.abc import Callable

from i2i.visuals.board import Board, Boards, Progress
from i2i.visuals.files import FileBoard
from i2i.visuals.page import ResultsPage
from i2i.visuals.visdom import VisdomBoard

# A board is built as BOARDS[name](folder, resume_images, **its own options).
BOARDS: dict[str, Callable[..., Board]] = {
    "files": FileBoard,
    "visdom": VisdomBoard,
}

__all__ = ["BOARDS", "Board", "Boards", "FileBoard", "Progress", "ResultsPage", "VisdomBoard"]
