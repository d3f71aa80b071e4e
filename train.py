"""Train a model: `python train.py --model cyclegan --dataroot FOLDER --name RUN`; --help lists the options."""

from i2i.process import limit_spinning

if __name__ == "__main__":
    limit_spinning()  # before the first import of torch

from i2i.data import BatchStream, sample_batch
from i2i.data.seen import seen_by
from i2i.process import prepare_process, silence_libraries
from i2i.streams import outlast_readers
from i2i.training import Trainer
from i2i.watch.boards.options import build_boards
from options.train_options import TrainOptions


def build_trainer(options: TrainOptions) -> Trainer:
    device = options.seeded_device()
    dataset, validator = options.datasets(device)
    model = options.built_model(dataset.spec, device)
    acceleration = options.choices(model, len(dataset), device)
    prepare_process(acceleration, device)
    trainer = Trainer(
        model,
        BatchStream(dataset, options.data.batch_size, options.run.seed, device),
        options.train,
        folder=options.run.folder,
        options=options.saved(),
        samples=sample_batch(dataset, device=device),
        seen=seen_by(dataset),
        resume_command=options.resume_command,
        acceleration=acceleration,
        validator=validator,
        validation=options.validation,
    )
    resumed, folder = options.resume(trainer), options.prepare_folder()
    options.record(trainer)
    trainer.boards = build_boards(options.visuals, folder, resumed)
    options.announce(trainer)
    return trainer


def train(options: TrainOptions) -> None:
    trainer = build_trainer(options)
    if not trainer.fit():
        raise SystemExit(128 + trainer.stopped_by)


if __name__ == "__main__":
    silence_libraries()
    outlast_readers()
    options = TrainOptions()
    options.one_line(lambda: train(options))
