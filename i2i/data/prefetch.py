"""Copy batches to the device, and augment them there, while the previous batch is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from i2i.data.batch import Batch, ImageError


class SideStream:
    """Run `move` on a CUDA stream of its own, so that copies overlap with training.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-streams
    """

    def __init__(self, move: Callable[[Batch], Batch], device: torch.device) -> None:
        self.move, self.stream = move, torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> Batch:
        """Queue `move` on the side stream and return its batch, which may be used after `finish`."""
        with torch.cuda.stream(self.stream):
            return self.move(batch)

    def finish(self, batch: Batch) -> Batch:
        """Make the current stream wait for everything that was queued, and return the batch for use on it."""
        current = torch.cuda.current_stream(self.stream.device)
        current.wait_stream(self.stream)
        for tensor in batch.tensors().values():
            tensor.record_stream(current)  # else the side stream would reuse its memory while it is still read
        return batch


def prefetched(
    batches: Iterator[Batch | ImageError], begin: Callable[[Batch], Batch], finish: Callable[[Batch], Batch]
) -> Iterator[Batch | ImageError]:
    """Yield `batches` in order, beginning each one before the previous one is yielded; errors keep their place."""

    def begin_next() -> Batch | Exception:
        try:
            batch = next(batches)
        except Exception as error:  # of a worker; the batches before it come first
            return error
        return batch if isinstance(batch, ImageError) else begin(batch)

    begun = begin_next()
    while True:
        if isinstance(begun, ImageError):
            yield begun
            begun = begin_next()
        elif isinstance(begun, Exception):
            raise begun
        else:
            batch = finish(begun)
            begun = begin_next()  # after `finish`, which would wait for this one as well
            yield batch
