"""Train a model: `python train.py --model cyclegan --dataroot FOLDER --name RUN`; --help lists the options."""

from i2i.process import limit_spinning

if __name__ == "__main__":
    limit_spinning()  # before the first import of torch

import shlex

from i2i.acceleration import Work, choose
from i2i.command import command, invocation, log_to_stderr
from i2i.data import BatchStream
from i2i.data.seen import seen_by
from i2i.models import build_model
from i2i.process import prepare_process, silence_libraries
from i2i.run import resolve_device, seed_everything
from i2i.streams import outlast_readers
from i2i.training import Trainer
from i2i.training.folder import claim_folder
from i2i.training.start import freeze, load_fitting_weights
from i2i.watch.announce import describe_run
from i2i.watch.build import WatchContext, build_boards_observer, build_observers
from i2i.watch.run_record import write_run_record
from i2i.watch.validation import validation_data
from options.train_options import TrainOptions


def build_trainer(options: TrainOptions) -> Trainer:
    """Build everything that `options` ask for, and claim the run's folder."""
    run, config, data = options.run, options.train, options.data
    seed_everything(run.seed, config.deterministic)
    device = resolve_device(run.device)
    dataset, held_out = validation_data(options.validation, data.for_device(device.type), run.seed)

    model = build_model(options.model_name, options.model, dataset.spec, drawn=options.checkpoint is None).to(device)
    model.load_networks(options.metric_networks.lpips_net, options.metric_networks.lpips_weights, device)
    notes = []
    if options.start.init_from is not None and options.checkpoint is None:
        notes.append(str(load_fitting_weights(model, options.start.init_from, run.checkpoints_dir)))
    notes += freeze(model, options.start.freeze or ())

    work = Work(True, len(dataset) * config.epochs, data.batch_size, options.crop_size, config.checkpoint_activations)
    choices = choose(options.acceleration, device, work, model.networks())
    prepare_process(choices, device)
    context = WatchContext(config, options.metric_networks, model, dataset, held_out, device)
    observers = build_observers(options.observers(), context)
    trainer = Trainer(
        model,
        BatchStream(dataset, data.batch_size, run.seed, device),
        config,
        observers=observers,
        folder=run.folder,
        options=options.saved(),
        seen=seen_by(dataset),
        resume_command=options.resume_command,
        acceleration=choices,
    )
    if options.checkpoint is not None:
        trainer.load_state_dict(options.checkpoint)
        options.checkpoint = None
    resumed = options.path if config.continue_train else None
    trainer.lock = claim_folder(run.folder, options.saved(), resumed=resumed, overwrite=config.overwrite)
    words = shlex.join([*invocation("train.py"), *options.argv])
    write_run_record(run.folder, trainer, command=words, changed=options.changed, data=data, notes=notes)
    trainer.observers.append(
        build_boards_observer(options.visuals, run.folder, trainer.images if resumed is not None else None)
    )
    describe_run(trainer, options.model_name, notes, verbose=run.verbose)
    return trainer


def main(argv: list[str] | None = None) -> int:
    """Train, and return the exit code: 0, or 128 + the number of the signal that stopped the run."""
    silence_libraries()
    outlast_readers()
    log_to_stderr("train.py")
    options = TrainOptions(argv)
    with command("train.py", options.run.verbose, options.way_on, options.less_memory):
        trainer = build_trainer(options)
        return 0 if trainer.fit() else 128 + trainer.stopped_by
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
