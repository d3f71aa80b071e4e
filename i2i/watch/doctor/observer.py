"""The doctor as an observer of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from i2i.training.observer import Finding, LossReport, Observation, Observer, RunView, log_findings
from i2i.watch.doctor.doctor import Doctor

log = logging.getLogger(__name__)


class DoctorObserver(Observer):
    """Gives the doctor losses, sample pictures and validations to look at, and publishes its findings.

    A doctor that fails is dismissed with a warning; it never stops a run.
    """

    name = "doctor"

    def __init__(self) -> None:
        self.doctor: Doctor | None = Doctor()

    def report(self, run: RunView, report: LossReport) -> Observation:
        findings = self._ask(lambda doctor: doctor.losses(run.progress, report.losses, report.norms, report.statistics))
        figures = self.doctor.figures if self.doctor is not None else {}
        return Observation(values=figures, findings=findings)

    def notice(self, run: RunView, observation: Observation) -> Observation | None:
        findings: list[Finding] = []
        if observation.pictures:
            findings += self._ask(lambda doctor: doctor.pictures(run.progress, observation.pictures))
        if (found := observation.validation) is not None:
            held_out = (found.figures, found.train_figures, found.thumbnails)
            findings += self._ask(lambda doctor: doctor.validated(run.progress, *held_out))
        return Observation(findings=findings) if findings else None

    def _ask(self, question: Callable[[Doctor], list[Finding]]) -> list[Finding]:
        if self.doctor is None:
            return []
        try:
            findings = question(self.doctor)
        except Exception as error:
            self.doctor = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("the doctor has failed, the run goes on without it: %s", reason)
            return []
        log_findings(findings)
        return findings

    def state_dict(self) -> dict[str, Any] | None:
        return self.doctor.state_dict() if self.doctor is not None else None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.doctor is not None:
            self.doctor.load_state_dict(state)
