"""Generators that make one image of everything, or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from i2i.watch.boards.board import Finding
from i2i.watch.doctor.record import Sign
from i2i.watch.doctor.samples import Outputs, contrast, diversity

BLANK = 0.02  # contrast: 2.5 of 255 grey levels, which nobody sees
ALIKE = 0.1  # share of the diversity of inputs and targets; labels become photos of 0.4 and more within minutes
ALIKE_IN_CLASS, SIDE = 0.02, 32  # diversity at so many pixels, as textures are alike at fewer; of eight ones it is 0.07
JUDGEABLE = 0.02  # diversity of inputs or targets from which on they say anything
BLANK_ADVICE = (
    "Go back to an earlier checkpoint, or start anew with another --seed or --init_type, a lower --lr or "
    "--precision fp32; inputs of hardly any contrast do that too, under --norm instance."
)
ALIKE_ADVICE = (
    "Go back to an earlier checkpoint, with a lower --lr, --spectral_norm D, --lambda_r1 1, --diffaugment color "
    "translation cutout"
)


def collapse_signs(outputs: Sequence[Outputs]) -> tuple[list[Sign], dict[str, float]]:
    """Whether outputs are blank, or alike though what they are made of is not; and their diversities, for the log."""
    signs, figures = [], {}
    for output in outputs:
        blank = _blank(output)
        collapse, value = _translations(output) if output.inputs is not None else _classes(output)
        figures[f"diversity_{output.label}".strip("_")] = value
        signs += [blank, collapse._replace(present=collapse.present and not blank.present)]
    return signs, figures


def _blank(output: Outputs) -> Sign:
    plain_truth = output.targets is not None and contrast(output.targets).median().item() < 2 * BLANK
    strongest = contrast(output.images).max().item()
    message = (
        f"All that the generator makes{f' ({output.label})' if output.label else ''} is blank: the pixels of an image "
        f"deviate by {strongest:.2g} at most, of values in [-1, 1]."
    )
    finding = Finding("blank", "alarm", strongest, message, BLANK_ADVICE)
    return Sign(output.label, strongest < BLANK and not plain_truth, finding)


def _translations(output: Outputs) -> tuple[Sign, float]:
    """The figure is the outputs' diversity by that of what they are made of, or of real images if it is less."""
    real = min(diversity(images) for images in (output.inputs, output.targets) if images is not None)
    ratio = diversity(output.images) / real if real > JUDGEABLE else math.nan
    message = (
        f"The generator has collapsed: its outputs {output.label} differ from each other by {ratio:.1%} of what their "
        "inputs and real images do."
    )
    return Sign(output.label, ratio < ALIKE, Finding("collapse", "alarm", ratio, message, f"{ALIKE_ADVICE}.")), ratio


def _classes(output: Outputs) -> tuple[Sign, float]:
    """The figure is the least diversity of a class, in which nothing but the noise differs."""
    classes = output.images.chunk(len(output.classes))
    diversities = dict(zip(output.classes, [diversity(images, SIDE) for images in classes], strict=True))
    least = min(diversities.values())
    alike = [name for name, value in diversities.items() if value < ALIKE_IN_CLASS]
    whose = f"images of one class ({', '.join(alike)})" if len(output.classes) > 1 else "its images"
    message = (
        f"The generator has collapsed: whatever the noise, {whose} are alike; two of them differ by {least:.2g} on "
        "average, of values in [-1, 1]."
    )
    finding = Finding("collapse", "alarm", least, message, f"{ALIKE_ADVICE}, or --minibatch stddev.")
    return Sign("", bool(alike), finding), least
