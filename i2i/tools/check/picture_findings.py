"""Problems of the pictures themselves: none ends a training, many spoil one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from i2i.data.domain import VOID
from i2i.tools.check import duplicates
from i2i.tools.check.measure import MOST_LEVELS
from i2i.tools.check.pairs import mispaired
from i2i.tools.check.survey import DataFinding, Item, Seen, Survey, counted, of_records, some


def constant(survey: Survey) -> Iterator[DataFinding]:
    """Images of one colour."""
    items = of_records(
        (seen.record, f"{seen.slot.name}: {seen.view.mean:.4g} all over")
        for seen in survey.seen
        if seen.view.flat and not seen.slot.classes
    )
    yield from some(DataFinding("constant", f"{counted(len(items), 'image')} of a single shade", items))


def greyscale(survey: Survey) -> Iterator[DataFinding]:
    """Images without colour among images that have some."""
    found = []
    for column in survey.columns.values():
        grey = [seen for seen in column if not seen.view.coloured and not seen.view.flat and not seen.slot.classes]
        if 2 * len(grey) < len(column):
            found += grey
    items = of_records((seen.record, _place_and_mode(seen)) for seen in found)
    title = f"{counted(len(items), 'image')} without colour among images that have some"
    yield from some(DataFinding("greyscale", title, items))


def _place_and_mode(seen: Seen) -> str:
    mode = seen.record.info.mode if seen.record.info else ""
    return f"{seen.record.phase} {seen.slot.name}, saved as {mode}"


def depths(survey: Survey) -> Iterator[DataFinding]:
    """16-bit files that use a part of their range, and files of 8 and 16 bits side by side."""
    for end, name in dict.fromkeys((each.slot.end, each.slot.name) for each in survey.seen):
        seen = [
            each for each in survey.seen if (each.slot.end, each.slot.name) == (end, name) and not each.slot.classes
        ]
        deep = [each for each in seen if each.view.kind == "uint16"]
        if deep and len(deep) < len(seen) and getattr(survey.config, f"{end}_range") is None:
            rest = [each for each in seen if each.view.kind != "uint16"]
            fewer = min(deep, rest, key=len)
            items = of_records((each.record, each.view.kind) for each in fewer)
            yield DataFinding(
                "mixed_depths", f"{counted(len(items), 'file')} of another bit depth than the others", items
            )
    for end in ("in", "out"):
        seen = [each for each in survey.seen if each.slot.end == end and not each.slot.classes]
        if top := partial_range(survey, end):
            brightest = max(seen, key=lambda each: each.view.high)
            items = of_records([(brightest.record, f"up to {brightest.view.high:g}")])
            title = f"16-bit files use a part of their range only: --{end}_range 0 {top}"
            yield DataFinding("partial_range", title, items)


def palettes(survey: Survey) -> Iterator[DataFinding]:
    """Columns of palette images, which may be label maps."""
    columns: dict[tuple[str, str], list[Seen]] = {}
    for seen in survey.seen:
        columns.setdefault((seen.slot.end, seen.slot.name), []).append(seen)
    for (end, _), column in columns.items():
        if all(each.record.info and each.record.info.mode == "P" and not each.slot.classes for each in column):
            option = "--condition_classes" if survey.config.conditions and end == "in" else f"--{end}_classes N"
            title = f"{counted(len(column), 'image')} with a palette: if its indices are classes, give {option}"
            yield DataFinding("palette", title, of_records((each.record, "") for each in column))


def masks(survey: Survey) -> Iterator[DataFinding]:
    """Columns of grey images that look like label maps and are not said to be any."""
    for end, column in _columns_of_images(survey).items():
        levels = {level for each in column for level in each.view.levels}
        if not all(each.view.levels for each in column) or len(levels) < 2:
            continue
        images = counted(len(column), "image")
        grey = all(each.record.info is not None and each.record.info.channels == 1 for each in column)
        how = "give" if grey else "save them as grey PNG and give"
        if levels == {0, VOID}:
            title = f"{images} of black and white alone: if they are masks, {how} --{end}_classes 2"
        elif max(levels - {VOID}) < MOST_LEVELS:
            last = max(levels - {VOID})
            title = f"{images} with values from 0 to {last}: if they are classes, {how} --{end}_classes {last + 1}"
        else:
            continue
        yield DataFinding("masks", title, of_records((each.record, "") for each in column))


def _columns_of_images(survey: Survey) -> dict[str, list[Seen]]:
    columns: dict[str, list[Seen]] = {}
    for seen in survey.seen:
        palette = seen.record.info is not None and seen.record.info.mode == "P"  # of which another finding speaks
        if not seen.slot.classes and not palette:
            columns.setdefault(seen.slot.end, []).append(seen)
    return columns


def partial_range(survey: Survey, end: str) -> int | None:
    """The full scale, 4095 for instance, that the files of an end keep to, all of 16 bits; None if a range is given."""
    views = [seen.view for seen in survey.seen if seen.slot.end == end and not seen.slot.classes]
    if {view.kind for view in views} != {"uint16"} or getattr(survey.config, f"{end}_range") is not None:
        return None
    bits = int(max(view.high for view in views)).bit_length()
    return (1 << bits) - 1 if 8 <= bits < 16 else None


def clipped(survey: Survey) -> Iterator[DataFinding]:
    """Values beyond the range that was given."""
    for end in ("in", "out"):
        given = getattr(survey.config, f"{end}_range")
        if given is None:
            continue
        items = of_records(
            (seen.record, f"{seen.view.low:g} to {seen.view.high:g}")
            for seen in survey.seen
            if seen.slot.end == end and not (given[0] <= seen.view.low and seen.view.high <= given[1])
        )
        yield from some(
            DataFinding("clipped", f"{counted(len(items), 'image')} with values beyond --{end}_range", items)
        )


def copies(survey: Survey) -> Iterator[DataFinding]:
    """Images that are there twice: within a phase, in two phases, or in both domains of sets without pairs."""
    found: dict[str, list[Item]] = {"leaks": [], "domain_leaks": [], "duplicates": [], "near_duplicates": []}
    known: set[tuple[str, ...]] = set()
    for space in _comparable(survey):
        for group in duplicates.groups([seen.view for seen in space]):
            members = [space[number] for number in group]
            paths = tuple(dict.fromkeys(seen.record.path for seen in members))
            if len(paths) > 1 and paths not in known:  # of pairs, the first domain speaks for both
                known.add(paths)
                equal = duplicates.are_equal([seen.view for seen in members])
                found[_kind(members, equal)].append(Item(paths, f"{'equal' if equal else 'alike'}: {_places(members)}"))
    titles = {
        "leaks": "images of one phase are in another one too",
        "domain_leaks": "images are in both domains",
        "duplicates": "images are there more than once",
        "near_duplicates": "images are there more than once, with small changes",
    }
    for name, items in found.items():
        yield from some(DataFinding(name, f"{counted(len(items), 'group')}: {titles[name]}", items))


def _comparable(survey: Survey) -> list[list[Seen]]:
    """Images whose likeness says something; those of a pair may well be alike."""
    pictures = [seen for seen in survey.seen if not seen.slot.classes]
    if not survey.is_paired:
        return [pictures]
    names = dict.fromkeys(seen.slot.name for seen in pictures)
    return [[seen for seen in pictures if seen.slot.name == name] for name in names]


def _kind(members: Sequence[Seen], equal: bool) -> str:
    if len({seen.record.phase for seen in members}) > 1:
        return "leaks"
    if len({seen.slot.name for seen in members}) > 1:
        return "domain_leaks"
    return "duplicates" if equal else "near_duplicates"


def _places(members: Sequence[Seen]) -> str:
    return " and ".join(dict.fromkeys(f"{seen.record.phase} {seen.slot.name}" for seen in members))


def pairs(survey: Survey) -> Iterator[DataFinding]:
    """Pairs that are one image twice, lie beside each other, or belong to other rows."""
    if not survey.is_paired:
        return
    yield from _same_twice(survey)
    yield from _shifted(survey)
    yield from _mispaired(survey)


def _same_twice(survey: Survey) -> Iterator[DataFinding]:
    items = [
        Item(tuple(record.path for record in records), "", records[0].phase)
        for records in survey.samples.values()
        for views in [[view for record in records for view in record.views]]
        if len(views) > 1 and len({view.sha for view in views}) < len(views) and not views[0].flat
    ]
    yield from some(DataFinding("identical_pairs", f"{counted(len(items), 'pair')} of equal images", items))


def _shifted(survey: Survey) -> Iterator[DataFinding]:
    items = []
    for records in survey.samples.values():
        if (shift := records[-1].shift) is not None:
            width, height = survey.size(records[0])
            note = f"B lies {shift[0] * width:+.0f} pixels to the right and {shift[1] * height:+.0f} down"
            items.append(Item(tuple(record.path for record in records), note, records[0].phase))
    yield from some(DataFinding("misaligned", f"{counted(len(items), 'pair')} whose images look shifted", items))


def _mispaired(survey: Survey) -> Iterator[DataFinding]:
    items = []
    for phase in survey.datasets:
        whole = [records for (of, _), records in survey.samples.items() if of == phase and _is_whole(records)]
        views = [[view for record in records for view in record.views] for records in whole]
        for row, fits in mispaired([each[0] for each in views], [each[-1] for each in views]):
            paths = (*(record.path for record in whole[row]), whole[fits][0].path)
            items.append(Item(paths, "the last image fits better", phase))
    title = f"{counted(len(items), 'pair')} whose images do not seem to belong together"
    yield from some(DataFinding("mispaired", title, items))


def _is_whole(records: Sequence) -> bool:
    views = [view for record in records for view in record.views]
    labels = any(slot.classes for record in records for slot in record.slots)
    return len(views) == sum(len(record.slots) for record in records) and not labels and not any(v.flat for v in views)
