"""Pictures to films."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_gif(frames: Sequence[Image.Image], path: Path, fps: int) -> None:
    """Write an endless GIF of pictures of one size."""
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)


def write_mp4(frames: Sequence[Image.Image], path: Path, fps: int) -> bool:
    """Write an MP4 (MPEG-4 part 2) of pictures of one size; False, and no file, if OpenCV cannot here."""
    import cv2

    width, height = frames[0].size
    size = (width + width % 2, height + height % 2)  # the codec halves the resolution of colours
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    if not video.isOpened():
        path.unlink(missing_ok=True)
        return False
    for frame in frames:
        even = Image.new("RGB", size, "white")
        even.paste(frame)
        video.write(cv2.cvtColor(np.asarray(even), cv2.COLOR_RGB2BGR))
    video.release()
    return True
