"""A folder of images to a folder of pictures with a page."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from i2i.acceleration import Work
from i2i.acceleration.choices import most_halvings
from i2i.data import ImageDataset, ImageError, Sample, collate, samples_in_order
from i2i.data.files import read_bytes, suffix
from i2i.data.folder import common_stem, has_images
from i2i.data.images.tiff import geographic_tags
from i2i.errors import file_errors
from i2i.progress import Meter
from i2i.results import Images, ResultsRecord
from i2i.translate.background import BackgroundJob, in_background, suitable_threads
from i2i.translate.config import TestConfig
from i2i.translate.origin import origin_of
from i2i.translate.page import ResultsPage
from i2i.translate.pictures import (
    REFERENCE_LABELS,
    ImageResults,
    Labels,
    existing_pictures,
    pictures_of,
    write_pictures,
)
from i2i.translate.processes import device_of, helpers
from i2i.translate.rows import ResultRow, gathered, in_order
from i2i.translate.translator import Translator

log = logging.getLogger(__name__)
MOST_PIXELS = 2**23  # of a batch: eight images of 1024 x 1024
DEEP = 5  # halvings, from which on most layers of a network have little to do for a single image
HEADERS = 16  # of files that are read to see whether all images are of one size


def translate_dataset(
    translator: Translator,
    dataset: ImageDataset,
    folder: Path,
    config: TestConfig,
    labels: Labels | None = None,
) -> int:
    """Translate every image of `dataset` into `folder`/images, with an index.html; gives the number translated.

    Of several `processes`, which are started here, all have the weights and the list of files that this one has, and
    this one a share of its own threads until they end; a script that asks for several must begin below
    `if __name__ == "__main__"`.

    A record beside the page, results.jsonl, lists the pictures and says what they come from.

    Raises:
        ImageError: for a file that cannot be used, unless the data set skips those.
        UserError: if the folder holds results of another source, model or other options, if a picture cannot be
            written, or if a helper has died.
    """
    with file_errors("--results_dir"):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        record = ResultsRecord(folder, origin_of(translator, dataset), config.part_name)
    page, count = ResultsPage(folder / config.page, f"{folder.parent.name}: {folder.name}"), 0
    items = config.items(len(dataset))
    processes = max(1, min(config.processes, len(items)))
    shares = [items[process::processes] for process in range(processes)]
    there = _skipped(folder, record.known) if config.skip_existing else {}
    work = partial(_share, translator, dataset, folder, config, labels or Labels(), shares, there)
    bar = Meter(len(items), about="translating", leave=True)
    with record, bar, helpers(work, processes) as others, closing(work(0)) as own:
        for row in in_order(gathered(own, others), items):
            if row.problem:
                log.warning("skipped: %s", row.problem)
            else:
                page.add(row.name, row.pictures)
                record.add(row.name, row.pictures)
                count += row.is_new
            bar.update(skipped=int(not row.is_new))
    page.close()
    return count


def _skipped(folder: Path, known: Images) -> Images:
    """Return the results that `--skip_existing` may leave out: those of which the record says that they are alike."""
    if not known and has_images(folder / "images"):
        log.warning("%s has pictures whose origin is not recorded: they are made again", folder / "images")
    return known


def _share(
    translator: Translator,
    dataset: ImageDataset,
    folder: Path,
    config: TestConfig,
    labels: Labels,
    shares: Sequence[range],
    known: Mapping[str, Mapping[str, str]],
    process: int,
) -> Generator[ResultRow]:
    """Return the result of each image in the share of a process; the `known` ones that still exist come first."""
    if process:
        translator.move_to(device_of(process, translator.device))
    share = shares[process]
    work = Work(False, len(share), dataset.config.batch_size, _image_size(dataset, share))
    translator.inference.prepare(work)
    return _rows(translator, dataset, folder / "images", config, labels, share, known)


def _rows(
    translator: Translator,
    dataset: ImageDataset,
    folder: Path,
    config: TestConfig,
    labels: Labels,
    share: range,
    known: Mapping[str, Mapping[str, str]],
) -> Generator[ResultRow]:
    names = common_stem(dataset.files, dataset.root)
    needed = {labels.target} if config.pictures == "fake" else {labels.source, labels.target}
    wanted = {}
    for item in share:
        mine = known.get(names[item], {})
        there = existing_pictures(folder, names[item], [label for label in labels if label in mine], config.encoding)
        if needed <= there.keys():
            yield ResultRow(item, names[item], there, is_new=False)
        else:
            wanted[item] = names[item]
    threads = suitable_threads(translator.device)
    jobs = _jobs(translator, dataset, folder, config, labels, wanted)
    yield from in_background(jobs, threads, ahead=2 * max(threads, dataset.config.batch_size))


def _jobs(
    translator: Translator,
    dataset: ImageDataset,
    folder: Path,
    config: TestConfig,
    labels: Labels,
    names: dict[int, str],
) -> Iterator[BackgroundJob[ResultRow]]:
    """Translate; what is left to do for each image of `names`, and gives its row."""

    def written(index: int, pictures: ImageResults) -> ResultRow:
        tags = _geographic_tags(dataset.files[index], next(iter(pictures.by_label.values())).shown)
        return ResultRow(index, names[index], write_pictures(folder, names[index], pictures, config.encoding, tags))

    for indices, samples in _same_sized(dataset, list(names)):
        if isinstance(samples, ImageError):
            yield BackgroundJob(partial(ResultRow, indices[0], names[indices[0]], {}, problem=str(samples)))
        else:
            batch = _translated_batch(translator, samples, config.pictures, labels)
            for index, pictures in zip(indices, batch, strict=True):
                yield BackgroundJob(partial(written, index, pictures), pictures.nbytes)


def _geographic_tags(path: str, shown: torch.Tensor) -> list[Any]:
    """The tags of a GeoTIFF that tell where its results lie, unless these are of another size."""
    if suffix(path) not in (".tif", ".tiff"):
        return []
    height, width, _ = shown.shape
    return geographic_tags(read_bytes(path), width, height)


@torch.inference_mode()
def _translated_batch(
    translator: Translator, samples: Sequence[Sample], wanted: str, labels: Labels
) -> list[ImageResults]:
    """Return the wanted pictures of each sample."""
    batch = collate(samples)
    assert not isinstance(batch, ImageError)  # they were told apart before
    if translator.device.type == "cuda":
        batch = batch.pin_memory()  # else the copy would wait for all that the device has to do
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
    # The translation comes last: a result that is there is complete.
    kept = [*([] if wanted == "fake" else [label for label in results if label != labels.target]), labels.target]
    return pictures_of(results, (a, b), kept, list(batch.kinds))


def _same_sized(dataset: ImageDataset, indices: Sequence[int]) -> Iterator[tuple[list[int], list[Sample] | ImageError]]:
    """Samples in order, in runs of one size and at most a batch, or fewer of large images; problems by themselves."""
    held: list[int] = []
    samples: list[Sample] = []
    most = dataset.config.batch_size
    for index, sample in samples_in_order(dataset, indices):
        if isinstance(sample, ImageError):
            if dataset.config.on_bad_image == "error":
                raise sample
            yield [index], sample
            continue
        if samples and (len(samples) == most or samples[0].shapes != sample.shapes):
            yield held, samples
            held, samples = [], []
        if not samples:
            most = max(1, min(dataset.config.batch_size, MOST_PIXELS // sample.shapes[0][1:].numel()))
        held, samples = [*held, index], [*samples, sample]
    if samples:
        yield held, samples


def _image_size(dataset: ImageDataset, items: Sequence[int]) -> tuple[int, int] | None:
    """Width and height of the images, None if they differ: by the options, or by the headers of a few files."""
    if "crop" in dataset.config.preprocess:
        width, height = dataset.config.crop_size
        return width, height
    few = [dataset.files[item] for item in items[:: len(items) // HEADERS + 1]]
    try:
        headers = [dataset.pipeline.reader.info(path) for path in few]
    except ImageError:  # which is said where the file is translated
        return None
    sizes = {(header.width, header.height) for header in headers}
    return sizes.pop() if len(sizes) == 1 else None


def suitable_batch_size(translator: Translator) -> int:
    """Images a batch, by what pays: on the CPU several only for small images and for networks with many small maps."""
    if translator.model.spec.classes:
        return 64
    if translator.device.type == "cuda":
        return 16
    return 8 if most_halvings(translator.inference.networks) >= DEEP else 1


def suitable_readers(device: torch.device, processes: int = 1) -> int:
    """Processes that read images for each of `processes`: on the CPU none, where they would take from the model."""
    return 0 if device.type == "cpu" else max(1, min(4, torch.get_num_threads() // processes))
