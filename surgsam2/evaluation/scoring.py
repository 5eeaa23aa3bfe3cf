"""Score what a tracker yields, frame by frame; each frame is forgotten once it is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from surgsam2.evaluation.parallel import cores, parallel_map
from surgsam2.evaluation.scores import FrameScores, SequenceScores, score_frame
from surgsam2.evaluation.truth import Scan
from surgsam2.results.frame_result import FrameResult

Progress = Callable[[str, int, int], None]
"""Called with what is being done, frames done, frames in all."""

Look = Callable[[SequenceScores, FrameResult], None]
"""Called with the scores so far and the result that was added to them last."""


def score_results(
    each: Scan,
    results: Iterable[FrameResult],
    *,
    label: str,
    look: Look | None = None,
    progress: Progress | None = None,
) -> SequenceScores:
    """Score results in ascending order; annotated frames without one are empty masks.

    A few frames wait until every core has one, so that scoring uses all of them and
    does not run beside the tracker.
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
            if look is not None:
                look(scores, result)
        if waiting and progress is not None:
            progress(label, waiting[-1].frame_index + 1, total)
        waiting.clear()

    next_frame = next(expected, None)
    for result in results:
        while next_frame is not None and next_frame < result.frame_index:
            waiting.append(_nothing(next_frame))
            next_frame = next(expected, None)
        if next_frame == result.frame_index:
            # without logits, which would hold on to the device's memory
            waiting.append(replace(result, compute_logits=None))
            next_frame = next(expected, None)
        if len(waiting) >= cores():
            flush()
    while next_frame is not None:
        waiting.append(_nothing(next_frame))
        next_frame = next(expected, None)
    flush()
    if progress is not None:
        progress(label, total, total)
    return scores


def _nothing(frame_index: int) -> FrameResult:
    none = np.zeros(0, np.float32)
    return FrameResult(frame_index, (), np.zeros((0, 1, 1), np.bool_), none, none)
