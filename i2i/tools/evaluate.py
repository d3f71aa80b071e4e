"""The command line: `python -m i2i.evaluate REAL_DIR FAKE_DIR`; --help lists the options."""

from __future__ import annotations

import dataclasses
import logging
import shlex
import sys
from pathlib import Path

from i2i.config import OptionParser, as_dict, check_choice, check_range, expanded_path, from_values, option
from i2i.environment import environment
from i2i.errors import UserError, file_errors
from i2i.metrics import METRICS
from i2i.metrics.baselines import EvaluationData, TrainingImages
from i2i.metrics.card import Card
from i2i.metrics.config import CardConfig, MetricNetworksConfig
from i2i.metrics.evaluation import make_card
from i2i.metrics.image_sets import ImageFiles, LabelMapFiles, common_names, find_images, has_role
from i2i.metrics.metric_choice import choose_metrics
from i2i.metrics.rendering import card_text, comparison_text, save_page
from i2i.metrics.suite import MetricSuite
from i2i.process import disable_tf32, silence_libraries
from i2i.results import listed_pictures
from i2i.run import resolve_device

log = logging.getLogger(__name__)
PAIRED = ("auto", "yes", "no")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Options beside the two folders, and where to write the card."""

    paired: str = option(
        "auto", "whether files of one name belong together; auto: if all have a partner", choices=PAIRED
    )
    inputs: str | None = option(
        None, "folder of the inputs, by the generated images' names: for the copy baseline", path=True
    )
    restored: str | None = option(None, "folder of the inputs translated there and back, for cycle", path=True)
    training: tuple[str, ...] | None = option(
        None, "folder of the targets of training, and behind it one of their inputs, for the other baselines", path=True
    )
    label_maps: str | None = option(None, "folder of the true label maps, for miou and the like", path=True)
    classes: int = option(0, "so many classes are in them")
    json: str | None = option(None, "write the card to this file", path=True)
    html: str | None = option(None, "write the card as a page to this file", path=True)
    seed: int = option(0, "of resamples and shuffles")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps ...")

    def __post_init__(self) -> None:
        check_choice("paired", self.paired, PAIRED)
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("classes", self.classes, 0, 255)
        if self.training is not None and len(self.training) > 2:
            raise UserError("--training takes the folder of the targets, and maybe that of their inputs behind it")
        for name in ("json", "html"):  # not when all is judged
            given = getattr(self, name)
            with file_errors(f"--{name}", given):
                if given and not Path(given).absolute().parent.is_dir():
                    raise UserError(f"--{name} {given}: there is no such folder")
                if given and Path(given).is_dir():
                    raise UserError(f"--{name} {given} is a folder: a file is expected")


def main() -> int:
    """Judge or compare, print, write, and give the exit code: 0, or 2 for what is wrong with the options."""
    parser = _parser()
    with parser.one_line():
        given = parser.given(sys.argv[1:])
        values = parser.defaults | given
        config: EvaluateConfig = from_values(EvaluateConfig, values)
        if "compare" in given:
            if config.json:
                raise UserError("--json holds one card: a comparison goes to --html")
            cards = [Card.load(path) for path in given["compare"]]
            print(comparison_text(cards))
            if config.html:
                with file_errors("--html", config.html):
                    save_page(cards, Path(config.html))
        else:
            real, fake = _folders(given.get("folders", []))
            card = evaluate(
                real, fake, config, from_values(CardConfig, values), from_values(MetricNetworksConfig, values)
            )
            print(card_text(card))
            if config.json:
                with file_errors("--json", config.json):
                    card.save(config.json)
            if config.html:
                with file_errors("--html", config.html):
                    save_page([card], Path(config.html))
            if not (config.json or config.html):
                print("--json FILE and --html FILE write this card")
    return 0


def evaluate(
    real: str, fake: str, config: EvaluateConfig, wanted: CardConfig, metric_networks: MetricNetworksConfig
) -> Card:
    """Judge the images below `fake` by those below `real`, which may be one folder of pictures of test.py.

    Raises:
        ValueError: if there is anything amiss with the folders, the metrics or the networks.
    """
    sets = read_sets(real, fake, config, wanted, metric_networks)
    assert isinstance(sets.generated, ImageFiles)
    metrics = choose_metrics(wanted.metrics, sets.kinds, metric_networks, sets.generated.smallest)
    device = resolve_device(config.device)
    judge = MetricSuite(metrics, metric_networks, device, wanted.bootstrap, config.seed)
    judge.check_counts(len(sets.generated), len(sets.real or ()))
    return make_card(
        sets,
        judge,
        title="/".join(Path(fake).resolve().parts[-2:]),
        subject={"generated": fake, "real": real},
        options={"i2i.evaluate": as_dict(wanted) | as_dict(config) | as_dict(metric_networks)},
        environment=environment(device),
        command=shlex.join(["python", "-m", "i2i.evaluate", *sys.argv[1:]]),
    )


def read_sets(
    real: str, fake: str, config: EvaluateConfig, wanted: CardConfig, metric_networks: MetricNetworksConfig
) -> EvaluationData:
    """The images of two folders, and of those that `config` names beside them."""
    generated, reals = find_images(fake, "generated"), find_images(real, "real")
    warnings = list(dict.fromkeys([*record_warnings(fake), *record_warnings(real)]))
    for warning in warnings:
        log.warning(warning)
    names, paired = list(generated), _are_paired(generated, reals, config.paired, wanted)
    files = ImageFiles(list(generated.values()))
    truth = maps = None
    if config.label_maps:
        found = find_images(config.label_maps, "input" if metric_networks.segmentation else "real")
        truth = LabelMapFiles([found[name] for name in common_names(generated, found)], config.classes)
        maps = None if metric_networks.segmentation else LabelMapFiles(files.paths, config.classes)
    return EvaluationData(
        generated=files,
        real=ImageFiles([reals[name] for name in names] if paired else list(reals.values())),
        paired=paired,
        names=names,
        formats=files.formats,
        inputs=_beside(generated, fake, config.inputs, "input"),
        restored=_beside(generated, fake, config.restored, "restored"),
        training=_training(config.training),
        truth=truth,
        maps=maps,
        num_classes=_classes(config) if maps else 0,
        warnings=[*warnings, *([] if paired or config.paired != "auto" else _few_partners(generated, reals, wanted))],
    )


def record_warnings(folder: str) -> list[str]:
    """Return what to beware of in a results folder of test.py: a run that has not finished, missing parts."""
    listed = listed_pictures(Path(folder))
    return [] if listed is None else listed[1]


def _are_paired(generated: dict[str, str], reals: dict[str, str], option: str, wanted: CardConfig) -> bool:
    needed = any(METRICS[name].kind == "paired" for name in wanted.metrics or () if name in METRICS)
    if option == "yes" or (needed and option == "auto"):
        return bool(common_names(generated, reals))
    return option == "auto" and generated.keys() == reals.keys()


def _few_partners(generated: dict[str, str], reals: dict[str, str], wanted: CardConfig) -> list[str]:
    """Says so where pairs would have given other metrics, but not all names match."""
    both = len(generated.keys() & reals.keys())
    if not both or not {"auto"}.issuperset(wanted.metrics or ()):
        return []
    names = max(len(generated), len(reals))
    warning = f"{both:,} of {names:,} names match, judged as sets; --paired yes needs a partner for each"
    log.warning(warning)
    return [warning]


def _beside(generated: dict[str, str], fake: str, folder: str | None, role: str) -> ImageFiles | None:
    """Find the files that belong to the generated images: in a named folder, or among pictures of test.py."""
    if folder is None and not has_role(fake, role):
        return None
    found = find_images(folder or fake, role)
    return ImageFiles([found[name] for name in common_names(generated, found)])


def _training(folders: tuple[str, ...] | None) -> TrainingImages | None:
    if folders is None:
        return None
    targets = find_images(folders[0], "real")
    if len(folders) == 1:
        return TrainingImages(ImageFiles(list(targets.values())))
    inputs = find_images(folders[1], "input")
    names = common_names(targets, inputs)
    return TrainingImages(ImageFiles([targets[name] for name in names]), ImageFiles([inputs[name] for name in names]))


def _classes(config: EvaluateConfig) -> int:
    if not config.classes:
        raise UserError(
            "--label_maps: say by --classes how many classes there are, or name a network by --segmentation"
        )
    return config.classes


def _folders(given: list[str]) -> tuple[str, str]:
    if len(given) != 2:
        raise UserError(
            "two folders are expected in front of the options, REAL_DIR and FAKE_DIR, or --compare and the files of "
            "cards"
        )
    return given[0], given[1]


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m i2i.evaluate",
        description="Judges generated images by real ones, with all that is needed to read the figures.",
        epilog="One folder of pictures that test.py wrote may stand for both.",
    )
    parser.usage = "%(prog)s REAL_DIR FAKE_DIR [options], or %(prog)s --compare CARD.json CARD.json ..."
    parser.add_argument(
        "folders", type=expanded_path, nargs="*", metavar="REAL_DIR FAKE_DIR", help="folders of images, of any size"
    )
    parser.add_argument(
        "--compare",
        type=expanded_path,
        nargs="+",
        metavar="FILE",
        help="show cards in one table, and where they differ",
    )
    parser.add_options("card", CardConfig)
    parser.add_options("images", EvaluateConfig)
    parser.add_options("networks", MetricNetworksConfig)
    return parser


def run_command() -> int:
    """Run as a process of its own: settings of the process, then `main`."""
    logging.basicConfig(format="%(message)s")
    silence_libraries()
    disable_tf32()
    return main()


if __name__ == "__main__":
    raise SystemExit(run_command())
