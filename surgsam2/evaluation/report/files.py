"""Files of an evaluation: `results.json`, `results.csv` and `report.html`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError
from surgsam2.evaluation.report.page import render_html
from surgsam2.evaluation.report.record import Record
from surgsam2.evaluation.report.tables import render_csv
from surgsam2.storage.atomic_file import temporary_beside, write_text_atomically, writing

NAMES = {"json": "results.json", "csv": "results.csv", "html": "report.html"}
"""Kind of file -> file name."""


@contextlib.contextmanager
def report_folder(folder: Path) -> Iterator[None]:
    """Make sure, before the block's work begins, that the report can be written afterwards.

    The folder is made when it is absent, and removed again when the block fails.

    Raises:
        OutputError: The folder cannot take the files. This is raised before the block runs.
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
        with contextlib.suppress(OSError):  # Another program may have written into it.
            for path in missing:
                path.rmdir()
        raise


def write_report(results: Record, folder: Path | str) -> dict[str, Path]:
    """Write the three files and return their paths by kind.

    Args:
        results: What `runner.evaluate` returns, or any record with `title` and `runs`.
        folder: Made when absent.

    Raises:
        OutputError: The folder or a file cannot be written.
    """
    folder = Path(folder)
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
        write_text_atomically(paths[kind], _replace_surrogates(text))
    return paths


def _replace_surrogates(text: str) -> str:
    """Put a replacement character for each byte of a file's name that is not UTF-8."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _without_pictures(results: Record) -> Record:
    """Copy results for JSON. Only the HTML report has the pictures."""
    runs = []
    for run in results["runs"]:
        worst = [{k: v for k, v in w.items() if k != "jpeg"} for w in run.get("worst") or []]
        runs.append({**run, "worst": worst})
    return {**results, "runs": runs}
