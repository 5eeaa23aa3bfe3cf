"""Results as three files: `results.json`, `results.csv`, and one `report.html`.

The same functions serve the evaluation command, the demo and the review of a video
that was tracked without a truth (`tracking_record`).
"""

from __future__ import annotations

import json
from pathlib import Path

from surgsam2.atomic import write_text_atomically, writing
from surgsam2.evaluation.page import render_html
from surgsam2.evaluation.record import Record
from surgsam2.evaluation.report_csv import render_csv
from surgsam2.evaluation.report_text import summary_text
from surgsam2.evaluation.tracked import tracking_record

__all__ = ["render_csv", "render_html", "summary_text", "tracking_record", "write_report"]


def write_report(results: Record, folder: Path) -> dict[str, Path]:
    """Write the three files into `folder` (made when absent); their paths by kind.

    results: as `runner.evaluate` returns it, or any dictionary with `title` and `runs`.
    """
    texts = {
        "json": json.dumps(_without_pictures(results), indent=1, allow_nan=False) + "\n",
        "csv": render_csv(results),
        "html": render_html(results),
    }
    names = {"json": "results.json", "csv": "results.csv", "html": "report.html"}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / name for kind, name in names.items()}
    for kind, text in texts.items():
        write_text_atomically(paths[kind], text)
    return paths


def _without_pictures(results: Record) -> Record:
    """A copy for JSON: thumbnails stay in the HTML report only."""
    runs = []
    for run in results["runs"]:
        worst = [{k: v for k, v in w.items() if k != "jpeg"} for w in run.get("worst") or []]
        runs.append({**run, "worst": worst})
    return {**results, "runs": runs}
