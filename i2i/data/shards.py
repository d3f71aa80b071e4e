"""List the files in shards: tar files in the layout of WebDataset (https://github.com/webdataset/webdataset).

The files of a sample share their name up to the first dot: `000012.a.jpg`, `000012.b.png`, `000012.cls`. WebDataset
reads shards as a stream. Here, members have paths such as `shards-000.tar::000012.a.jpg` and are read by their offsets
in any order, so that everything that works on files works on them: layouts, exact shuffling, resuming within an epoch,
caches and checks. The offsets come from the standard library, because WebDataset 1.0 has no index (wids) of its own.
The tar file is opened for every read, which takes microseconds, so that processes and threads share no open files.
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
from i2i.data.listing import FileTable, shown_files
from i2i.errors import UserError

CLASSES = "classes.json"  # a list of class names beside the shards, whose indices the .cls members hold
LABELS = ("cls", "json")  # extensions of members with the label; the first one counts
REMOTE = re.compile(r"pipe:|\w[\w+.-]+://")
MEMBER = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")  # WebDataset's split of a name into the sample's key and the rest
META = re.compile(r"__[^/]*__($|/)")  # members that WebDataset ignores


def is_shards(dataroot: str) -> bool:
    """Return True if `dataroot` names tar files, or something remote that `expand` rejects, and no folder."""
    return dataroot.endswith(".tar") or REMOTE.match(dataroot) is not None


def expand(dataroot: str) -> list[str]:
    """Return the tar files that `shards-{000..099}.tar`, `shards-*.tar`, or several such separated by `::` denote.

    Raises:
        UserError: if some do not exist, or are not local.
    """
    from webdataset.shardlists import expand_urls

    if REMOTE.match(dataroot):
        raise UserError(f"--dataroot {dataroot}: shards are read from local files; download them first")
    try:
        names = expand_urls(Path(dataroot).as_posix())  # it takes a backslash for an escape
    except (AssertionError, ValueError) as error:
        raise UserError(f"--dataroot {dataroot}: {error}") from None
    shards = [shard for name in names for shard in natsort.natsorted(glob.glob(name)) or [name]]
    missing = [shard for shard in shards if not os.path.isfile(shard)]
    if missing:
        raise UserError(f"--dataroot: {len(missing)} of {len(shards)} shards are missing: {shown_files(missing, 3)}")
    return shards


def read_shards(dataroot: str) -> FileTable:
    """Return a table with one row per sample, in the order of the shards, which are the groups.

    The name of a column stands between key and extension: `a` in `000012.a.jpg`; it is `image` for `000012.jpg`. The
    label is the text of `000012.cls`, or `label` in `000012.json`. If `classes.json` lies beside the shards, labels are
    indices into its list of names, and the table holds the names.

    Raises:
        UserError: if a shard is missing or damaged, there are no images, or only some of the samples have labels.
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
    return FileTable(files, _labels(samples, classes), [len(group) for group in by_shard], classes=classes or ())


def list_samples(shard: str) -> list[dict[str, str]]:
    """Return the samples of one tar file that have images: paths by column name or by one of LABELS.

    Raises:
        ImageError: if the file is damaged.
        UserError: if a sample has two images of one field.
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
        raise UserError(f"{sample[field]} and {path} are both {field!r} of one sample, which may have only one")
    sample[field] = path


def class_names(folder: Path) -> list[str] | None:
    """Return the class names in `classes.json` in the folder of shards; None if there is no such file.

    Raises:
        UserError: if it holds no list of names.
    """
    path = folder / CLASSES
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not a JSON file ({error})") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f'{path} is not a list of class names, such as ["cat", "dog"]')
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
        raise UserError(f"{sample['json']} is not valid JSON ({error})") from None
    return str(value["label"]) if isinstance(value, dict) and "label" in value else None
