"""From scores to the record of a run: what `results.json` and the report hold.

A run is one way of segmenting the data: a model with a prompt setting, a baseline,
or a folder of predictions. Its record is plain data (JSON).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from surgsam2.evaluation.conventions import CONVENTIONS, summarize, summarize_object
from surgsam2.evaluation.estimates import judge
from surgsam2.evaluation.metrics import ClassIoU
from surgsam2.evaluation.scores import ObjectScores, SequenceScores

WORST_FRAMES = 8
THUMBNAIL_WIDTH = 360


def run_record(
    name: str,
    sequences: Sequence[SequenceScores],
    *,
    kind: str,
    class_names: Mapping[int, str] | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """The record of a run; `facts` (model, prompts, speed, problems...) are added as given."""
    objects = [scores for sequence in sequences for scores in sequence.objects.values()]
    over_classes = bool(class_names)
    classes = ClassIoU()
    for sequence in sequences:
        classes.merge(sequence.classes)
    return {
        "name": name,
        "kind": kind,
        **facts,
        "overall": {c.name: summarize(objects, c) for c in CONVENTIONS},
        "class_iou": _class_iou(classes, over_classes),
        "classes": _classes(objects, class_names or {}, classes),
        "sequences": [
            {
                "name": sequence.name,
                **{c.name: summarize(sequence.objects.values(), c) for c in CONVENTIONS},
                "class_iou": _class_iou(sequence.classes, over_classes),
                "objects": [object_record(scores) for scores in sequence.objects.values()],
            }
            for sequence in sequences
        ],
        "estimates": judge(objects),
    }


def object_record(scores: ObjectScores) -> dict[str, Any]:
    """One object: its summaries and its course over the frames."""
    return {
        "id": scores.object_id,
        "name": scores.name,
        "class": scores.class_id,
        "prompt_frame": scores.prompt_frame,
        **{c.name: summarize_object(scores, c) for c in CONVENTIONS},
        "frames": list(scores.frames),
        "J": [round(v, 6) for v in scores.j],
        "F": [round(v, 6) for v in scores.f],
        "Dice": [round(v, 6) for v in scores.dice],
        "visible": [int(v) for v in scores.visible],
        "iou_score": _series(scores.iou_scores),
        "presence": _series(scores.presence),
    }


def worst_moments(sequences: Sequence[SequenceScores]) -> list[tuple[ObjectScores, int]]:
    """The worst frame of each object, worst first: (object, position in its lists).

    Only frames after the prompt where truth or prediction has the object.
    """
    moments = []
    for sequence in sequences:
        for scores in sequence.objects.values():
            positions = [i for i in range(len(scores.frames)) if is_candidate(scores, i)]
            if positions:
                moments.append((scores, min(positions, key=lambda i: scores.j[i])))
    moments.sort(key=lambda moment: moment[0].j[moment[1]])
    return moments[:WORST_FRAMES]


def is_candidate(scores: ObjectScores, position: int) -> bool:
    """Whether a frame may be shown as an object's worst."""
    after_prompt = scores.prompt_frame is None or scores.frames[position] > scores.prompt_frame
    return after_prompt and (scores.visible[position] or scores.predicted[position])


def worst_record(scores: ObjectScores, position: int, jpeg: bytes | None) -> dict[str, Any]:
    """Record of a worst frame; `jpeg` goes into the HTML report only."""
    return {
        "sequence": scores.sequence,
        "frame": scores.frames[position],
        "object": scores.object_id,
        "name": scores.name,
        "J": scores.j[position],
        "F": scores.f[position],
        "jpeg": jpeg,
    }


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


def _class_iou(classes: ClassIoU, over_classes: bool) -> dict[str, Any]:
    """Without classes the objects of a frame stand for them, and a mean over classes
    across sequences has no meaning."""
    return {
        "over": "classes" if over_classes else "objects",
        "challenge_iou": classes.challenge_iou,
        "isi_iou": classes.isi_iou,
        "mean_class_iou": classes.mean_class_iou if over_classes else None,
    }


def _classes(
    objects: Sequence[ObjectScores], names: Mapping[int, str], classes: ClassIoU
) -> list[dict[str, Any]]:
    if not names:
        return []
    table = []
    ious = classes.per_class
    present = {scores.class_id for scores in objects} | set(ious)
    for class_id in sorted(c for c in present if c is not None):
        members = [scores for scores in objects if scores.class_id == class_id]
        table.append(
            {
                "id": class_id,
                "name": names.get(class_id, f"class {class_id}"),
                "IoU": ious.get(class_id),
                **{c.name: summarize(members, c) for c in CONVENTIONS},
            }
        )
    return table


def _series(values: Sequence[float]) -> list[float | None] | None:
    """Rounded, with None for NaN; None when nothing is known."""
    if not any(map(math.isfinite, values)):
        return None
    return [round(v, 5) if math.isfinite(v) else None for v in values]
