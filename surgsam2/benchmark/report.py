"""Files of a benchmark: its record, and the record as a page of Markdown with plots.

This module prepares the values of each table; ``templates/performance.md.jinja`` holds
the page's text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from surgsam2.benchmark.case import BASELINES, OURS, STAGES
from surgsam2.errors import InputError
from surgsam2.evaluation.report.charts import grouped_bars, stacked_bars
from surgsam2.storage.atomic_file import write_text_atomically, writing
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.shape import check_shape

RECORD = "benchmark.json"
PAGE = "performance.md"
PLOTS = "performance"
"""Folder of the plots, relative to the page."""

Record = dict[str, Any]
"""Plain data (JSON) of a benchmark, or of one of its measurements."""

Rows = list[list[str]]


def write_benchmark(record: Record, folder: Path) -> Path:
    """Write `benchmark.json`, `performance.md` and `performance/*.svg`.

    Args:
        record: What `run_plan` returns.
        folder: Made when absent.

    Returns:
        The path of the page.

    Raises:
        OutputError: The folder cannot be written.
    """
    texts = {RECORD: json.dumps(record, indent=1) + "\n", PAGE: render_page(record, PLOTS)}
    texts |= {f"{PLOTS}/{name}": svg for name, svg in render_plots(record).items()}
    with writing(folder):
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text_atomically(folder / name, text)
    return folder / PAGE


def read_record(path: Path) -> Record:
    """Read the `benchmark.json` of an earlier run.

    Raises:
        InputError: The file cannot be read, or it is not a record of this version's form.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the record cannot be read ({error})") from error
    ours = isinstance(record, dict) and record.get("kind") == "surgsam2 benchmark"
    runs = record.get("runs") if ours else None
    # Records of earlier versions have the rates of products in another place.
    try:
        check_shape(runs, [{"rates": dict}])
        if not runs:
            raise ValueError("it has no runs")
        render_page(record, PLOTS)  # the page and the plots use nearly all of a record
        render_plots(record)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a benchmark.json of this version of `surgsam2 benchmark` "
            f"({type(error).__name__}: {error})"
        ) from error
    return record


def render_page(record: Record, plots: str) -> str:
    """Return the page as text.

    Args:
        record: What `run_plan` returns.
        plots: Folder of the plots, relative to the page.
    """
    subjects = {run["subject"] for run in record["runs"]}
    on_cpu = record["machine"]["device"] == "cpu"
    kinds = list(record["runs"][0]["rates"])
    return _template().render(
        record=record,
        machine=record["machine"],
        plots=plots,
        ours=OURS,
        on_cpu=on_cpu,
        cool_down=record.get("cool_down_frames", 0),
        baselines=[(name, meaning) for name, meaning in BASELINES.items() if name in subjects],
        end_to_end=_end_to_end(record),
        stage_titles=[f"{stage} ms" for stage in STAGES],
        stages=_stages(record),
        share_titles=[f"share of {kind}'s rate" for kind in kinds],
        limit=_limit(record, kinds, "cpu_ms" if on_cpu else "p50_ms"),
        agreement=_agreement(record),
        lengths=[
            [each["config"], str(each["frames"]), _megabytes(each)] for each in record["lengths"]
        ],
    )


def render_plots(record: Record) -> dict[str, str]:
    """Return the plots as SVG text by file name."""
    speed = {
        _title(record, ours): {run["subject"]: run["fps"] for run in group}
        for ours, group in _groups(record)
    }
    stages = {
        f"{each['subject']}, {_title(record, each)}": each["stages_ms"] for each in record["stages"]
    }
    return {
        "speed.svg": grouped_bars(speed, "FPS"),
        "stages.svg": stacked_bars(stages, "ms"),
    }


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("performance.md.jinja")


def _end_to_end(record: Record) -> Rows:
    rows = []
    for ours, group in _groups(record):
        one = _find(record["runs"], {**ours, "objects": 1})
        for run in group:
            faster = cpu = further = ""
            if run is ours:
                further = _further_object(ours, one)
            else:
                faster = f"{ours['fps'] / run['fps']:.2f}"
                cpu = f"{run['cpu_ms'] / ours['cpu_ms']:.2f}"
            times = [f"{run[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms")]
            start = [_title(record, ours), run["subject"], f"{run['fps']:.2f}"]
            rows.append([*start, *times, faster, cpu, further, _megabytes(run)])
    return rows


def _further_object(ours: Record, one: Record | None) -> str:
    """Return the CPU time of each object after the first, relative to a frame with one object."""
    if one is None or ours["objects"] == 1:
        return ""
    extra = (ours["cpu_ms"] - one["cpu_ms"]) / (ours["objects"] - 1)
    return f"{100 * extra / one['cpu_ms']:.0f} %"


def _stages(record: Record) -> Rows:
    return [
        [
            _title(record, each),
            each["subject"],
            *(f"{each['stages_ms'][stage]:.1f}" for stage in STAGES),
        ]
        for each in record["stages"]
    ]


def _limit(record: Record, kinds: Sequence[str], time: str) -> Rows:
    """Compare each run with the rates of matrix products; `time` is the key of its time."""
    rows = []
    for each in record["stages"]:
        run = _find(record["runs"], each)
        if run is None:
            continue
        seconds = run[time] / 1000
        best = max(run["rates"].values())
        sam2 = _find(record["stages"], {**each, "subject": "sam2"})
        rows.append(
            [
                _title(record, each),
                each["subject"],
                f"{each['flops'] / 1e9:.1f}",
                f"{best / 1e9:.0f}",
                f"{1000 * each['flops'] / best:.0f}",
                *(_share(each["flops"], run["rates"][kind], seconds) for kind in kinds),
                _share(sam2["flops"], best, seconds) if sam2 else "",
            ]
        )
    return rows


def _share(flops: float, rate: float, seconds: float) -> str:
    return f"{100 * flops / rate / seconds:.0f} %"


def _agreement(record: Record) -> Rows:
    return [
        [
            _title(record, each),
            each["subject"],
            str(each["masks"]),
            *(
                "" if each[key] is None else f"{each[key]:.4f}"
                for key in ("lowest_iou", "mean_iou")
            ),
        ]
        for each in record["agreement"]
    ]


def _groups(record: Record) -> list[tuple[Record, list[Record]]]:
    """Return each run of the engine with all runs of its case, its own first."""
    groups: list[tuple[Record, list[Record]]] = []
    for run in record["runs"]:
        if run["subject"] == OURS:
            groups.append((run, [run]))
        else:
            groups[-1][1].append(run)
    return groups


def _find(runs: Sequence[Record], like: Record) -> Record | None:
    keys = ("subject", "config", "pruning", "objects")
    return next((run for run in runs if all(run[key] == like[key] for key in keys)), None)


def _title(record: Record, run: Record) -> str:
    """Return the settings in which a case differs from the others of the record."""
    runs = record["runs"]
    number = f"{run['objects']} object" + ("s" if run["objects"] > 1 else "")
    several = [run[key] for key in ("config", "pruning") if len({other[key] for other in runs}) > 1]
    return ", ".join([*several, number])


def _megabytes(run: Record) -> str:
    peak = run["peak_mb"] if run["gpu_peak_mb"] is None else run["gpu_peak_mb"]
    return "" if peak is None else f"{peak:.0f}"
