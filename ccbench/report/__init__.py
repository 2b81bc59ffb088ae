"""One self-contained page about scored runs, for people to look at."""

from ccbench.report.html_page import render_report
from ccbench.report.report_content import Report, collect_report

__all__ = ["Report", "collect_report", "render_report"]
