"""What the benchmarks share: processes that take turns, medians of what they took, tables of it.

Nothing here imports torch: on Linux the peak memory of a process is never less than its parent's was at its start.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

MIB = 2**20


class Taken(NamedTuple):
    """What something took: seconds, and the peak memory of its process in bytes."""

    seconds: float
    memory: float


class Column:
    """A process that waits to be told what to do: one line of JSON in, one out.

    Each has its allocator's settings, its threads and its peak memory to itself, and computes only when it is asked.
    """

    def __init__(self, program: Path, *arguments: str) -> None:
        self.name = " ".join(arguments)
        command = [sys.executable, str(program), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, request: Any) -> Any:
        """Send a request and wait for the answer."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not (answer := self.process.stdout.readline()):
            raise SystemExit(f"{self.name} ended with code {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()


def answer_requests(answer: Callable[[Any], Any]) -> None:
    """The other side of a `Column`: answers until there are no more requests. What is printed goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def take_turns(actions: Mapping[str, Callable[[], Taken]], turns: int) -> dict[str, list[Taken]]:
    """Do everything once, then again: A B C A B C ..., so that whatever disturbs the machine disturbs all alike."""
    taken: dict[str, list[Taken]] = {name: [] for name in actions}
    for _, name in tqdm(list(itertools.product(range(turns), actions)), unit="measurement"):
        taken[name].append(actions[name]())
    return taken


def median_seconds(taken: Sequence[Taken]) -> float:
    """The median of the turns."""
    return statistics.median(turn.seconds for turn in taken)


def speed_ratio(taken: Sequence[Taken], other: Sequence[Taken]) -> float:
    """How many times as fast as `other`: the median of the turns' ratios."""
    return statistics.median(theirs.seconds / own.seconds for own, theirs in zip(taken, other, strict=True))


def peak(taken: Sequence[Taken]) -> float:
    """The highest memory of all turns in bytes."""
    return max(turn.memory for turn in taken)


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> Taken:
    """A whole process in `folder`, from its start to its end, and the peak memory of the largest process that it was.

    `environment` replaces that of this process.

    Raises:
        SystemExit: if it fails, with what it printed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with code {process.returncode}:\n{printed}")
    return Taken(time.perf_counter() - start, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def in_own_process(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function that needs torch without making this process as large."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def row(cells: Iterable[Any]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*titles: str) -> str:
    """The first two rows of a Markdown table."""
    return row(titles) + "\n" + "|---" * len(titles) + "|"


def positive(text: str) -> int:
    """A number of turns, files or the like on a command line."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def say(text: str) -> None:
    """Print a line at once, so that one can watch."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
