"""The worst frames of a run, with a small picture of each for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from surgsam2.evaluation.scores import ObjectScores, SequenceScores
from surgsam2.evaluation.truth import Scan
from surgsam2.results.frame_result import FrameResult

if TYPE_CHECKING:
    from surgsam2.video import Video

WORST_FRAMES = 8
THUMBNAIL_WIDTH = 360


def worst_records(
    sequences: Sequence[SequenceScores], picture: Callable[[ObjectScores, int], bytes | None]
) -> list[dict[str, Any]]:
    """Records of the worst frame of each object, worst first, `WORST_FRAMES` at most.

    Only frames after the prompt where truth or prediction has the object.
    picture: gives a JPEG for the scores of an object and the index of a frame.
    """
    moments = []
    for sequence in sequences:
        for scores in sequence.objects.values():
            positions = [i for i in range(len(scores.frames)) if _may_be_shown(scores, i)]
            if positions:
                moments.append((scores, min(positions, key=lambda i: scores.j[i])))
    moments.sort(key=lambda moment: moment[0].j[moment[1]])
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
        for scores, i in moments[:WORST_FRAMES]
    ]


def _may_be_shown(scores: ObjectScores, position: int) -> bool:
    after_prompt = scores.prompt_frame is None or scores.frames[position] > scores.prompt_frame
    return after_prompt and (scores.visible[position] or scores.predicted[position])


class WorstPictures:
    """A picture of the worst frame of each object so far, made while its masks are at hand."""

    def __init__(self) -> None:
        self._lowest: dict[tuple[str, int], tuple[float, int, bytes]] = {}

    def offer(self, each: Scan, video: Video, scores: SequenceScores, result: FrameResult) -> None:
        """Look at the frame that was just added to `scores`."""
        truth = frame = None
        for object_id, item in scores.objects.items():
            key, j = (item.sequence, object_id), item.j[-1]
            if not _may_be_shown(item, len(item.j) - 1):
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
        """`worst_records` with these pictures, where there are some."""
        return worst_records(sequences, self._picture)

    def _picture(self, scores: ObjectScores, frame: int) -> bytes | None:
        found = self._lowest.get((scores.sequence, scores.object_id))
        return found[2] if found is not None and found[1] == frame else None


def thumbnail(frame: np.ndarray | None, pred: np.ndarray, truth: np.ndarray) -> bytes:
    """A small JPEG: prediction filled in orange, outline of the truth in green.

    frame: (H, W, 3) uint8 RGB, or None for a plain dark ground.
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
