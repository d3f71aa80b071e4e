"""How long a training step takes, beside the textbook's: `python benchmarks/train_step.py`; --help lists the options.

A column is one way to do the step, words joined by +:

    textbook                    the reference implementation's algorithm, written plainly (textbook.py)
    auto fp32 tf32 bf16 fp16    i2i in this precision, and all else as it chooses by itself for a long run
    compile, eager              with or without torch.compile; the first goes with textbook too
    checkpoint                  --checkpoint_activations
    nhwc, nchw, plain           --channels_last on, off; --kernels plain

Each runs in a process of its own, on one batch that is there already, and they do their steps in turns, A B C A B C:
times are medians, ratios medians of the turns' ratios to the first column. GFLOP/s counts the operations of the
textbook's step, whatever is computed in fact. The ceiling is a 3x3 convolution of 256 channels in the same turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import turns
from turns import MIB, Column, Taken, say

STEPS = Path(__file__).with_name("steps.py")
WORDS = ("textbook", "auto", "fp32", "tf32", "bf16", "fp16", "compile", "eager", "checkpoint", "nhwc", "nchw", "plain")
COLUMNS = ("textbook", "fp32", "bf16")
# The images of a step, and what is compared.
CASES = {
    "cyclegan_256": (1, (*COLUMNS, "fp32+checkpoint", "bf16+checkpoint")),
    "cyclegan_128": (4, COLUMNS),
    "pix2pix_256": (1, COLUMNS),
    "pix2pix_128": (8, COLUMNS),
    "cgan_28": (128, COLUMNS),
}
TITLES = ("case", "column", "s/step", "images/s", "GFLOP/s", "of ceiling", "peak MiB", "of the first's", "speed to it")


class Timed:
    """A column that does as many steps a turn as fill the time of one."""

    def __init__(self, case: str, name: str, device: str, seconds: float) -> None:
        self.column = Column(STEPS, case, name, device)
        warm = self.column.ask({"warm_up": 3 if "compile" in name or device != "cpu" else 1})
        self.flops = warm["flops"]
        self.steps = max(1, round(seconds / warm["seconds"]))

    def turn(self) -> Taken:
        """Do the steps of one turn; what one of them took."""
        return Taken(**self.column.ask({"steps": self.steps}))


def ceiling_of(name: str) -> str:
    """The ceiling that a column is held against."""
    return "bf16" if {"bf16", "fp16"} & set(name.split("+")) else "fp32"


def table(case: str, names: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    """The rows of a case."""
    held = sorted(set(map(ceiling_of, names)))
    ceilings = {f"ceiling {name}": Timed("ceiling", name, arguments.device, arguments.seconds / 4) for name in held}
    columns = {name: Timed(case, name, arguments.device, arguments.seconds) for name in names}
    everything = columns | ceilings
    taken = turns.take_turns({name: timed.turn for name, timed in everything.items()}, arguments.turns)
    for timed in everything.values():
        timed.column.close()
    return [
        case_row(case, name, taken, columns[name].flops, ceilings[f"ceiling {ceiling_of(name)}"].flops)
        for name in names
    ]


def case_row(case: str, name: str, taken: dict[str, list[Taken]], flops: float, ceiling_flops: float) -> str:
    """One column of a case as a row of the table."""
    own, first = taken[name], next(iter(taken.values()))
    seconds = turns.median_seconds(own)
    of_ceiling = turns.speed_ratio(own, taken[f"ceiling {ceiling_of(name)}"]) * flops / ceiling_flops
    cells = (
        *(case, name, f"{seconds:.3f}", f"{CASES[case][0] / seconds:.1f}", f"{flops / seconds / 1e9:,.0f}"),
        *(f"{of_ceiling:.0%}", f"{turns.peak(own) / MIB:,.0f}", f"{turns.peak(own) / turns.peak(first):.2f}"),
        f"{turns.speed_ratio(own, first):.2f}",
    )
    return turns.row(cells)


def profile(case: str, names: Sequence[str], device: str) -> None:
    """Print where the time of a step goes, by kind of operation and by the longest operations."""
    profiles = {}
    for name in names:
        timed = Timed(case, name, device, 0)
        profiles[name] = timed.column.ask({"profile": True})
        timed.column.close()
    kinds = list(dict.fromkeys(kind for found in profiles.values() for kind in found["kinds"]))
    say(turns.head(case, *(f"{name}, {sum(found['kinds'].values()):,.0f} ms" for name, found in profiles.items())))
    for kind in kinds:
        shares = (found["kinds"].get(kind, 0) / sum(found["kinds"].values()) for found in profiles.values())
        say(turns.row([kind, *(f"{share:.1%}" for share in shares)]))
    for name, found in profiles.items():
        say(f"\n{turns.head(name, 'shapes', 'calls', 'ms')}")
        for operation, shapes, calls, milliseconds in found["longest"]:
            say(turns.row((operation, shapes, calls, f"{milliseconds:,.1f}")))


def column_name(text: str) -> str:
    """A column's name, if its words are known."""
    if unknown := [word for word in text.split("+") if word not in WORDS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(WORDS)}")
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--columns", nargs="+", type=column_name, help="default: textbook fp32 bf16, and with checkpoint"
    )
    parser.add_argument("--turns", type=turns.positive, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, or one step if that takes longer")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--profile", choices=CASES, metavar="CASE", help="say where the time of a step goes instead")
    arguments = parser.parse_args(argv)
    if arguments.profile:
        return profile(arguments.profile, arguments.columns or COLUMNS, arguments.device)
    say(turns.head(*TITLES))
    for case in arguments.cases:
        for line in table(case, arguments.columns or CASES[case][1], arguments):
            say(line)


if __name__ == "__main__":
    main()
