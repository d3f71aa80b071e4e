"""Problems of files, sizes and types: most of them end a training."""

from __future__ import annotations

from collections.abc import Iterator

from i2i.data.domain import VOID
from i2i.data.folder import described_by_extension
from i2i.data.layouts.classes import ClassDataset
from i2i.tools.check.scan import FileRecord
from i2i.tools.check.survey import DataFinding, Item, Survey, counted, of_records, some

STRETCH = 1.5  # the change of an image's shape from which on it is worth a word
SPREAD_OF_SIZES = 4.0  # between the longest sides of images that are trained on together


def layout(survey: Survey) -> Iterator[DataFinding]:
    """A phase without images, or a folder that has no layout at all."""
    if survey.problem is not None:
        yield DataFinding("layout", survey.problem, [], fatal=True)


def unreadable(survey: Survey) -> Iterator[DataFinding]:
    """Files that hold no image, or a part of one."""
    items = of_records((record, _reason(record)) for record in survey.records if not record.readable)
    title = f"{counted(len(items), 'file')} cannot be read"
    yield from some(DataFinding("unreadable", title, items, survey.fails(items)))


def unfit(survey: Survey) -> Iterator[DataFinding]:
    """Images that cannot become what the options want."""
    items = of_records((record, _reason(record)) for record in survey.records if record.readable and record.error)
    title = f"{counted(len(items), 'file')} cannot be had with the channels that are wanted"
    yield from some(DataFinding("unfit", title, items, survey.fails(items)))


def odd_width(survey: Survey) -> Iterator[DataFinding]:
    """Side-by-side pairs without a middle."""
    pairs = (record for record in survey.records if record.info is not None and len(record.slots) == 2)
    items = of_records(
        (record, f"{record.info.width} pixels wide") for record in pairs if record.info and record.info.width % 2
    )
    title = f"{counted(len(items), 'file')} of an odd width cannot be side-by-side pairs"
    yield from some(DataFinding("odd_width", title, items, survey.fails(items)))


def too_small(survey: Survey) -> Iterator[DataFinding]:
    """Images from which no crop can be cut."""
    if not survey.config.preprocess.endswith("crop"):
        return
    width, height = survey.config.crop_size
    items = of_records(
        (record, _shown(survey.size(record)))
        for record in survey.records
        if record.info is not None and _smaller(survey.target(record), (width, height))
    )
    title = f"{counted(len(items), 'image')} smaller than the crop of {width}x{height}: use a smaller --crop_size"
    yield from some(DataFinding("too_small", title, items, survey.fails(items)))


def no_range(survey: Survey) -> Iterator[DataFinding]:
    """Floats, whose range no type tells."""
    config = survey.config
    for end in ("in", "out"):
        if getattr(config, f"{end}_range") is not None:
            continue
        low, high = _extremes(survey, end)
        items = of_records((record, f"{record.info.mode}") for record in _floats(survey, end) if record.info)
        title = f"{counted(len(items), 'file')} of floats: give --{end}_range; the values go from {low:g} to {high:g}"
        yield from some(DataFinding("no_range", title, items, survey.fails(items, skippable=False)))


def _floats(survey: Survey, end: str) -> list[FileRecord]:
    return [
        record
        for record in survey.records
        if record.info and record.info.kind == "float32" and any(s.end == end and not s.classes for s in record.slots)
    ]


def _extremes(survey: Survey, end: str) -> tuple[float, float]:
    views = [seen.view for seen in survey.seen if seen.slot.end == end and seen.view.kind == "float32"]
    return min((view.low for view in views), default=0.0), max((view.high for view in views), default=1.0)


def pair_sizes(survey: Survey) -> Iterator[DataFinding]:
    """Pairs whose images do not lie on each other: training stops, or stretches them until they do."""
    unequal, stretched = [], []
    for records in survey.samples.values():
        sizes = {survey.size(record): survey.target(record) for record in records if record.info is not None}
        shown = " and ".join(map(_shown, sizes))
        item = Item(tuple(record.path for record in records), shown, records[0].phase)
        if len(set(sizes.values())) > 1:
            unequal.append(item)
        elif len(sizes) > 1 and max(map(_shape, sizes)) > 1.05 * min(map(_shape, sizes)):
            stretched.append(item)
    title = (
        f"{counted(len(unequal), 'pair')} of images of different sizes: --preprocess resize_and_crop makes them equal"
    )
    yield from some(DataFinding("pair_sizes", title, unequal, survey.fails(unequal)))
    title = f"{counted(len(stretched), 'pair')} of images of different shapes, stretched onto each other"
    yield from some(DataFinding("pair_shapes", title, stretched))


def batch_sizes(survey: Survey) -> Iterator[DataFinding]:
    """Images of different sizes, of which no batch can be made."""
    config = survey.config
    if config.preprocess.endswith("crop") or config.batch_size == 1:
        return
    sizes: dict[tuple[int, int], FileRecord] = {}
    for record in survey.records:
        if record.info is not None and record.phase == config.phase:
            sizes.setdefault(survey.target(record), record)
    if len(sizes) > 1:
        items = of_records((record, _shown(size)) for size, record in sizes.items())
        title = f"images of {counted(len(sizes), 'size')} cannot share batches: use --batch_size 1 or resize_and_crop"
        yield DataFinding("batch_sizes", title, items, survey.fails(items, skippable=False))


def label_values(survey: Survey) -> Iterator[DataFinding]:
    """Class indices beyond the number of classes, which end a training but for 255, by custom no class."""
    for end in ("in", "out"):
        maps = [seen for seen in survey.seen if seen.slot.end == end and seen.slot.classes]
        known = {index for seen in maps for index in seen.view.classes if 0 <= index < seen.slot.classes}
        beyond = {index for seen in maps for index in seen.view.classes} - known
        items = of_records(
            (seen.record, f"has {', '.join(map(str, strange))}")
            for seen in maps
            if (strange := [index for index in seen.view.classes if index not in known])
        )
        if maps and not beyond - {VOID} and _is_mask(survey, end):
            holders = of_records((seen.record, "") for seen in maps)
            title = f"{counted(len(holders), 'label map')} of 0 and {VOID} alone: {VOID} is read as class 1"
            yield DataFinding("binary_masks", title, holders)
            continue
        void = beyond == {VOID}
        meaning = f"of class {VOID}, taken for none" if void else f"of classes beyond --{end}_classes"
        title = f"{counted(len(items), 'label map')} with pixels {meaning}"
        yield from some(DataFinding("label_values", title, items, not void and survey.fails(items, skippable=False)))


def nodata(survey: Survey) -> Iterator[DataFinding]:
    """Files that name a value of pixels that hold nothing."""
    items = of_records(
        (record, f"nodata is {record.info.nodata:g}")
        for record in survey.records
        if record.info is not None and record.info.nodata is not None and not any(s.classes for s in record.slots)
    )
    title = f"{counted(len(items), 'file')} with nodata: not counted here, and the low end of the range in training"
    yield from some(DataFinding("nodata", title, items))


def _is_mask(survey: Survey, end: str) -> bool:
    """Return True if the maps of `end` hold 0 and 255 for their two classes."""
    sides = [dataset.domains[0 if end == "in" else 1] for dataset in survey.datasets.values()]
    return any(domain.is_mask for side in sides for domain in side)


def missing_classes(survey: Survey) -> Iterator[DataFinding]:
    """Classes that no label map has."""
    for end in ("in", "out"):
        maps = [seen for seen in survey.seen if seen.slot.end == end and seen.slot.classes and seen.view.classes]
        if not maps or _is_mask(survey, end):
            continue
        wanted = set(range(max(seen.slot.classes for seen in maps)))
        if missing := sorted(wanted - {index for seen in maps for index in seen.view.classes}):
            shown = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
            title = f"none of the {counted(len(maps), 'label map')} looked at has class {shown} of --{end}_classes "
            yield DataFinding("missing_classes", f"{title}{len(wanted)}", [])


def passed_over(survey: Survey) -> Iterator[DataFinding]:
    """Files that no reader takes, and folders that cannot be opened."""
    found = {path: phase for phase, dataset in survey.datasets.items() for path in dataset.passed_over}
    items = [Item((path,), "", phase) for path, phase in found.items()]
    kinds = "; ".join(described_by_extension(list(found)))
    yield from some(DataFinding("passed_over", f"{counted(len(items), 'file')} not read: {kinds}", items))


def empty_classes(survey: Survey) -> Iterator[DataFinding]:
    """Class folders without an image."""
    items = [
        Item((name,), "", phase)
        for phase, dataset in survey.datasets.items()
        if isinstance(dataset, ClassDataset)
        for name in dataset.empty_classes
    ]
    title = f"{counted(len(items), 'class folder')} without an image, which will be no class"
    yield from some(DataFinding("empty_classes", title, items))


def unmatched(survey: Survey) -> Iterator[DataFinding]:
    """Files without a partner."""
    lone = [(path, phase) for phase, dataset in survey.datasets.items() for path in dataset.columns.unmatched]
    items = [Item((path,), "", phase) for path, phase in lone]
    title = f"{counted(len(items), 'file')} without a partner of the same name: left out"
    yield from some(DataFinding("unmatched", title, items))


def squashed(survey: Survey) -> Iterator[DataFinding]:
    """Images whose shape the resize changes a lot."""
    if survey.config.preprocess != "resize_and_crop":
        return
    wanted = _shape(survey.config.load_size)
    items = of_records(
        (record, _shown(survey.size(record)))
        for record in survey.records
        if record.info is not None and _ratio(_shape(survey.size(record)), wanted) > STRETCH
    )
    title = f"{counted(len(items), 'image')} squeezed to {_shown(survey.config.load_size)}, which is of another shape"
    yield from some(DataFinding("squashed", title, items))


def mixed_sizes(survey: Survey) -> Iterator[DataFinding]:
    """Images of very different sizes, which show things at very different scales."""
    sized = sorted((max(survey.size(record)), number) for number, record in enumerate(survey.records) if record.info)
    if sized and sized[-1][0] >= SPREAD_OF_SIZES * sized[0][0]:
        extremes = [survey.records[number] for _, number in (sized[0], sized[-1])]
        items = of_records((record, _shown(survey.size(record))) for record in extremes)
        yield DataFinding("mixed_sizes", "images of very different sizes are brought to one; the extremes are", items)


def alpha(survey: Survey) -> Iterator[DataFinding]:
    """Transparency that is left out without anybody having said so."""
    if survey.config.alpha != "drop":
        return
    items = of_records(
        (record, record.info.mode)
        for record in survey.records
        if record.info is not None
        and record.info.alpha
        and any(slot.channels in (1, 3) and not slot.classes for slot in record.slots)
        and not record.error
    )
    title = f"{counted(len(items), 'image')} with transparency, which is left out: --alpha white shows what is seen"
    yield from some(DataFinding("alpha", title, items))


def _reason(record: FileRecord) -> str:
    return (record.error or "").removeprefix(record.path).strip()


def _shown(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _smaller(size: tuple[int, int], least: tuple[int, int]) -> bool:
    return size[0] < least[0] or size[1] < least[1]


def _shape(size: tuple[int, ...]) -> float:
    return size[0] / size[1]


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)
