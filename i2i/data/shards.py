"""Shards: tar files in the layout of WebDataset (https://github.com/webdataset/webdataset), as lists of files.

The files of a sample share their name up to the first dot: `000012.a.jpg`, `000012.b.png`, `000012.cls`. WebDataset
itself streams them past; here they get paths, `shards-000.tar::000012.a.jpg`, and are read in any order by their
offsets, so that all that works on files works on them: every layout, an exact shuffle, going on in mid-epoch, caches,
checks. The offsets come from the standard library, as WebDataset 1.0 no longer brings its own index (wids); a file is
opened anew for every read, which takes microseconds and leaves nothing that processes or threads could share.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import natsort

from i2i.data.files import SEPARATOR, read_member, signature, tar_members
from i2i.data.images import readable_extensions
from i2i.data.listing import Columns, shown_files
from i2i.errors import UserError

CLASSES = "classes.json"  # beside the shards: the names of the classes whose indices stand in the .cls members
LABELS = ("cls", "json")  # what holds the label of a sample, the first that it has
REMOTE = re.compile(r"pipe:|\w[\w+.-]+://")
MEMBER = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")  # a sample's key and the rest, as WebDataset splits names
META = re.compile(r"__[^/]*__($|/)")  # members that WebDataset takes for no samples


def is_shards(dataroot: str) -> bool:
    """Whether `dataroot` names tar files (or something remote, of which `expand` says what to do) and no folder."""
    return dataroot.endswith(".tar") or REMOTE.match(dataroot) is not None


def expand(dataroot: str) -> list[str]:
    """The tar files that `shards-{000..099}.tar`, `shards-*.tar` or several such with `::` between them stand for.

    Raises:
        ValueError: if some do not exist, or are not local.
    """
    from webdataset.shardlists import expand_urls

    if REMOTE.match(dataroot):
        raise UserError(f"--dataroot {dataroot}: shards are read from local files; download them first")
    try:
        names = expand_urls(Path(dataroot).as_posix())  # to which a backslash would be an escape
    except (AssertionError, ValueError) as error:
        raise UserError(f"--dataroot {dataroot}: {error}") from None
    shards = [shard for name in names for shard in natsort.natsorted(glob.glob(name)) or [name]]
    missing = [shard for shard in shards if not os.path.isfile(shard)]
    if missing:
        raise UserError(f"--dataroot: {len(missing)} of {len(shards)} shards are missing: {shown_files(missing, 3)}")
    return shards


def columns(dataroot: str) -> Columns:
    """One row a sample, in the order of the shards and of the samples in them, which are the groups.

    A column is what stands between key and extension: `a` of `000012.a.jpg`, and `image` of `000012.jpg`. Labels are
    the text of `000012.cls`, or `label` in `000012.json`; where `classes.json` lies beside the shards, they are indices
    into that list of names, and the rows have the names.

    Raises:
        ValueError: if a shard is missing or damaged, there are no images, or only some of the samples have labels.
    """
    shards = expand(dataroot)
    by_shard = [list_samples(shard) for shard in shards]
    samples = [sample for group in by_shard for sample in group]
    if not samples:
        held = [name for shard in shards for name in tar_members(shard, signature(shard))]
        shown = shown_files(held, 3) or "nothing"
        raise UserError(f"--dataroot {dataroot}: no images in {shown_files(shards, 3)}, but {shown}")
    names = dict.fromkeys(field for sample in samples for field in sample if field not in LABELS)
    files = {name: [sample.get(name) for sample in samples] for name in names}
    classes = class_names(Path(shards[0]).parent)
    return Columns(files, _labels(samples, classes), [len(group) for group in by_shard], classes=classes or ())


def list_samples(shard: str) -> list[dict[str, str]]:
    """The samples of one tar file that have images: by field, which is a column or one of LABELS, the path.

    Raises:
        ImageError: if the file is damaged.
        ValueError: if a sample has two images of one field.
    """
    images = readable_extensions()
    samples: dict[str, dict[str, str]] = {}
    for name in tar_members(shard, signature(shard)):
        matched = MEMBER.fullmatch(name)
        if matched is None or META.match(name):
            continue
        key, extensions = matched[1], matched[2].lower()
        column, _, extension = extensions.rpartition(".")
        if f".{extension}" in images:
            _add(samples.setdefault(key, {}), column or "image", f"{shard}{SEPARATOR}{name}")
        elif extensions in LABELS:
            _add(samples.setdefault(key, {}), extensions, f"{shard}{SEPARATOR}{name}")
    return [sample for sample in samples.values() if not sample.keys() <= set(LABELS)]


def _add(sample: dict[str, str], field: str, path: str) -> None:
    if field in sample:
        raise UserError(f"{sample[field]} and {path} are both {field!r} of one sample, which has one of each")
    sample[field] = path


def class_names(folder: Path) -> list[str] | None:
    """The names of the classes in their order, from the file `classes.json` in the folder of shards, if there is one.

    Raises:
        ValueError: if it is no list of names.
    """
    path = folder / CLASSES
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON file ({error})") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f'{path} is no list of the names of classes, such as ["cat", "dog"]')
    return names


def _labels(samples: Sequence[dict[str, str]], names: Sequence[str] | None) -> list[str] | None:
    labels = [_label(sample) for sample in samples]
    if all(label is None for label in labels):
        return None
    known = None if names is None else {str(index): name for index, name in enumerate(names)}
    for sample, label in zip(samples, labels, strict=True):
        if label is None or (known is not None and label not in known):
            wrong = "has no label, others have" if label is None else f"has the label {label}, which {CLASSES} lacks"
            raise UserError(f"the sample of {next(iter(sample.values()))} {wrong}")
    return [known[label] if known else label for label in labels if label is not None]


def _label(sample: dict[str, str]) -> str | None:
    if "cls" in sample:
        return read_member(sample["cls"]).decode(errors="replace").strip()
    if "json" not in sample:
        return None
    try:
        value = json.loads(read_member(sample["json"]))
    except ValueError as error:
        raise UserError(f"{sample['json']} is no JSON ({error})") from None
    return str(value["label"]) if isinstance(value, dict) and "label" in value else None
