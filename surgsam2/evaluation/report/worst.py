"""Worst frames of a run, each with a small picture for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from surgsam2.evaluation.metrics.scores import ObjectScores, SequenceScores
from surgsam2.evaluation.truth.sequences import Scan
from surgsam2.results.frame_result import FrameResult

if TYPE_CHECKING:
    from surgsam2.video import Video

WORST_FRAMES = 8
"""Most frames that are shown per run."""
THUMBNAIL_WIDTH = 360
"""Width of the pictures in pixels."""


def worst_records(
    sequences: Sequence[SequenceScores], picture: Callable[[ObjectScores, int], bytes | None]
) -> list[dict[str, Any]]:
    """Make records of the worst frame of each object, worst first, at most `WORST_FRAMES`.

    Only frames after the prompt count, and only those where truth or prediction has the
    object.

    Args:
        sequences: Scores of all sequences.
        picture: Returns a JPEG for the scores of an object and a frame index, or None.
    """
    found = []
    for sequence in sequences:
        for scores in sequence.objects.values():
            positions = [i for i in range(len(scores.frames)) if _is_candidate(scores, i)]
            if positions:
                found.append((scores, min(positions, key=lambda i: scores.j[i])))
    found.sort(key=lambda entry: entry[0].j[entry[1]])
    return [
        {
            "sequence": scores.sequence,
            "frame": scores.frames[i],
            "object": scores.object_id,
            "name": scores.name,
            "J": scores.j[i],
            "F": scores.f[i],
            "jpeg": picture(scores, scores.frames[i]),
        }
        for scores, i in found[:WORST_FRAMES]
    ]


def _is_candidate(scores: ObjectScores, position: int) -> bool:
    after_prompt = scores.prompt_frame is None or scores.frames[position] > scores.prompt_frame
    return after_prompt and (scores.visible[position] or scores.predicted[position])


class WorstFrames:
    """Pictures of the worst frame of each object, drawn while the masks are in memory."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, int], tuple[float, int, bytes]] = {}

    def offer(self, each: Scan, video: Video, scores: SequenceScores, result: FrameResult) -> None:
        """Consider the frame that was just added to `scores`.

        Args:
            each: The sequence with its truth.
            video: The frames of the sequence.
            scores: Scores of the sequence so far.
            result: The result that was added last.
        """
        truth = frame = None
        for object_id, item in scores.objects.items():
            key, j = (item.sequence, object_id), item.j[-1]
            if not _is_candidate(item, len(item.j) - 1):
                continue
            if key in self._lowest and j >= self._lowest[key][0]:
                continue
            if truth is None or frame is None:
                truth = each.sequence.labels(result.frame_index)
                frame = video[result.frame_index]
            known = object_id in result.object_ids
            mask = result.mask(object_id) if known else np.zeros(truth.shape, np.bool_)
            picture = thumbnail(frame, mask, truth == object_id)
            self._lowest[key] = (j, result.frame_index, picture)

    def records(self, sequences: Sequence[SequenceScores]) -> list[dict[str, Any]]:
        """Return `worst_records` with the pictures that were drawn."""
        return worst_records(sequences, self._picture)

    def _picture(self, scores: ObjectScores, frame: int) -> bytes | None:
        found = self._lowest.get((scores.sequence, scores.object_id))
        return found[2] if found is not None and found[1] == frame else None


def thumbnail(frame: np.ndarray | None, pred: np.ndarray, truth: np.ndarray) -> bytes:
    """Draw a small JPEG with the prediction in orange and the outline of the truth in green.

    Args:
        frame: (H, W, 3) uint8 RGB, or None for a plain dark background.
        pred: (H, W) bool.
        truth: (H, W) bool.
    """
    height, width = truth.shape
    size = (THUMBNAIL_WIDTH, max(1, round(height * THUMBNAIL_WIDTH / width)))
    if frame is None:
        picture = np.full((size[1], size[0], 3), 42, np.uint8)
    else:
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    small_pred, small_truth = (
        cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for mask in (pred, truth)
    )
    inside = small_pred.astype(np.bool_)
    picture[inside] = (picture[inside] * 0.45 + np.array((255, 140, 0)) * 0.55).astype(np.uint8)
    outlines, _ = cv2.findContours(small_truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (60, 230, 90), 1, cv2.LINE_AA)
    done, buffer = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82]
    )
    return buffer.tobytes() if done else b""
