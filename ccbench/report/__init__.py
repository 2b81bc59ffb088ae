"""One self-contained page about scored runs, for people to look at."""

from ccbench.report.content import Report, collect_report
from ccbench.report.page import render_report

__all__ = ["Report", "collect_report", "render_report"]
