"""The page of a test's results."""

from collections.abc import Mapping
from pathlib import Path, PurePath

from i2i.errors import file_errors
from i2i.pages import link, render


class ResultsPage:
    """A page with one row of labelled pictures an image, complete up to the last row at any moment.

    `path` is the HTML file, replaced if it exists; `width` is the width in CSS pixels at which a picture is shown.
    """

    @file_errors("--results_dir")
    def __init__(self, path: str | Path, title: str, width: int = 256) -> None:
        self._path = Path(path)
        self._width = width
        self._rows = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._append(render("results.html", title=title, width=width))

    def add(self, name: str, pictures: Mapping[str, str | PurePath]) -> None:
        """Append a row: its name, and the pictures' paths by label, relative to the page's folder."""
        links = {label: link(picture) for label, picture in pictures.items()}
        self._append(render("result.html", name=name, pictures=links, width=self._width))
        self._rows += 1

    def close(self) -> None:
        """End the page with the number of its rows."""
        images = "1 image" if self._rows == 1 else f"{self._rows:,} images"
        self._append(f"</main>\n<footer>\n{images}\n</footer>\n</body>\n</html>\n")

    @file_errors("--results_dir")
    def _append(self, html: str) -> None:
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(html)
