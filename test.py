"""Translate images with a trained run: `python test.py --name RUN --dataroot FOLDER`; --help lists the options."""

from __future__ import annotations

from i2i.process import limit_spinning

if __name__ == "__main__":
    limit_spinning()  # before the first import of torch

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from i2i.command import command, invocation, log_to_stderr
from i2i.config import as_dict
from i2i.data import DataConfig, ImageDataset
from i2i.data.inputs import input_dataset
from i2i.data.seen import refuse_wrong_layout
from i2i.errors import UserError
from i2i.process import disable_tf32, prepare_process, silence_libraries
from i2i.results import put_aside, results_folder
from i2i.translate import Labels, generate_images, suitable_batch_size, suitable_readers, translate_dataset
from i2i.translate.evaluation_inputs import of_generation, of_translation
from i2i.translate.metrics import RunEvaluation, about_weights
from i2i.translate.origin import origin_of
from i2i.translate.translator import Translator, load_model
from options.test_options import TestOptions


def load_translator(options: TestOptions) -> Translator:
    """Load the model of the checkpoint, or the generator of the reference implementation."""
    device, seed, evaluates = options.run.device, options.run.seed, options.test.eval
    if options.checkpoint is None:
        assert options.weights is not None  # a test has one or the other
        translator = Translator.from_reference(
            options.weights,
            norm=options.model.norm if "norm" in options.given else None,
            dropout=options.model.dropout,
            device=device,
            seed=seed,
            running_statistics=evaluates,
            acceleration=options.acceleration,
        )
    else:
        translator = Translator(
            load_model(options.checkpoint, as_dict(options.model), options.test.ema),
            device,
            target="a" if options.opposite else "b",
            seed=seed,
            running_statistics=evaluates,
            averaged=options.test.ema and options.checkpoint["ema"] is not None,
            acceleration=options.acceleration,
        )
    translator.inference.set_up = prepare_process
    return translator


def input_config(options: TestOptions, translator: Translator) -> DataConfig:
    """Return how the images to translate are read: as the model takes them."""
    test, spec, data = options.test, translator.model.spec, options.data
    usual = {
        "batch_size": suitable_batch_size(translator),
        "num_threads": suitable_readers(translator.device, test.processes),
    }
    chosen: dict[str, Any] = {name: value for name, value in usual.items() if name not in options.given}
    data = dataclasses.replace(data, max_dataset_size=test.num_test or data.max_dataset_size, **chosen)
    if options.checkpoint is not None:
        data = data.swapped() if options.opposite else data
    elif spec.a:  # the reference's colorization
        data = dataclasses.replace(data, derive="colorization", in_channels=3, out_channels=3)
    else:
        data = dataclasses.replace(data, in_channels=spec.in_channels, out_channels=spec.out_channels)
    if test.input and data.conditions:
        raise UserError("--input is one image, the run takes several: lay them out below --dataroot as for training")
    return dataclasses.replace(data, dataroot=test.input, dataset_mode="single") if test.input else data


def check_layout(options: TestOptions, dataset: ImageDataset) -> None:
    """Refuse single images where training had pairs side by side, and the reverse, unless --dataset_mode is given."""
    seen = options.checkpoint.get("data") if options.checkpoint is not None else None
    insists = "dataset_mode" in options.given and options.data.dataset_mode == dataset.config.dataset_mode
    if seen and not insists and (warning := refuse_wrong_layout(dataset, seen, "b" if options.opposite else "a")):
        options.notice(warning)


def build_metrics(
    options: TestOptions, translator: Translator, dataset: ImageDataset | None, folder: Path
) -> RunEvaluation | None:
    """Build what computes --metrics of the pictures in `folder`; `dataset` are the inputs, if there are any."""
    if not options.card.metrics:
        return None
    trained_on = options.checkpoint["options"] if options.checkpoint is not None else None
    if dataset is None:
        evaluation_inputs = of_generation(translator, options.test, options.data, trained_on)
    else:
        evaluation_inputs = of_translation(dataset, options.data, trained_on)
    weights = options.weights or options.path
    assert weights is not None
    about = about_weights(weights, options.checkpoint, options.test.ema, options.data.phase)
    places = {"data": options.data.dataroot, "inputs": options.test.input}
    about["subject"] |= {name: place for name, place in places.items() if place}
    about |= {
        "title": f"{options.run.name}: {folder.name}",
        "options": {"test.py": options.as_dict()} | ({"train.py": trained_on} if trained_on else {}),
        "command": shlex.join([*invocation("test.py"), *options.argv]),
    }
    labels = Labels(target="fake") if dataset is None else options.labels
    return RunEvaluation(
        translator, options.test, options.card, options.metric_networks, evaluation_inputs, labels, about
    )


def test(options: TestOptions) -> None:
    """Translate or generate the images that `options` ask for."""
    config, translator = options.test, load_translator(options)
    if options.generates:
        dataset = None
    else:
        dataset = input_dataset(input_config(options, translator))
        check_layout(options, dataset)
    origin = origin_of(translator, dataset, config.truncation)
    folder, note = results_folder(options.folder, origin)
    metrics = build_metrics(options, translator, dataset, folder)  # complains before the work begins
    for line in filter(None, (note, put_aside(folder, origin))):
        options.notice(line)
    if dataset is None:
        batch_size = options.data.batch_size if "batch_size" in options.given else suitable_batch_size(translator)
        count = generate_images(translator, folder, config, batch_size)
        print(f"{count} images generated, a grid of them is {folder / 'grid.png'}")
    else:
        count = translate_dataset(translator, dataset, folder, config, options.labels)
        print(f"{count} images translated")
    print(f"pictures: {folder / 'images'}\npage: {folder / config.page}")
    if metrics is not None:
        disable_tf32()
        print(metrics(folder))


def main(argv: list[str] | None = None) -> int:
    """Translate, and return the exit code 0."""
    silence_libraries()
    log_to_stderr("test.py")
    options = TestOptions(argv)
    with command("test.py", options.run.verbose, options.way_on, options.less_memory):
        test(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
