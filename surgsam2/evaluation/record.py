"""From scores to the record of a run: what `results.json` and the report hold.

A run is one way of segmenting the data: a model with a prompt setting, a baseline,
or a folder of predictions. Its record is plain data (JSON).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from surgsam2.evaluation.calibration import judge
from surgsam2.evaluation.conventions import CONVENTIONS, Convention, summarize, summarize_object
from surgsam2.evaluation.metrics import ClassIoU
from surgsam2.evaluation.scores import UNKNOWN_CLASS, ObjectScores, SequenceScores

Record = dict[str, Any]
"""Plain data of a run, or of all runs of an evaluation."""


def conventions_of(results: Record) -> list[Convention]:
    """The conventions that results hold, the headline one first (`davis` unless they say)."""
    headline = results.get("convention", "davis")
    scored = [run for run in results["runs"] if "overall" in run]
    held = [c for c in CONVENTIONS if all(c.name in run["overall"] for run in scored)]
    return sorted(held, key=lambda convention: convention.name != headline)


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
        unnamed = "no known class" if class_id == UNKNOWN_CLASS else f"class {class_id}"
        members = [scores for scores in objects if scores.class_id == class_id]
        table.append(
            {
                "id": class_id,
                "name": names.get(class_id, unnamed),
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
