"""The record of a benchmark as a page of Markdown with its plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from surgsam2.benchmark.case import BASELINES, OURS, STAGES
from surgsam2.benchmark.plots import grouped_bars, stacked_bars

Record = dict[str, Any]


def render_page(record: Record, plots: str) -> str:
    """The page. `plots` is the folder of the plots, relative to the page."""
    parts = [
        _head(record),
        _end_to_end(record, plots),
        _stages(record, plots),
        _limit(record),
        _agreement(record),
        _waiting(record),
        _method(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_plots(record: Record) -> dict[str, str]:
    """SVG text by file name."""
    speed = {_title(record, ours): _by_subject(group, "fps") for ours, group in _groups(record)}
    stages = {
        f"{each['subject']}, {_title(record, each)}": each["stages_ms"] for each in record["stages"]
    }
    return {
        "speed.svg": grouped_bars(speed, "FPS"),
        "stages.svg": stacked_bars(stages, "ms"),
    }


def _head(record: Record) -> str:
    machine = record["machine"]
    width, height = record["size"]
    return (
        "# Performance\n\n"
        "Written by `surgsam2 benchmark`; do not edit by hand.\n\n"
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['threads']} used; "
        f"device {machine['device']}, {record['dtype']}; {machine['system']}, PyTorch "
        f"{machine['torch']}. Clip: {width}x{height}, {record['frames']} frames, of which the "
        f"first {record['warm_up_frames']} (while memories gather) {_end(record)}do not count; "
        f"{record['repeats']} repetitions. Weights: {record['weights']}."
    )


def _end(record: Record) -> str:
    last = record.get("cool_down_frames", 0)
    return f"and the last {last} (nothing is left to encode ahead) " if last else ""


def _end_to_end(record: Record, plots: str) -> str:
    rows = []
    for ours, group in _groups(record):
        one = _find(record["runs"], {**ours, "objects": 1})
        for run in group:
            ratio = "" if run is ours else f"{ours['fps'] / run['fps']:.2f}"
            cpu = "" if run is ours else f"{run['cpu_ms'] / ours['cpu_ms']:.2f}"
            rows.append(
                [
                    _title(record, ours),
                    run["subject"],
                    f"{run['fps']:.2f}",
                    *(f"{run[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms")),
                    ratio,
                    cpu,
                    _further(ours, one) if run is ours else "",
                    _megabytes(run),
                ]
            )
    titles = ["case", "subject", "FPS", "p50 ms", "p95 ms", "p99 ms", "CPU ms"]
    titles += ["ours is faster by", "by CPU time", "each further object", "peak MB"]
    subjects = {run["subject"] for run in record["runs"]}
    baselines = "".join(f" `{k}`: {what}." for k, what in BASELINES.items() if k in subjects)
    return (
        "## From video file to label PNGs\n\n"
        + _table(titles, rows)
        + f"\n\n![Frames per second]({plots}/speed.svg)\n\n"
        + f"`{OURS}` is `surgsam2 segment`'s own job.{baselines} "
        "The percentiles are of the time from one result to the next. "
        "*CPU ms* is the time of all threads together for a frame, which other work on the "
        "machine changes less than the wall time of the columns before. *Each further object* is "
        "its CPU time beside that of a frame with one object."
    )


def _further(ours: Record, one: Record | None) -> str:
    if one is None or ours["objects"] == 1:
        return ""
    extra = (ours["cpu_ms"] - one["cpu_ms"]) / (ours["objects"] - 1)
    return f"{100 * extra / one['cpu_ms']:.0f} %"


def _stages(record: Record, plots: str) -> str:
    rows = [
        [
            _title(record, each),
            each["subject"],
            *(f"{each['stages_ms'][stage]:.1f}" for stage in STAGES),
        ]
        for each in record["stages"]
    ]
    return (
        "## Where the time goes\n\n"
        + _table(["case", "subject", *(f"{stage} ms" for stage in STAGES)], rows)
        + f"\n\n![Stages of a frame]({plots}/stages.svg)\n\n"
        "Each stage by itself, one after another, in a run of its own; CPU time, on a GPU wall "
        "time. In the job they overlap: the next frames are decoded and, on CPUs, encoded beside "
        "the tracker, results are written behind it."
    )


def _limit(record: Record) -> str:
    kinds = list(record["runs"][0]["rates"])
    on_cpu = record["machine"]["device"] == "cpu"
    rows = []
    for each in record["stages"]:
        run = _find(record["runs"], each)
        if run is None:
            continue
        seconds = run["cpu_ms" if on_cpu else "p50_ms"] / 1000
        best = max(run["rates"].values())
        sam2 = _find(record["stages"], {**each, "subject": "sam2"})
        shares = [_share(each, run["rates"][kind], seconds) for kind in kinds]
        rows.append(
            [
                _title(record, each),
                each["subject"],
                f"{each['flops'] / 1e9:.1f}",
                f"{best / 1e9:.0f}",
                f"{1000 * each['flops'] / best:.0f}",
                *shares,
                _share(sam2, best, seconds) if sam2 else "",
            ]
        )
    per = "per second of CPU time (one core)" if on_cpu else "per second"
    return (
        "## How far from the arithmetic limit\n\n"
        + _table(
            ["case", "subject", "GFLOP of a frame", "best rate, GFLOP/s", "ms at that rate"]
            + [f"share of {kind}'s rate" for kind in kinds]
            + ["share, if sam2's GFLOP count"],
            rows,
        )
        + f"\n\nThe rate is that of large matrix products, {per}, by the faster of the libraries. "
        "It is measured in the process of every run, when its last frame is done, since other work "
        "on the machine slows products as well as frames; the figures are the median "
        "repetition's. The count holds the matrix products and convolutions that the subject "
        "really does for a tracked frame, attention included. The share is of the whole job: "
        "decoding, resizing, normalisation, softmax and writing take time too but are not counted. "
        "More than 100 % means that the subject multiplies faster than that kind of product. The "
        "last column, of the best rate, counts what sam2 does for the same masks: products that "
        "the subject leaves out without changing them count as done there."
    )


def _share(counted: Record, rate: float, seconds: float) -> str:
    return f"{100 * counted['flops'] / rate / seconds:.0f} %"


def _agreement(record: Record) -> str:
    rows = [
        [
            _title(record, each),
            each["subject"],
            str(each["masks"]),
            "" if each["lowest_iou"] is None else f"{each['lowest_iou']:.4f}",
            "" if each["mean_iou"] is None else f"{each['mean_iou']:.4f}",
        ]
        for each in record["agreement"]
    ]
    if not rows:
        return ""
    return (
        "## Are the masks the same?\n\n"
        + _table(["case", "compared with", "masks", "lowest IoU", "mean IoU"], rows)
        + "\n\nEvery object and frame; masks that are empty in both are not counted. Untrained "
        "weights give masks that mean little: for accuracy, run with `--model`."
    )


def _waiting(record: Record) -> str:
    parts = [
        "## Waiting and memory\n\n"
        f"First mask of `surgsam2 segment` with the built-in model: "
        f"{record['first_mask_seconds']:.1f} s after the start of the process."
    ]
    if record["lengths"]:
        rows = [
            [each["config"], str(each["frames"]), _megabytes(each)] for each in record["lengths"]
        ]
        parts.append(_table(["config", "frames", "peak MB"], rows))
    return "\n\n".join(parts)


def _method(record: Record) -> str:
    return (
        "## How it was measured\n\n"
        "Each measurement is a process of its own, so its peak memory is its own. The subjects of "
        "a case take turns, repetition by repetition: other work on the machine slows all of them "
        "alike, and ratios stay true where single times do not. Loading the model does not count. "
        "`sam2` loads all frames in advance; that time is divided among the frames. FPS and CPU "
        "time are those of the median repetition; percentiles are over the frames of all "
        "repetitions. Untrained weights are as fast as trained ones."
    )


def _groups(record: Record) -> list[tuple[Record, list[Record]]]:
    """Each run of ours with the runs of its case, itself first."""
    groups: list[tuple[Record, list[Record]]] = []
    for run in record["runs"]:
        if run["subject"] == OURS:
            groups.append((run, [run]))
        else:
            groups[-1][1].append(run)
    return groups


def _by_subject(group: Sequence[Record], key: str) -> dict[str, float]:
    return {run["subject"]: run[key] for run in group}


def _find(runs: Sequence[Record], like: Record) -> Record | None:
    keys = ("subject", "config", "pruning", "objects")
    return next((run for run in runs if all(run[key] == like[key] for key in keys)), None)


def _title(record: Record, run: Record) -> str:
    """What tells the case from the others of the record."""
    runs = record["runs"]
    number = f"{run['objects']} object" + ("s" if run["objects"] > 1 else "")
    several = [run[key] for key in ("config", "pruning") if len({other[key] for other in runs}) > 1]
    return ", ".join([*several, number])


def _megabytes(run: Record) -> str:
    peak = run["peak_mb"] if run["gpu_peak_mb"] is None else run["gpu_peak_mb"]
    return "" if peak is None else f"{peak:.0f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
