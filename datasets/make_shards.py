"""Pack a data set into tar files in the layout of WebDataset, which train.py and others read in place of a folder."""

import argparse
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from command_line import Parser, bounded, folder, run
from PIL import Image

from i2i.config import expanded_path
from i2i.data import LAYOUTS, DataConfig, ImageDataset, build_dataset
from i2i.data.files import read_bytes, suffix
from i2i.data.layouts.classes import ClassDataset
from i2i.data.shards import CLASSES, class_names
from i2i.errors import UserError, file_errors
from i2i.progress import shown

Sample = dict[str, str | np.ndarray]  # by field: the path of an image, its pixels, or, under `cls`, the class index


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "dataroot",
        type=expanded_path,
        metavar="DATAROOT",
        help="the data set, as for train.py: a folder, a manifest ...",
    )
    parser.add_argument("out", type=folder, metavar="OUT", help="the folder to write <phase>-000000.tar, ... into")
    parser.add_argument("--dataset_mode", choices=tuple(LAYOUTS), default="unaligned", help="layout of the data set")
    parser.add_argument("--phase", default="train", help="which part of it")
    other: dict[str, Any] = {"default": argparse.SUPPRESS, "metavar": "DIR"}
    parser.add_argument("--conditions", nargs="+", help="folders of condition images", **other)
    for domain in "AB":
        parser.add_argument(
            f"--dataroot_{domain}",
            type=expanded_path,
            help=f"folder of the images of {domain}, wherever it lies",
            **other,
        )
    parser.add_argument("--max_size", type=bounded(int, 1), default=10**9, help="bytes of images in a tar file, about")
    parser.add_argument("--max_count", type=bounded(int, 1), default=10_000, help="samples in a tar file")
    parser.add_argument(
        "--shuffle", type=bounded(int, 0), default=0, metavar="SEED", help="mix the samples by this seed"
    )
    parser.add_argument("--in_order", action="store_true", help="keep their order, as for test images: do not mix them")
    return parser


def list_samples(dataset: ImageDataset, classes: Sequence[str]) -> list[Sample]:
    """The samples of a data set; a class is given by its index in `classes`."""
    columns = {name.lower(): files for name, files in dataset.columns.files.items()}
    if isinstance(dataset, ClassDataset):
        images = dataset.files if dataset.images is None else dataset.images
        indices = [str(classes.index(dataset.classes[label])) for label in dataset.labels]
        return [{"image": image, "cls": index} for image, index in zip(images, indices, strict=True)]
    if dataset.config.dataset_mode == "single":
        return [{"image": path} for path in dataset.files]
    if dataset.config.dataset_mode == "unaligned":  # samples of one image each: those of one sample would be a pair
        rows = zip_longest(*columns.values())
        return [{name: path} for row in rows for name, path in zip(columns, row, strict=True) if path is not None]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def members(sample: Sample) -> Iterator[tuple[str, bytes]]:
    """The extension and the content of every file of a sample; files are taken as they are."""
    for field, source in sample.items():
        prefix = "" if field == "image" else f"{field}."
        if field == "cls":
            yield field, str(source).encode()
        elif isinstance(source, str):
            yield f"{prefix}{suffix(source)[1:]}", read_bytes(source)
        else:
            buffer = io.BytesIO()
            Image.fromarray(source).save(buffer, "png")
            yield f"{prefix}png", buffer.getvalue()


def write_shards(samples: Sequence[Sample], folder: Path, max_size: int, max_count: int) -> None:
    """Write numbered tar files into an existing folder; the same samples give the same bytes."""
    from webdataset import ShardWriter

    pattern = folder.resolve().as_uri().replace("%", "%%") + "/%06d.tar"
    with ShardWriter(pattern, maxcount=max_count, maxsize=max_size, verbose=0, encoder=False, mtime=0) as writer:
        for number, sample in enumerate(shown(samples, "sample", "writing")):
            writer.write({"__key__": f"{number:06d}", **dict(members(sample))})


def class_order(dataset: ImageDataset, out: Path) -> list[str]:
    """The classes in the order of their indices, which another phase in the same folder has fixed.

    Raises:
        ValueError: if the other phase lacks some of them.
    """
    names = class_names(out) or list(dataset.classes)
    if unknown := set(dataset.classes) - set(names):
        raise UserError(f"{out / CLASSES} lacks the class {min(unknown)}: choose another folder for these shards")
    return names


def make_shards(dataset: ImageDataset, out: Path, max_size: int, max_count: int, seed: int | None) -> list[Path]:
    """Write the tar files of one phase, which appear when all of them are complete.

    Raises:
        ValueError: if the folder has such files already.
    """
    phase = dataset.config.phase
    if present := sorted(out.glob(f"{phase}-*.tar")):
        raise UserError(f"{present[0]} is there already: choose another folder, or remove the shards of {phase}")
    classes = class_order(dataset, out)
    samples = list_samples(dataset, classes)
    if seed is not None:
        samples = [samples[index] for index in np.random.default_rng(seed).permutation(len(samples))]
    partial = out / f"{phase}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_shards(samples, partial, max_size, max_count)
        if classes:
            (out / CLASSES).write_text(json.dumps(classes) + "\n", encoding="utf-8")
        return [path.rename(out / f"{phase}-{path.name}") for path in sorted(partial.iterdir())]
    finally:
        shutil.rmtree(partial)


def pattern_of(shards: Sequence[Path]) -> str:
    """What names all of the tar files: `out/train-{000000..000011}.tar`."""
    if len(shards) == 1:
        return str(shards[0])
    prefix, _, first = shards[0].stem.rpartition("-")
    return str(shards[0].with_name(f"{prefix}-{{{first}..{shards[-1].stem.rpartition('-')[2]}}}.tar"))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; wrong input ends in one line and exit code 2."""
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    out, max_size, max_count = (options.pop(name) for name in ("out", "max_size", "max_count"))
    # Mixed, as training reads a few tar files at a time: class after class, they would show few classes at a time.
    seed, in_order = options.pop("shuffle"), options.pop("in_order")
    try:
        phase = Path(options["dataroot"]) / options["phase"]
        if options["dataset_mode"] == "single" and phase.is_dir():  # else the images of all phases
            options["dataroot"] = str(phase)
        dataset = build_dataset(DataConfig(**options | {"conditions": tuple(options.get("conditions", ()))}))
        with file_errors("OUT", out):
            shards = make_shards(dataset, out, max_size, max_count, None if in_order else seed)
    except UserError as error:
        parser.error(str(error))
    print(f"{len(shards)} shards: --dataset_mode {options['dataset_mode']} --dataroot '{pattern_of(shards)}'")


if __name__ == "__main__":
    run(main)
