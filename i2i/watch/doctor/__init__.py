"""The doctor: what goes wrong in a run, said while it does."""

from i2i.watch.doctor.doctor import Doctor
from i2i.watch.doctor.gradients import not_finite

__all__ = ["Doctor", "not_finite"]
