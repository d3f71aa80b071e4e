"""Merge the results of all workers into one page, in the order of the data set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, cast

from i2i.errors import UserError

DEADLINE = 3600.0  # seconds without a row from any helper, after which all of them are given up


class ResultRow(NamedTuple):
    """An image by its number and name: the paths of its pictures by label, or why it was left out.

    `is_new` is off where its pictures were there before.
    """

    item: int
    name: str
    pictures: dict[str, str]
    is_new: bool = True
    problem: str = ""


def in_order(rows: Iterable[ResultRow], items: Collection[int]) -> Iterator[ResultRow]:
    """The rows in the order of `items`, each as soon as those before it are there.

    Raises:
        RuntimeError: for a row of another item, or none of one of `items`.
    """
    waiting: dict[int, ResultRow] = {}
    due = iter(items)
    item = next(due, None)
    for row in rows:
        if row.item not in items:
            raise RuntimeError(f"a result for image number {row.item}, {row.name}, which nobody asked for")
        waiting[row.item] = row
        while item is not None and item in waiting:
            yield waiting.pop(item)
            item = next(due, None)
    if item is not None:
        raise RuntimeError(f"no result for image number {item}")


def gathered(own: Iterable[ResultRow], helpers: Sequence[Connection]) -> Iterator[ResultRow]:
    """The rows of this process and those that helpers send, as they come.

    Raises:
        UserError: if a helper has died, or none sends anything for `DEADLINE`; and whatever error one sends.
    """
    busy = list(helpers)
    for row in own:
        yield row
        while arrived := wait(busy, timeout=0):
            yield from _received(arrived, busy)
    while busy:
        arrived = wait(busy, timeout=DEADLINE)
        if not arrived:
            raise UserError(f"the processes that translate have sent nothing for {DEADLINE:g} s; leave --processes out")
        yield from _received(arrived, busy)


def _received(arrived: Sequence[Any], busy: list[Connection]) -> Iterator[ResultRow]:
    for helper in cast("Sequence[Connection]", arrived):
        try:
            message = helper.recv()
        except EOFError:
            raise UserError(
                "a process that translates has died, most likely for want of memory; use a smaller --processes"
            ) from None
        if isinstance(message, Exception):
            raise message
        if message is None:
            busy.remove(helper)
        else:
            yield message
