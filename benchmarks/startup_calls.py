"""How far it is from the command to the first step: `python benchmarks/startup_calls.py`; --list names the functions.

Counts the functions of ours that `python train.py --model pix2pix ...` on tiny generated pairs calls until an optimiser
takes its first step, the files that they are in, and the parsers that are built and run on the way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
OURS = tuple(str(ROOT / name) for name in ("i2i/", "options/", "train.py"))


class FirstStep(BaseException):
    """An optimiser is about to take its first step."""


def write_pairs(folder: Path) -> None:
    """Write four images of 32 x 16 pixels, A beside B."""
    folder.mkdir(parents=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def calls_until_the_first_step(words: list[str]) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Return the functions that train.py calls by file, and how often parsers were built and run."""
    import train

    functions: dict[str, set[str]] = defaultdict(set)
    parsers = {"built": 0, "run": 0}

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and not code.co_name.startswith("<"):
            functions[str(Path(code.co_filename).relative_to(ROOT))].add(code.co_qualname)

    def counted(name: str, method: Any) -> Any:
        def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
            parsers[name] += 1
            return method(self, *arguments, **keywords)

        return call

    def stop(*_: Any, **__: Any) -> None:
        sys.setprofile(None)
        raise FirstStep

    argparse.ArgumentParser.__init__ = counted("built", argparse.ArgumentParser.__init__)  # type: ignore[method-assign]
    argparse.ArgumentParser.parse_known_args = counted("run", argparse.ArgumentParser.parse_known_args)  # type: ignore
    torch.optim.Adam.step = stop  # type: ignore[method-assign]
    sys.setprofile(watch)
    try:
        train.main(words)
    except FirstStep:
        pass
    finally:
        sys.setprofile(None)
    return functions, parsers


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the functions by file")
    listed = parser.parse_args().list
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder) / "pairs" / "train")
        words = f"--model pix2pix --dataroot {folder}/pairs --checkpoints_dir {folder} --name tiny --device cpu"
        words += " --netG unet --num_downs 3 --ngf 4 --ndf 4 --netD pixel --load_size 16 --crop_size 16 --num_threads 0"
        functions, parsers = calls_until_the_first_step(words.split())
    print(f"{sum(map(len, functions.values()))} functions in {len(functions)} files")
    print(f"{parsers['built']} parsers built, {parsers['run']} parses")
    for file, names in sorted(functions.items()) if listed else ():
        print(f"{file}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
