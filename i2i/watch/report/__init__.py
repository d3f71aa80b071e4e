"""The report: one page with all that a run has shown, or several runs side by side."""

from i2i.watch.report.page import build_report

__all__ = ["build_report"]
