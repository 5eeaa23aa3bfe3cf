"""The benchmark's files: record, page and plots."""

from __future__ import annotations

import json
from pathlib import Path

from surgsam2.benchmark.page import Record, render_page, render_plots
from surgsam2.errors import InputError
from surgsam2.storage.atomic_file import write_text_atomically, writing

RECORD = "benchmark.json"
PAGE = "performance.md"
PLOTS = "performance"


def write_benchmark(record: Record, folder: Path) -> Path:
    """Write `benchmark.json`, `performance.md` and `performance/*.svg`; returns the page's path.

    Raises:
        OutputError: the folder cannot be written.
    """
    texts = {RECORD: json.dumps(record, indent=1) + "\n", PAGE: render_page(record, PLOTS)}
    texts |= {f"{PLOTS}/{name}": svg for name, svg in render_plots(record).items()}
    with writing(folder):
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text_atomically(folder / name, text)
    return folder / PAGE


def read_record(path: Path) -> Record:
    """An earlier run's `benchmark.json`.

    Raises:
        InputError: no such file, or not one of this command.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the record cannot be read ({error})") from error
    ours = isinstance(record, dict) and record.get("kind") == "surgsam2 benchmark"
    runs = record.get("runs") if ours else None
    if not runs or any("rates" not in run for run in runs):  # which earlier ones had elsewhere
        raise InputError(f"{path} is not a benchmark.json of `surgsam2 benchmark`")
    return record
