"""The doctor: looks for common training problems and reports them while a run is going on."""

from i2i.watch.doctor.doctor import Doctor
from i2i.watch.doctor.observer import DoctorObserver

__all__ = ["Doctor", "DoctorObserver"]
