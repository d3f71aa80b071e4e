"""The metrics card of a test: what it needs is looked for before anything is translated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2i.data import ImageDataset, Key, Sample
from i2i.data.folder import common_stem
from i2i.environment import environment
from i2i.errors import UserError, file_errors
from i2i.metrics.baselines import EvaluationData
from i2i.metrics.config import CardConfig, MetricNetworksConfig
from i2i.metrics.evaluation import make_card
from i2i.metrics.image_sets import ImageFiles, LabelMapFiles
from i2i.metrics.metric_choice import choose_metrics
from i2i.metrics.rendering import card_text, save_page
from i2i.metrics.suite import MetricSuite
from i2i.translate.classes import chosen_classes, class_names, folder_names
from i2i.translate.config import TestConfig
from i2i.translate.evaluation_inputs import EvaluationInputs
from i2i.translate.pictures import Labels, existing_pictures
from i2i.translate.translator import Translator


class RunEvaluation:
    """Judges what a translation writes into a folder, and writes card.json and card.html into it.

    `about` are the card's title, subject, options, command and warnings.

    Raises:
        ValueError: if there is nothing to compare with, or a network is missing.
    """

    def __init__(
        self,
        translator: Translator,
        config: TestConfig,
        card: CardConfig,
        metric_networks: MetricNetworksConfig,
        evaluation_inputs: EvaluationInputs,
        labels: Labels,
        about: Mapping[str, Any],
    ) -> None:
        self.config, self.evaluation_inputs, self.labels, self.about = config, evaluation_inputs, labels, dict(about)
        self.device, dataset = translator.device, evaluation_inputs.dataset
        if dataset is None:
            self.names, size = _generated_names(translator, config), translator.model.spec.image_size
        else:
            stems = common_stem(dataset.files, dataset.root)
            self.names, size = [stems[item] for item in config.items(len(dataset))], _size(dataset)
        self.kinds = _kinds(
            evaluation_inputs, metric_networks, config.pictures == "all" and "a" in translator.model.targets
        )
        metrics = choose_metrics(card.metrics, self.kinds, metric_networks, size, evaluation_inputs.missing)
        self.judge = MetricSuite(metrics, metric_networks, self.device, card.bootstrap, translator.seed)
        self.judge.check_counts(
            len(self.names), len(self.names if evaluation_inputs.is_paired else evaluation_inputs.targets or ())
        )

    def __call__(self, folder: Path) -> str:
        """Judge the pictures in `folder`/images; gives what there is to print."""
        sets = self._sets(folder)
        card = make_card(sets, self.judge, environment=environment(self.device), **self.about)
        with file_errors("--results_dir"):
            card.save(folder / "card.json")
            save_page([card], folder / "card.html")
        return f"{card_text(card)}\ncard: {folder / 'card.html'}"

    def _written(self, folder: Path) -> tuple[list[str], dict[str, ImageFiles]]:
        """The names of this test's pictures and their files by label, whatever else lies in the folder."""
        evaluation_inputs, labels = self.evaluation_inputs, self.labels
        needed = [labels.target, *([labels.source] if evaluation_inputs.dataset is not None else [])]
        needed += [labels.truth] * evaluation_inputs.is_paired + [_restored(labels)] * ("cycle" in self.kinds)
        place, encoding = folder / "images", self.config.encoding
        written = {name: existing_pictures(place, name, needed, encoding) for name in self.names}
        names = [name for name in self.names if labels.target in written[name]]  # without those that were skipped
        if lacking := [(name, label) for name in names for label in needed if label not in written[name]]:
            name, label = lacking[0]
            raise UserError(f"{place}: {name} has no {label}; translate it without --skip_existing")
        return names, {label: ImageFiles([str(folder / written[name][label]) for name in names]) for label in needed}

    def _sets(self, folder: Path) -> EvaluationData:
        evaluation_inputs, labels = self.evaluation_inputs, self.labels
        names, found = self._written(folder)
        generated = found[labels.target]
        truth = maps = None
        num_classes = evaluation_inputs.dataset.config.out_classes if evaluation_inputs.dataset is not None else 0
        if num_classes and evaluation_inputs.is_paired:
            truth, maps = (LabelMapFiles(files.paths, num_classes) for files in (found[labels.truth], generated))
        elif "labels" in self.kinds:
            assert evaluation_inputs.dataset is not None
            truth = LabelMapFiles(found[labels.source].paths, evaluation_inputs.dataset.config.in_classes)
        return EvaluationData(
            generated=generated,
            real=found[labels.truth] if evaluation_inputs.is_paired else evaluation_inputs.targets,
            paired=evaluation_inputs.is_paired,
            names=names,
            formats=generated.formats,
            inputs=found.get(labels.source),
            restored=found.get(_restored(labels)),
            training=evaluation_inputs.training,
            truth=truth,
            maps=maps,
            num_classes=num_classes,
        )


def _kinds(evaluation_inputs: EvaluationInputs, metric_networks: MetricNetworksConfig, restores: bool) -> set[str]:
    """The kinds of metrics for which all is there; between colours of classes no distance means anything."""
    config = evaluation_inputs.dataset.config if evaluation_inputs.dataset is not None else None
    if config is not None and config.out_classes:
        return {"labels"} if evaluation_inputs.is_paired else set()
    there = {
        "paired": evaluation_inputs.is_paired,
        "features": evaluation_inputs.is_paired or evaluation_inputs.targets is not None,
        "cycle": restores,
        "labels": config is not None
        and bool(config.in_classes and metric_networks.segmentation and not config.conditions),
    }
    return {kind for kind, is_there in there.items() if is_there}


def _restored(labels: Labels) -> str:
    return labels.source.replace("real", "rec")


def _size(dataset: ImageDataset) -> tuple[int, int]:
    """Width and height of the first input; what is wrong with it is said when it is translated."""
    sample = dataset[Key(0, 0)]
    if not isinstance(sample, Sample) or sample.a is None:
        return dataset.config.crop_size[0], dataset.config.crop_size[-1]
    return sample.a.shape[2], sample.a.shape[1]


def _generated_names(translator: Translator, config: TestConfig) -> list[str]:
    """The pictures of `generate_images`, without their ends."""
    classes = class_names(translator)
    chosen = chosen_classes(config.labels, classes)
    seeds = range(translator.seed, translator.seed + config.num_per_class)
    folders = folder_names([classes[label] for label in chosen], chosen)
    return [f"{folder}/seed{seed}" for folder in folders for seed in seeds]


def about_weights(path: Path, state: Mapping[str, Any] | None, ema: bool, phase: str) -> dict[str, Any]:
    """A card's subject and warnings: which weights are judged on images of `phase`, and by which rule they were chosen.

    `state` is what their checkpoint holds, None for bare weights.
    """
    if state is None:
        chosen = "by hand, of a run of which nothing is known"
        return {"subject": {"weights": str(path), "chosen": chosen, "phase": phase}, "warnings": []}
    weights = "averaged over training" if ema and state["ema"] is not None else "those of the last step"
    subject = {"checkpoint": str(path), "chosen": chosen_by(path, state), "weights": weights, "phase": phase}
    return {"subject": subject, "warnings": selection_warnings(path, state, phase)}


def chosen_by(path: Path, state: Mapping[str, Any]) -> str:
    """By which rule a checkpoint was chosen, given its name and what it holds."""
    name, seen = path.name, f"{state['images']:,} images seen" if "images" in state else f"step {state['step']:,}"
    if path.stem == "latest":
        return f"{name}: the last one, no selection, at {seen}"
    if path.stem != "best" or not (found := state.get("validation")):
        return f"{name}: by hand, at {seen}"
    order = "highest" if found["higher_is_better"] else "lowest"
    return (
        f"{name}: {order} val_{found['metric']}, {found['best']:.4g}, of the {found['count']:,} validations until then "
        f"on {found['size']:,} images, at {seen}"
    )


def selection_warnings(path: Path, state: Mapping[str, Any], phase: str) -> list[str]:
    """Warn if images were used to train or to choose the checkpoint."""
    trained_on = state["options"].get("phase", "train")
    if phase == trained_on:
        return [f"judged on images of --phase {phase}, which the run was trained on: nothing is said about others"]
    held_out = state["options"].get("val_phase") or ("" if state["options"].get("val_fraction") else "val")
    if path.stem == "best" and phase == held_out:
        return [f"{path.name} was chosen on images of --phase {phase}, which it is judged on: its figures flatter it"]
    return []
