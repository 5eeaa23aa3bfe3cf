"""Scoring of what a tracker yields, frame by frame, without keeping the masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from surgsam2.evaluation.metrics.scores import FrameScores, SequenceScores, score_frame
from surgsam2.evaluation.parallel import cores, parallel_map
from surgsam2.evaluation.report.record import run_record
from surgsam2.evaluation.report.worst import WorstFrames
from surgsam2.evaluation.runs.cost import Stopwatch
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.sequences import Scan, TruthSequence, scan
from surgsam2.results.frame_result import FrameResult

Progress = Callable[[str, int, int], None]
"""Called with a description of the work, the frames done and the frames in all."""

OnScored = Callable[[SequenceScores, FrameResult], None]
"""Called with the scores so far and the result that was added last."""


def score_results(
    each: Scan,
    results: Iterable[FrameResult],
    *,
    label: str,
    on_scored: OnScored | None = None,
    progress: Progress | None = None,
) -> SequenceScores:
    """Score the results of one sequence.

    Results wait until there is one for every core and are then scored together, so that
    scoring uses all cores and never runs at the same time as the tracker.

    Args:
        each: The sequence with its truth.
        results: Results in ascending order of frames. An annotated frame without a result
            counts as empty masks.
        label: Description of the work for `progress`.
        on_scored: Called after each scored frame.
        progress: Called after each group of frames.
    """
    scores = each.new_scores()
    expected = iter(each.annotated)
    waiting: list[FrameResult] = []
    total = len(each.sequence.frames)

    def score(result: FrameResult) -> FrameScores:
        masks = dict(zip(result.object_ids, result.masks, strict=True))
        truth = each.sequence.labels(result.frame_index)
        return score_frame(masks, truth, each.classes, each.sequence.classes)

    def flush() -> None:
        for result, frame_scores in zip(waiting, parallel_map(score, waiting), strict=True):
            ids = result.object_ids
            scores.add(
                result.frame_index,
                frame_scores,
                dict(zip(ids, result.iou_scores.tolist(), strict=True)),
                dict(zip(ids, result.presence.tolist(), strict=True)),
            )
            if on_scored is not None:
                on_scored(scores, result)
        if waiting and progress is not None:
            progress(label, waiting[-1].frame_index + 1, total)
        waiting.clear()

    next_frame = next(expected, None)
    for result in results:
        while next_frame is not None and next_frame < result.frame_index:
            waiting.append(_empty_result(next_frame))
            next_frame = next(expected, None)
        if next_frame == result.frame_index:
            # The logits are dropped because they would occupy the device's memory.
            waiting.append(replace(result, compute_logits=None))
            next_frame = next(expected, None)
        if len(waiting) >= cores():
            flush()
    while next_frame is not None:
        waiting.append(_empty_result(next_frame))
        next_frame = next(expected, None)
    flush()
    if progress is not None:
        progress(label, total, total)
    return scores


def _empty_result(frame_index: int) -> FrameResult:
    none = np.zeros(0, np.float32)
    return FrameResult(frame_index, (), np.zeros((0, 1, 1), np.bool_), none, none)


def score_tracking(
    name: str,
    sequence: TruthSequence,
    results: Iterable[FrameResult],
    *,
    progress: Progress | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Score one tracked video against its truth.

    Args:
        name: Name of the run.
        sequence: The truth.
        results: What `segment_video` yields, ascending. Results are scored as they come and
            are not kept.
        progress: Called after each group of frames.
        **facts: Further entries of the record (model, config, efp, prompts and the like).

    Returns:
        The record of the run, for `write_report`.
    """
    problems = Problems()
    each = scan(sequence, problems)
    watch, worst = Stopwatch(), WorstFrames()
    video = None if sequence.open is None else sequence.open()
    with nullcontext() if video is None else video:
        scores = score_results(
            each,
            watch.sequence(results),
            label=name,
            on_scored=None if video is None else partial(worst.offer, each, video),
            progress=progress,
        )
    return run_record(
        name,
        [scores],
        kind="model",
        class_names={c: sequence.names.get(i, "") for i, c in sequence.classes.items()},
        speed=watch.record(),
        worst=worst.records([scores]),
        problems=problems.as_list(),
        **facts,
    )
