"""Locks of networks: who changes a network for the time of a call has it alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

# Beside the networks, not in them: a lock can neither be copied nor pickled.
_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_table = Lock()


@contextmanager
def locked(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Wait until no other thread holds one of `networks`, and hold them all; a thread may hold one several times."""
    with _table:
        locks = [_locks.setdefault(network, RLock()) for network in sorted(networks, key=id)]
    with ExitStack() as held:  # in one order everywhere, so that no two threads wait for each other
        for lock in locks:
            held.enter_context(lock)
        yield
