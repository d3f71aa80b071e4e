"""Train a model: `python train.py --model cyclegan --dataroot FOLDER --name RUN`; --help lists the options."""

from i2i.data import BatchStream, build_dataset, sample_batch
from i2i.models import build_model
from i2i.run import resolve_device, seed_everything
from i2i.training import Trainer
from i2i.visuals.options import build_boards
from options.train_options import TrainOptions


def train(options: TrainOptions) -> None:
    device = resolve_device(options.run.device)
    seed_everything(options.run.seed, options.train.deterministic)
    dataset = build_dataset(options.data.for_device(device.type), options.run.seed)
    model = build_model(options.model_name, options.model, dataset.spec, drawn=options.checkpoint is None).to(device)
    stream = BatchStream(dataset, options.data.batch_size, options.run.seed, device)
    trainer = Trainer(
        model,
        stream,
        options.train,
        folder=options.run.folder,
        options=options.saved(),
        samples=sample_batch(dataset, device=device),
        resume_command=options.resume_command,
        acceleration=options.choices(model, len(dataset), device),
    )
    resumed = None
    if options.checkpoint is not None:
        trainer.load_state_dict(options.checkpoint)
        options.checkpoint, resumed = None, trainer.images
    options.prepare_folder()
    trainer.boards = build_boards(options.visuals, options.run.folder, resumed)
    options.announce(trainer)
    if not trainer.fit():
        raise SystemExit(130)


if __name__ == "__main__":
    options = TrainOptions()
    options.one_line(lambda: train(options))
