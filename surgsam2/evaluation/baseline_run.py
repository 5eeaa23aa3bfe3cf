"""Run a trivial baseline on the sequences of a dataset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.evaluation.baselines import BASELINES
from surgsam2.evaluation.datasets import Truth
from surgsam2.evaluation.record import run_record
from surgsam2.evaluation.scoring import Progress, score_results
from surgsam2.evaluation.stopwatch import Stopwatch
from surgsam2.evaluation.truth import Scan
from surgsam2.results.frame_result import FrameResult

if TYPE_CHECKING:
    from surgsam2.video import Video


def run_baseline(
    name: str, scans: Sequence[Scan], truth: Truth, *, progress: Progress | None = None
) -> dict[str, Any]:
    """The record of a run. name: of `BASELINES`; one that needs frames finds them."""
    baseline = BASELINES[name]
    watch = Stopwatch()
    scored = []
    for each in scans:
        video = None
        if baseline.needs_frames:
            assert each.sequence.open is not None
            video = each.sequence.open()
        with nullcontext() if video is None else video:
            scored.append(
                score_results(
                    each,
                    watch.sequence(_results(name, each, video)),
                    label=f"{baseline.name}, {each.sequence.name}",
                    progress=progress,
                )
            )
    return run_record(
        baseline.name,
        scored,
        kind="baseline",
        class_names=truth.class_names,
        prompts=None,
        speed=watch.record() if baseline.needs_frames else None,
        worst=[],
        problems=[],
    )


def _results(name: str, each: Scan, video: Video | None) -> Iterator[FrameResult]:
    """What a baseline answers for each frame; NaN where a model would estimate."""
    tracker = BASELINES[name]()
    blank = np.zeros((1, 1, 3), np.uint8)
    for index in range(len(each.sequence.frames)):
        starts = [i for i, first in each.first_frames.items() if first == index]
        truth = each.sequence.labels(index) if starts else None
        new = {i: truth == i for i in starts} if truth is not None else {}
        frame = blank if video is None else video[index]
        began = time.perf_counter()
        masks = tracker.step(frame, new)
        milliseconds = 1000 * (time.perf_counter() - began)
        yield _as_result(index, masks, milliseconds)


def _as_result(index: int, masks: dict[int, np.ndarray], milliseconds: float) -> FrameResult:
    stacked = np.stack([*masks.values()]) if masks else np.zeros((0, 1, 1), np.bool_)
    unknown = np.full(len(masks), np.nan, np.float32)
    return FrameResult(index, tuple(masks), stacked, unknown, unknown, milliseconds)
