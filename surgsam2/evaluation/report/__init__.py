"""Records of runs, and the files and tables that present them.

The evaluation command, the demo and the review of a video that was tracked without a
truth (`tracking_record`) write their reports with the functions of this package.
"""

from __future__ import annotations

from surgsam2.evaluation.report.files import report_folder, write_report
from surgsam2.evaluation.report.page import render_html
from surgsam2.evaluation.report.record import tracking_record
from surgsam2.evaluation.report.tables import render_csv, summary_text

__all__ = [
    "render_csv",
    "render_html",
    "report_folder",
    "summary_text",
    "tracking_record",
    "write_report",
]
