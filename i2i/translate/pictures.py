"""From the results of a batch to files: what is shown of each, what a picture cannot hold, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from i2i.atomic import fitting
from i2i.data.domain import Domain
from i2i.data.images.display import displayed
from i2i.data.images.sheets import to_uint8
from i2i.data.images.writing import Encoding, class_maps, denormalise, write_geotiff, write_picture, write_pixels
from i2i.errors import file_errors


class Labels(NamedTuple):
    """Labels in the file names of an input, of its translation and of its target."""

    source: str = "real_A"
    target: str = "fake_B"
    truth: str = "real_B"


REFERENCE_LABELS = Labels("real", "fake", "truth")  # of the reference's `--model test`


class ImageResult(NamedTuple):
    """A result as it is shown, (H, W, C) uint8; where that does not say it all, what its file of `domain` will hold.

    That is (C, H, W) in [-1, 1], or (H, W) of classes.
    """

    shown: Tensor
    values: Tensor | None
    domain: Domain | None

    @property
    def nbytes(self) -> int:
        """Its size in memory, in bytes."""
        return self.shown.nbytes + (0 if self.values is None else self.values.nbytes)


class ImageResults(NamedTuple):
    """The pictures of an image by label, in the memory of the CPU as soon as `ready` returns."""

    by_label: dict[str, ImageResult]
    ready: Callable[[], object]

    @property
    def nbytes(self) -> int:
        """Their size in memory, in bytes."""
        return sum(picture.nbytes for picture in self.by_label.values())


def pictures_of(
    results: dict[str, Tensor], domains: tuple[Sequence[Domain], Sequence[Domain]], kept: list[str], kinds: list[str]
) -> list[ImageResults]:
    """Return the pictures of each image of a batch that are to be `kept`, in that order.

    `results` are (N, C, H, W) in [-1, 1] by label, of the domains a and b; `kinds` those of the images' files.
    """
    shown = displayed(results, *domains)
    held = {label: [_file_domain(*domains, label, kind) for kind in kinds] for label in kept}
    pixels = {label: _on_cpu(to_uint8(shown[label]).permute(0, 2, 3, 1).contiguous()) for label in kept}
    values = {label: _on_cpu(_numbers(results[label], held[label][0])) for label in kept if any(held[label])}
    ready = _arrival(next(iter(results.values())).device)
    return [
        ImageResults(
            {
                label: ImageResult(
                    pixels[label][row], values[label][row] if held[label][row] else None, held[label][row]
                )
                for label in kept
            },
            ready,
        )
        for row in range(len(kinds))
    ]


def _numbers(images: Tensor, domain: Domain | None) -> Tensor:
    # A map of classes takes a hundredth of what its channels do.
    return class_maps(images) if domain is not None and domain.is_labels else images


def _on_cpu(images: Tensor) -> Tensor:
    # From CUDA into page-locked memory, while the model goes on with the next batch.
    return images.to("cpu", non_blocking=images.is_cuda)


def _arrival(device: torch.device) -> Callable[[], object]:
    """Return a function that waits until everything queued on `device` so far is done."""
    if device.type != "cuda":
        return lambda: None
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event.synchronize


def _file_domain(a: Sequence[Domain], b: Sequence[Domain], label: str, kind: str) -> Domain | None:
    """Return the domain of a result's own file; None if its picture is complete, or no file type holds it.

    Where both domains of the run hold files of one kind, a result is of the kind of its input.
    """
    own, other = (a, b) if label.endswith("_A") or label == "real" else (b, a)
    domain = own[0]
    if len(own) > 1 or domain.kind in ("lightness", "chroma"):
        return None
    if domain.kind == other[0].kind:
        domain = domain.of_kind(kind) or domain
    return None if domain.is_picture else domain


def picture_path(folder: Path, name: str, label: str) -> Path:
    """Return the path of a picture below `folder`, without its extension; parts that are too long are shortened."""
    *parents, last = PurePosixPath(name).parts
    return folder.joinpath(*map(fitting, parents), fitting(last, f"_{label}.png").removesuffix(".png"))


@file_errors("--results_dir")
def write_pictures(
    folder: Path, name: str, pictures: ImageResults, encoding: Encoding, tags: Sequence[Any] = ()
) -> dict[str, str]:
    """Save `<name>_<label>.png` or `.jpg` below `folder`, and beside them what these cannot hold.

    A name that is too long for the file system is cut, and ends in a hash of all of it. With geographic `tags` there is
    a TIFF file with them beside each picture. Gives the pictures' paths by label, relative to the folder above.
    """
    pictures.ready()
    written = {}
    for label, (shown, values, domain) in pictures.by_label.items():
        path = picture_path(folder, name, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        file, pixels = None, shown.numpy()
        if domain is not None and values is not None:
            pixels = values.numpy() if domain.is_labels else denormalise(values, domain)
            file = write_pixels(pixels, path, domain, encoding)
        if tags:
            write_geotiff(pixels, path, tags)
        if file is None or file.suffix != ".png":
            file = write_picture(shown.numpy(), path, encoding)
        written[label] = file.relative_to(folder.parent).as_posix()
    return written


def existing_pictures(folder: Path, name: str, labels: Sequence[str], encoding: Encoding) -> dict[str, str]:
    """Return what `write_pictures` returned for the files that exist."""
    suffixes = dict.fromkeys((f".{encoding.format}", ".png", ".jpg"))
    stems = {label: picture_path(folder, name, label) for label in labels}
    files = {label: [stem.with_name(stem.name + suffix) for suffix in suffixes] for label, stem in stems.items()}
    found = {label: next(filter(Path.is_file, paths), None) for label, paths in files.items()}
    return {label: path.relative_to(folder.parent).as_posix() for label, path in found.items() if path is not None}
