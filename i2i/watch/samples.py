"""Sample pictures: what the model makes of a few training images as training goes on."""

from __future__ import annotations

from i2i.data import Batch
from i2i.data.images.display import displayed
from i2i.training.observer import Observation, Observer, RunView


class SampleObserver(Observer):
    """Shows the model's `visuals` of `samples` at the start and every `every` images."""

    def __init__(self, samples: Batch, every: int) -> None:
        self.samples, self.every = samples, every

    def begin(self, run: RunView) -> Observation | None:
        return self.observe(run) if run.progress.step == 0 else None

    def observe(self, run: RunView) -> Observation:
        with run.autocast():
            pictures = run.model.visuals(self.samples)
        shown = displayed({label: images.float() for label, images in pictures.items()}, *run.model.spec.domains)
        return Observation(pictures={label: images.cpu() for label, images in shown.items()})
