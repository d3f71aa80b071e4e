"""Score translated images against their ground truth, beside copying the input."""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from command_line import Parser, folder, run
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]


def read_image(path: Path) -> Array:
    """An image file as (H, W, 3) in [0, 1]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def read_folders(inputs: Path, truth: Path) -> Iterator[tuple[str, Array, Array]]:
    """Stem, input and truth of each image in `truth`; the input has the same file name.

    Raises:
        ValueError: no images, or no input of that name.
    """
    for path in _list_images(truth):
        if not (inputs / path.name).is_file():
            raise ValueError(f"no input {inputs / path.name} for {path}: --inputs and --truth must hold the same names")
        yield path.stem, read_image(inputs / path.name), read_image(path)


def read_pairs(folder: Path, direction: str = "AtoB") -> Iterator[tuple[str, Array, Array]]:
    """Stem, input and truth of each side-by-side image: the left half is A, the right half B."""
    for path in _list_images(folder):
        left, right = np.split(read_image(path), 2, axis=1)
        yield (path.stem, left, right) if direction == "AtoB" else (path.stem, right, left)


def read_results(results: Path) -> Iterator[tuple[str, Array, Array]]:
    """Stem, input and truth from what test.py wrote of a paired set: `<stem>_real_A.png` and `<stem>_real_B.png`."""
    paths = _pictures(results, "real_B")
    if not paths:
        raise ValueError(f"no *_real_B.png in {results}, as paired sets have: say by --truth or --pairs where it is")
    for path in paths:
        stem = path.name.removesuffix("_real_B.png")
        yield stem, read_image(path.with_name(f"{stem}_real_A.png")), read_image(path)


def _pictures(results: Path, label: str) -> list[Path]:
    """Return the pictures of a label: of a results folder of test.py those that its last run listed, else all."""
    for place in (results, results.parent):
        records = sorted(place.glob("results*.jsonl")) if (place / "images").is_dir() else []
        content = [line for record in records for line in record.read_text(encoding="utf-8").splitlines()]
        lines = [json.loads(line) for line in content if line.endswith("}")]  # a kill may have torn one
        if lines and place.joinpath("images").resolve() in (results.resolve(), results.resolve() / "images"):
            images = [line["pictures"] for line in lines if "name" in line and not line.get("earlier")]
            paths = [place / pictures[label] for pictures in images if label in pictures]
            return sorted(path for path in paths if path.suffix == ".png")
    return sorted(results.rglob(f"*_{label}.png"))


def _list_images(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise ValueError(f"no PNG files in {folder}: make the data with prepare.py, or name another folder")
    return paths


def score(results: Path, images: Iterator[tuple[str, Array, Array]], label: str = "fake_B") -> str:
    """The mean L1 (of pixels in [0, 1]) and the PSNR of the results, and those of copying the input.

    Where all truths have one size, also the L1 of giving their mean image as every answer.

    Args:
        results: a folder that holds `<stem>_<label>.png` at any depth.
        images: stem, input and truth of every image.

    Raises:
        ValueError: a result is missing, or of another size than its truth.
    """
    found = {path.name: path for path in _pictures(results, label)}
    errors, truths = [], []
    for stem, source, truth in images:
        name = f"{stem}_{label}.png"
        if name not in found:
            raise ValueError(f"no {name} in {results}, which holds {len(found)} files *_{label}.png: check --label")
        result = read_image(found[name])
        if result.shape != truth.shape:
            raise ValueError(f"{found[name]} is {result.shape[1::-1]} pixels, its truth {truth.shape[1::-1]}")
        truths.append(truth)
        errors.append([_errors(result, truth), _errors(source, truth)])
    (l1, mse), (copy_l1, copy_mse) = np.mean(errors, axis=0)
    return (
        f"L1 to the ground truth: {l1:.4f} (copying the input: {copy_l1:.4f}{_mean_image(truths)}), "
        f"PSNR {_psnr(mse):.1f} dB ({_psnr(copy_mse):.1f} dB), {len(errors)} images"
    )


def _errors(image: Array, truth: Array) -> tuple[float, float]:
    difference = image - truth
    return float(np.abs(difference).mean()), float(np.square(difference).mean())


def _mean_image(truths: list[Array]) -> str:
    if len({truth.shape for truth in truths}) > 1:
        return ""
    mean = np.mean(truths, axis=0)
    return f", their mean image: {np.mean([_errors(mean, truth)[0] for truth in truths]):.4f}"


def _psnr(mse: float) -> float:
    return -10 * math.log10(mse) if mse else math.inf


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; wrong input ends in one line and exit code 2."""
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "results", type=folder, metavar="RESULTS_DIR", help="holds <stem>_<label>.png, as test.py writes"
    )
    parser.add_argument("--truth", type=folder, metavar="DIR", help="holds the truth as <stem>.png")
    parser.add_argument("--inputs", type=folder, metavar="DIR", help="holds what was translated as <stem>.png")
    parser.add_argument(
        "--pairs", type=folder, metavar="DIR", help="holds both side by side, instead of the former two"
    )
    parser.add_argument("--direction", choices=("AtoB", "BtoA"), default="AtoB", help="of the translation, for --pairs")
    parser.add_argument("--label", default="fake_B", help="which results")
    options = parser.parse_args(arguments)
    if (options.truth is None) != (options.inputs is None) or (options.pairs and options.truth):
        parser.error("give --truth and --inputs, or --pairs, or neither for what test.py wrote of a paired set")
    try:
        if options.truth is None and options.pairs is None:
            images = read_results(options.results)
        elif options.pairs:
            images = read_pairs(options.pairs, options.direction)
        else:
            images = read_folders(options.inputs, options.truth)
        print(score(options.results, images, options.label))
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    run(main)
