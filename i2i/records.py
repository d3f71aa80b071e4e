"""Numbers of a run as files: one JSON object a line, and the same as a table."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from i2i.atomic import replace_text, replacing

POSITION_KEYS = ("step", "images", "epoch", "time")


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, without lines that a kill or a crash has torn."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append a line of strict JSON: what is not finite becomes null."""
    append_text(path, strict_json(record) + "\n")


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write the file anew, never seen half written."""
    replace_text(path, "".join(strict_json(record) + "\n" for record in records))


def keep_records(path: Path, last: int) -> list[dict[str, Any]]:
    """Keep the whole lines up to `last` images, which are returned; a line torn by a kill goes."""
    kept = [record for record in read_records(path) if record["images"] <= last] if path.exists() else []
    write_records(path, kept)
    return kept


def strict_json(value: Any) -> str:
    """JSON that every reader takes: numbers that are not finite become null, at any depth."""
    return json.dumps(finite(value), allow_nan=False)


def finite(value: Any) -> Any:
    """The same plain value with None for numbers that are not finite, at any depth."""
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_text(path: Path, text: str) -> None:
    """Append all of a text, or where the disk is full none of it, so that the next one begins on a line of its own."""
    data = text.encode()
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(end)
            raise


class MetricsFiles:
    """`metrics.jsonl` and `metrics.csv` in a run's folder: the same rows, up to `last` images from the start.

    A table has all its columns from the first line on, so it is written anew when a name comes up for the first time.
    """

    def __init__(self, folder: Path, last: int) -> None:
        self._lines, self._table = folder / "metrics.jsonl", folder / "metrics.csv"
        self._columns = list(POSITION_KEYS)
        self._write_table(keep_records(self._lines, last))

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a row to both."""
        append_record(self._lines, record)
        if record.keys() <= set(self._columns):
            row = io.StringIO()
            csv.DictWriter(row, self._columns).writerow(finite(record))
            append_text(self._table, row.getvalue())
        else:
            self._write_table(list(read_records(self._lines)))

    def _write_table(self, records: list[dict[str, Any]]) -> None:
        columns = list(dict.fromkeys([*self._columns, *(name for record in records for name in record)]))
        with replacing(self._table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(records)
        self._columns = columns
