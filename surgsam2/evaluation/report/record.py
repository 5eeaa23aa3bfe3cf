"""Records of runs: the plain data that `results.json` and the report are made from.

A run is one way of segmenting the data: a model with a prompt setting, a baseline, or a
folder of predictions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from surgsam2.evaluation.metrics import ClassIoU
from surgsam2.evaluation.metrics.calibration import assess_estimates
from surgsam2.evaluation.metrics.conventions import (
    CONVENTIONS,
    Convention,
    summarize,
    summarize_object,
)
from surgsam2.evaluation.metrics.scores import UNKNOWN_CLASS, ObjectScores, SequenceScores
from surgsam2.results.frame_result import FrameResult

Record = dict[str, Any]
"""Plain data (JSON) of a run, or of all runs of an evaluation."""


def conventions_of(results: Record) -> list[Convention]:
    """Return the conventions that results were computed by, the headline one first.

    The headline convention is `davis` unless the results name another one.
    """
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
    """Make the record of a run from its scores.

    Args:
        name: Name of the run, different from that of any other run.
        sequences: Scores of all sequences.
        kind: ``model``, ``baseline`` or ``predictions``.
        class_names: Class -> name, where objects have classes.
        **facts: Further entries (model, prompts, speed, worst, problems and the like).
    """
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
        "estimates": assess_estimates(objects),
    }


def object_record(scores: ObjectScores) -> dict[str, Any]:
    """Make the record of one object: its averages and its scores over the frames."""
    record = {
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
    if any(scores.on_other):
        record["on_other"] = [int(v) for v in scores.on_other]
    return record


def tracking_record(
    name: str, results: Iterable[FrameResult], names: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Make the record of a video that was tracked without a truth, for `write_report`.

    It has, per object and frame, the area as a fraction of the image, the presence and
    the predicted IoU.

    Args:
        name: Name of the video.
        results: Results in ascending order. Only numbers are kept.
        names: Object id -> name, where objects have names.
    """
    objects: dict[int, dict[str, Any]] = {}
    for result in results:
        for i, object_id in enumerate(result.object_ids):
            entry = objects.setdefault(
                object_id,
                {
                    "id": object_id,
                    "name": (names or {}).get(object_id, ""),
                    "prompt_frame": None,
                    "frames": [],
                    "area": [],
                    "iou_score": [],
                    "presence": [],
                },
            )
            entry["frames"].append(result.frame_index)
            entry["area"].append(round(float(result.masks[i].mean()), 6))
            entry["iou_score"].append(round(float(result.iou_scores[i]), 5))
            entry["presence"].append(round(float(result.presence[i]), 5))
    sequence = {"name": name, "objects": list(objects.values())}
    return {"name": name, "kind": "tracking", "sequences": [sequence], "problems": []}


def _class_iou(classes: ClassIoU, over_classes: bool) -> dict[str, Any]:
    """Return the class IoUs.

    Where there are no classes, each object counts as a class of its frame. A mean over
    classes across sequences has no meaning then, so it is None.
    """
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
    """Round values and replace NaN by None; return None when all are NaN."""
    if not any(map(math.isfinite, values)):
        return None
    return [round(v, 5) if math.isfinite(v) else None for v in values]
