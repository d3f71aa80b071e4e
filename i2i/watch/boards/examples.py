"""The images on which a run's newest validation did best and worst, as files."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2i.data.images.sheets import save_png, to_pil
from i2i.records import replace_text, strict_json
from i2i.watch.boards.board import Example, Progress


class ExamplesFiles:
    """`web/examples.json` and the pictures that it names in `web/examples`, gone if they are of after `last` images."""

    def __init__(self, web: Path, last: int) -> None:
        self._index, self._pictures = web / "examples.json", web / "examples"
        self._pictures.mkdir(parents=True, exist_ok=True)
        shown = read_examples(self._index)
        if shown is None or shown["images"] > last:
            self._index.unlink(missing_ok=True)
            self._remove_pictures(keep="")

    def write(self, progress: Progress, metric: str, best: Sequence[Example], worst: Sequence[Example]) -> None:
        """Replace all by these; the index, written last, never names a picture that is not there."""
        groups = {
            kind: [self._save(example, f"{progress.images:09d}_{kind}{number}") for number, example in enumerate(group)]
            for kind, group in {"best": best, "worst": worst}.items()
        }
        replace_text(self._index, strict_json({**progress._asdict(), "metric": metric, **groups}) + "\n")
        self._remove_pictures(keep=f"{progress.images:09d}_")

    def _save(self, example: Example, stem: str) -> dict[str, Any]:
        pictures = {label: f"{stem}_{number}.png" for number, label in enumerate(example.pictures)}
        for label, name in pictures.items():
            save_png(to_pil(example.pictures[label]), self._pictures / name)
        links = {label: f"examples/{name}" for label, name in pictures.items()}
        return {"name": example.name, "figures": example.figures, "pictures": links}

    def _remove_pictures(self, keep: str) -> None:
        for path in self._pictures.iterdir():
            is_ours = re.fullmatch(r"\.?\d{9,}_(best|worst)\d+_\d+\.png(\.tmp)?", path.name)
            if is_ours and not (keep and path.name.startswith(keep)):
                path.unlink()


def read_examples(index: Path) -> dict[str, Any] | None:
    """Read `web/examples.json`: step, images, epoch, metric, best and worst; None without such a file."""
    try:
        return json.loads(index.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
