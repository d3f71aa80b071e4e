"""Batch translation: a folder of images to a folder of pictures with a page, or labels to generated images."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from i2i.config import check_choice, check_range, option
from i2i.data import (
    ImageDataset,
    ImageError,
    Sample,
    collate,
    samples_in_order,
)
from i2i.data.display import displayed
from i2i.data.domain import Domain
from i2i.data.folder import common_stem
from i2i.data.writing import write_image
from i2i.translator import Translator
from i2i.visuals import ResultsPage
from i2i.visuals.images import labelled_grid, save_png, to_pil

log = logging.getLogger(__name__)
PICTURES = ("fake", "real_fake", "all")
GRID_COLUMNS = 10
MOST_PIXELS = 2**23  # of a batch: eight images of 1024 x 1024


@dataclasses.dataclass(frozen=True)
class TestConfig:
    """What to translate, with which checkpoint, and where the pictures go."""

    __test__ = False  # not a test case, whatever its name makes pytest think

    epoch: str = option("latest", "which checkpoint: latest or the number of an epoch")
    input: str | None = option(None, "an image, or a folder of images, instead of a data set of the run's layout")
    results_dir: str = option("./results/", "where the pictures go")
    num_test: int | None = option(None, "translate at most so many images (default: all)")
    eval: bool = option(False, "no dropout, and BatchNorm's averages from training instead of the image's own")
    ema: bool = option(True, "use the averaged weights, if the run has any")
    pictures: str = option("real_fake", "what to write: fake, real_fake, or all that the model shows", choices=PICTURES)
    skip_existing: bool = option(False, "leave out images whose result is there already")
    reference_weights: str | None = option(None, "a generator of the reference implementation, a .pth file")
    labels: tuple[str, ...] | None = option(None, "classes to generate, such as 0-9 or cat dog (default: all)")
    num_per_class: int = option(10, "images to generate of every class")

    def __post_init__(self) -> None:
        check_choice("pictures", self.pictures, PICTURES)
        check_range("num_test", self.num_test, 1)
        check_range("num_per_class", self.num_per_class, 1)


# By label: what is shown of an image, the image itself, and whose files can hold it if a PNG of 8 bits cannot.
Pictures = dict[str, tuple[Tensor, Tensor, Domain | None]]


class Labels(NamedTuple):
    """What the files of an input, of its translation and of the truth are called."""

    source: str = "real_A"
    target: str = "fake_B"
    truth: str = "real_B"


REFERENCE_LABELS = Labels("real", "fake", "truth")  # of the reference's `--model test`


def translate_dataset(
    translator: Translator, dataset: ImageDataset, folder: Path, config: TestConfig, labels: Labels | None = None
) -> int:
    """Translate every image of `dataset` into `folder`/images, with an index.html; gives the number translated.

    Raises:
        ImageError: for a file that cannot be used, unless the data set skips those.
    """
    labels = labels or Labels()
    names = common_stem(dataset.files, dataset.root)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    needed = [labels.target] if config.pictures == "fake" else [labels.source, labels.target]
    there = {
        name
        for name in names
        if config.skip_existing and all((images / f"{name}_{label}.png").is_file() for label in needed)
    }
    wanted = [index for index, name in enumerate(names) if name not in there]
    page, count = ResultsPage(folder / "index.html", f"{folder.parent.name}: {folder.name}"), 0
    for name in (name for name in names if name in there):
        files = {label: images / f"{name}_{label}.png" for label in labels}
        page.add(name, {label: path.relative_to(folder) for label, path in files.items() if path.is_file()})
    with tqdm(total=len(names), initial=len(there), unit="image", file=sys.stderr) as bar:
        for indices, samples in _same_sized(dataset, wanted):
            for index, pictures in zip(indices, _pictures(translator, samples, config.pictures, labels), strict=True):
                page.add(names[index], _write(images, names[index], pictures))
            bar.update(len(indices))
            count += len(indices)
    page.close()
    return count


def _pictures(translator: Translator, samples: Sequence[Sample], wanted: str, labels: Labels) -> list[Pictures]:
    """Of each sample the pictures that are wanted, by label."""
    batch = collate(samples)
    assert not isinstance(batch, ImageError)  # they were told apart before
    batch = batch.to(translator.device)
    assert batch.a is not None  # every layout that is translated has it
    if wanted == "all" and labels != REFERENCE_LABELS:
        results = translator.visuals(batch.a, batch.b, batch.paths_a)
    else:
        fake = translator.translate(batch.a, batch.paths_a)
        found = {labels.source: batch.a, labels.target: fake, labels.truth: batch.b}
        results = {label: images for label, images in found.items() if images is not None}
    a, b = translator.model.spec.domains
    if translator.target == "b" and labels.source.endswith("_B"):  # a generator of the reference for the other way
        a, b = b, a
    shown = displayed(results, a, b)
    # The translation comes last: a result that is there is complete.
    kept = [*([] if wanted == "fake" else [label for label in results if label != labels.target]), labels.target]
    return [
        {label: (shown[label][row], results[label][row], _file_domain(a, b, label, sample.kind)) for label in kept}
        for row, sample in enumerate(samples)
    ]


def _file_domain(a: Sequence[Domain], b: Sequence[Domain], label: str, kind: str) -> Domain | None:
    """Of what domain a result's own file is; None where its picture says it all, or there are no files of its kind.

    Where both domains of the run hold files of one kind, a result is of the kind of its input.
    """
    own, other = (a, b) if label.endswith("_A") or label == "real" else (b, a)
    domain = own[0]
    if len(own) > 1 or domain.kind in ("lightness", "chroma"):
        return None
    if domain.kind == other[0].kind:
        domain = domain.of_kind(kind) or domain
    return None if domain.is_picture else domain


def _same_sized(dataset: ImageDataset, indices: Sequence[int]) -> Iterator[tuple[list[int], list[Sample]]]:
    """Samples in order, in runs of one size and at most a batch, or fewer of large images."""
    held: list[int] = []
    samples: list[Sample] = []
    most = dataset.config.batch_size
    for index, sample in samples_in_order(dataset, indices):
        if isinstance(sample, ImageError):
            if dataset.config.on_bad_image == "error":
                raise sample
            log.warning("skipped: %s", sample)
            continue
        if samples and (len(samples) == most or samples[0].shapes != sample.shapes):
            yield held, samples
            held, samples = [], []
        if not samples:
            most = max(1, min(dataset.config.batch_size, MOST_PIXELS // sample.shapes[0][1:].numel()))
        held, samples = [*held, index], [*samples, sample]
    if samples:
        yield held, samples


def _write(folder: Path, name: str, pictures: Pictures) -> dict[str, str]:
    """Save pictures as `<name>_<label>.png`, and beside them what these cannot hold; gives the paths for the page."""
    written = {}
    for label, (shown, values, domain) in pictures.items():
        path = folder / f"{name}_{label}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if domain is None or write_image(values, path, domain).suffix != ".png":
            save_png(to_pil(shown), path.with_name(f"{path.name}.png"))
        written[label] = f"{folder.name}/{name}_{label}.png"
    return written


def chosen_classes(labels: Sequence[str] | None, classes: Sequence[str]) -> list[int]:
    """Class indices from words such as `0-9`, `2,5` or a class's name; all of them for None.

    Raises:
        ValueError: for a label outside the classes.
    """
    if labels is None:
        return list(range(len(classes)))
    chosen: list[int] = []
    for word in labels:
        for part in [word] if word in classes else word.split(","):
            names = [part] if part in classes else _range(part, len(classes))
            unknown = [name for name in names if name not in classes]
            if unknown:
                known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
                raise ValueError(f"--labels {part}: {unknown[0]!r} is none of the classes {known}")
            chosen += [classes.index(name) for name in names]
    return list(dict.fromkeys(chosen))


def _range(part: str, most: int) -> list[str]:
    """The numbers of `3-7` as words, at most one more than there are classes; the word itself if it is no range."""
    bounds = re.fullmatch(r"(\d{1,9})-(\d{1,9})", part)
    if bounds is None or int(bounds[1]) > int(bounds[2]):
        return [part]
    return [str(number) for number in range(int(bounds[1]), min(int(bounds[2]), int(bounds[1]) + most) + 1)]


def generate_images(translator: Translator, folder: Path, config: TestConfig, batch_size: int) -> int:
    """Generate `num_per_class` images of every chosen class into class folders, a page and a labelled grid.

    Image k of a class is named by its seed, `seed + k`, and that seed gives it again.

    Raises:
        ValueError: for a label outside the model's classes.
    """
    spec, count = translator.model.spec, config.num_per_class
    classes = spec.classes
    chosen = chosen_classes(config.labels, classes)
    folders = dict(zip(chosen, _folder_names([classes[label] for label in chosen], chosen), strict=True))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    page = ResultsPage(folder / "index.html", f"{folder.parent.name}: {folder.name}", width=64)
    grid: list[tuple[int, Tensor]] = []
    with tqdm(total=len(chosen) * count, unit="image", file=sys.stderr) as bar:
        for label, start in itertools.product(chosen, range(0, count, batch_size)):
            seeds = range(translator.seed + start, translator.seed + min(start + batch_size, count))
            images = translator.generate(torch.full((len(seeds),), label), seeds[0]).cpu()
            names = [f"{folders[label]}/seed{seed}" for seed in seeds]
            links = [
                _write(
                    folder / "images",
                    name,
                    {"fake": (i, i, _file_domain(*spec.domains, "fake", spec.domains[1][0].kind))},
                )["fake"]
                for name, i in zip(names, images, strict=True)
            ]
            page.add(f"class {classes[label]}", {f"seed {s}": link for s, link in zip(seeds, links, strict=True)})
            grid += [(label, image) for image in images[: max(0, GRID_COLUMNS - start)]]
            bar.update(len(seeds))
    page.close()
    labels, pictures = zip(*grid, strict=True)
    save_png(labelled_grid(torch.stack(pictures), labels, classes, GRID_COLUMNS), folder / "grid.png")
    return len(chosen) * count


def _folder_names(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Classes' names as folders', which lie nowhere else and apart: names come from checkpoints, maybe anybody's."""
    plain = [bool(re.fullmatch(r"[\w\- ]([\w\-. ]*[\w\-])?", name)) and len(name.encode()) < 100 for name in names]
    folded = [name.casefold() for name in names]
    apart = [folded.count(name) == 1 and not name.startswith("class_") for name in folded]
    return [name if plain[row] and apart[row] else f"class_{labels[row]}" for row, name in enumerate(names)]
