"""Labels to generated images."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from i2i.acceleration import Work
from i2i.data.images.sheets import grid, labelled_grid, save_png
from i2i.errors import UserError, file_errors
from i2i.progress import Meter
from i2i.results import ResultsRecord
from i2i.translate.background import BackgroundJob, in_background, suitable_threads
from i2i.translate.config import TestConfig
from i2i.translate.origin import origin_of
from i2i.translate.page import ResultsPage
from i2i.translate.pictures import ImageResults, pictures_of, write_pictures
from i2i.translate.translator import Translator

GRID_COLUMNS = 10
UNCONDITIONAL = ("all",)  # the one class of a model that is told none


def chosen_classes(labels: Sequence[str] | None, classes: Sequence[str]) -> list[int]:
    """Class indices from words such as `0-9`, `2,5` or a class's name; all of them for None.

    Raises:
        ValueError: for a label outside the classes, and for any where `classes` are `UNCONDITIONAL`.
    """
    if labels is None:
        return list(range(len(classes)))
    if classes is UNCONDITIONAL:
        raise UserError("--labels: this run is unconditional")
    chosen: list[int] = []
    for word in labels:
        for part in [word] if word in classes else word.split(","):
            names = [part] if part in classes else _range(part, len(classes))
            unknown = [name for name in names if name not in classes]
            if unknown:
                known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
                raise UserError(f"--labels {part}: {unknown[0]!r} is none of the classes {known}")
            chosen += [classes.index(name) for name in names]
    return list(dict.fromkeys(chosen))


def _range(part: str, most: int) -> list[str]:
    """The numbers of `3-7` as words, at most one more than there are classes; the word itself if it is no range."""
    bounds = re.fullmatch(r"(\d{1,9})-(\d{1,9})", part)
    if bounds is None or int(bounds[1]) > int(bounds[2]):
        return [part]
    return [str(number) for number in range(int(bounds[1]), min(int(bounds[2]), int(bounds[1]) + most) + 1)]


def class_names(translator: Translator) -> tuple[str, ...]:
    """The names of the classes that a class-conditional model is told, `UNCONDITIONAL` for none."""
    return translator.model.spec.classes if translator.model.num_classes else UNCONDITIONAL


def generate_images(translator: Translator, folder: Path, config: TestConfig, batch_size: int) -> int:
    """Generate `num_per_class` images of every chosen class into class folders, a page and a labelled grid.

    Image k of a class is named by its seed, `seed + k`, and that seed gives it again. An unconditional model has one
    class, and a grid without labels.

    Raises:
        ValueError: for a label outside the model's classes.
    """
    classes, count = class_names(translator), config.num_per_class
    chosen = chosen_classes(config.labels, classes)
    with file_errors("--results_dir"):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        record = ResultsRecord(folder, origin_of(translator, truncation=config.truncation))
    page = ResultsPage(folder / "index.html", f"{folder.parent.name}: {folder.name}", width=64)
    translator.inference.prepare(Work(False, len(chosen) * count, batch_size, translator.model.spec.image_size))
    shown: list[tuple[int, Tensor]] = []
    threads = suitable_threads(translator.device)
    rows = in_background(_jobs(translator, folder / "images", config, batch_size, chosen, shown), threads, 2 * threads)
    with record, closing(rows), Meter(len(chosen) * count, about="generating", leave=True) as bar:
        for label, written in rows:
            links = {f"seed {seed}": picture for seed, (_, picture) in written.items()}
            page.add("images" if classes is UNCONDITIONAL else f"class {classes[label]}", links)
            for name, picture in written.values():
                record.add(name, {"fake": picture})
            bar.update(len(links))
    page.close()
    with file_errors("--results_dir"):
        save_png(_grid(shown, classes), folder / "grid.png")
    return len(chosen) * count


def _grid(shown: Sequence[tuple[int, Tensor]], classes: tuple[str, ...]) -> Image:
    labels, pictures = zip(*shown, strict=True)
    images = torch.stack(pictures)
    if classes is UNCONDITIONAL:
        return grid(images, GRID_COLUMNS)
    return labelled_grid(images, labels, classes, GRID_COLUMNS)


def _jobs(
    translator: Translator,
    folder: Path,
    config: TestConfig,
    batch_size: int,
    chosen: Sequence[int],
    shown: list[tuple[int, Tensor]],
) -> Iterator[BackgroundJob[tuple[int, dict[int, tuple[str, str]]]]]:
    """Generate; what is left to do for each batch, and gives its class, and by seed its images' names and paths.

    Appends the first images of every class to `shown`.
    """
    classes, domains, count = class_names(translator), translator.model.spec.domains, config.num_per_class
    most = GRID_COLUMNS**2 if classes is UNCONDITIONAL else GRID_COLUMNS
    folders = dict(zip(chosen, folder_names([classes[label] for label in chosen], chosen), strict=True))

    def written(label: int, seeds: range, pictures: Sequence[ImageResults]) -> tuple[int, dict[int, tuple[str, str]]]:
        names = [f"{folders[label]}/seed{seed}" for seed in seeds]
        rows = zip(seeds, names, pictures, strict=True)
        return label, {
            seed: (name, write_pictures(folder, name, row, config.encoding)["fake"]) for seed, name, row in rows
        }

    for label, start in itertools.product(chosen, range(0, count, batch_size)):
        seeds = range(translator.seed + start, translator.seed + min(start + batch_size, count))
        images = translator.generate(torch.full((len(seeds),), label), seeds[0], config.truncation)
        shown += [(label, image) for image in images[: max(0, most - start)].cpu()]
        pictures = pictures_of({"fake": images}, domains, ["fake"], [domains[1][0].kind] * len(seeds))
        yield BackgroundJob(partial(written, label, seeds, pictures), sum(picture.nbytes for picture in pictures))


def folder_names(names: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Classes' names as folders', which lie nowhere else and apart: names come from checkpoints, maybe anybody's."""
    plain = [bool(re.fullmatch(r"[\w\- ]([\w\-. ]*[\w\-])?", name)) and len(name.encode()) < 100 for name in names]
    folded = [name.casefold() for name in names]
    apart = [folded.count(name) == 1 and not name.startswith("class_") for name in folded]
    return [name if plain[row] and apart[row] else f"class_{labels[row]}" for row, name in enumerate(names)]
