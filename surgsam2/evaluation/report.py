"""Results as three files: `results.json`, `results.csv`, and one `report.html`.

The same functions serve the evaluation command, the demo and the review of a video
that was tracked without a truth (`tracking_record`).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError
from surgsam2.evaluation.page import render_html
from surgsam2.evaluation.record import Record
from surgsam2.evaluation.report_csv import render_csv
from surgsam2.evaluation.report_text import summary_text
from surgsam2.evaluation.tracked import tracking_record
from surgsam2.storage.atomic_file import temporary_beside, write_text_atomically, writing

__all__ = [
    "render_csv",
    "render_html",
    "report_folder",
    "summary_text",
    "tracking_record",
    "write_report",
]

NAMES = {"json": "results.json", "csv": "results.csv", "html": "report.html"}
"""Kind of file -> its name."""


@contextlib.contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """For the time of an evaluation: `folder` is made, and can take the report.

    A folder that was made for it is removed again when the block fails.
    Raises `OutputError` at once, before anything inside the block is computed.
    """
    with writing(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_beside(folder / NAMES["json"])
        probe.touch()
        probe.unlink()
        for name in NAMES.values():
            if (folder / name).is_dir():
                raise OutputError(f"cannot write {folder / name}: it is a folder")
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else put something there
            for path in missing:
                path.rmdir()
        raise


def write_report(results: Record, folder: Path) -> dict[str, Path]:
    """Write the three files into `folder` (made when absent); their paths by kind.

    results: as `runner.evaluate` returns it, or any dictionary with `title` and `runs`.
    """
    plain = _without_pictures(results)
    texts = {
        "json": json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "csv": render_csv(results),
        "html": render_html(results),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / name for kind, name in NAMES.items()}
    for kind, text in texts.items():
        write_text_atomically(paths[kind], _as_text(text))
    return paths


def _as_text(text: str) -> str:
    """With a replacement character for each byte of a file's name that is not UTF-8."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _without_pictures(results: Record) -> Record:
    """A copy for JSON: thumbnails stay in the HTML report only."""
    runs = []
    for run in results["runs"]:
        worst = [{k: v for k, v in w.items() if k != "jpeg"} for w in run.get("worst") or []]
        runs.append({**run, "worst": worst})
    return {**results, "runs": runs}
