"""Scores of a sequence, gathered frame by frame and kept as plain numbers.

Only numbers are kept, so the memory used does not depend on the size of the images
and grows by a few bytes per frame and object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from surgsam2.evaluation.metrics import ClassIoU, MaskScores, class_ious, score_mask

UNKNOWN_CLASS = 65536
"""Stands for predicted ids without a class, where objects have classes. Above every
value of a label PNG, so that an id is never taken for the class of the same number."""


@dataclass
class ObjectScores:
    """One object of one sequence; the lists have one entry per annotated frame."""

    sequence: str
    object_id: int
    name: str = ""
    class_id: int | None = None
    prompt_frame: int | None = None
    """Index of the first frame where the object appears, where it is prompted."""
    frames: list[int] = field(default_factory=list)
    """Frame indices, from 0."""
    j: list[float] = field(default_factory=list)
    f: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    visible: list[bool] = field(default_factory=list)
    """Whether the truth has the object."""
    predicted: list[bool] = field(default_factory=list)
    """Whether the prediction has the object."""
    iou_scores: list[float] = field(default_factory=list)
    """The model's own estimate of its IoU; NaN where there is none."""
    presence: list[float] = field(default_factory=list)
    """The model's own probability that the object is visible; NaN where there is none."""

    def add(
        self,
        frame: int,
        scores: MaskScores,
        *,
        visible: bool,
        predicted: bool,
        iou_score: float = float("nan"),
        presence: float = float("nan"),
    ) -> None:
        """Append one frame."""
        self.frames.append(frame)
        self.j.append(scores.j)
        self.f.append(scores.f)
        self.dice.append(scores.dice)
        self.visible.append(visible)
        self.predicted.append(predicted)
        self.iou_scores.append(iou_score)
        self.presence.append(presence)


@dataclass(frozen=True)
class FrameScores:
    """What one frame gave: per object its scores, and the class IoUs."""

    objects: dict[int, tuple[MaskScores, bool, bool]]
    """Object id -> scores, whether the truth has it, whether the prediction has it."""
    classes: dict[int, tuple[float, bool]]


@dataclass
class SequenceScores:
    """All objects of one sequence, and its class IoUs."""

    name: str
    objects: dict[int, ObjectScores]
    classes: ClassIoU = field(default_factory=ClassIoU)

    def add(
        self,
        frame: int,
        scores: FrameScores,
        iou_scores: Mapping[int, float] | None = None,
        presence: Mapping[int, float] | None = None,
    ) -> None:
        """Count one annotated frame. Frames come in order."""
        nan = float("nan")
        for object_id, (values, visible, predicted) in scores.objects.items():
            self.objects[object_id].add(
                frame,
                values,
                visible=visible,
                predicted=predicted,
                iou_score=(iou_scores or {}).get(object_id, nan),
                presence=(presence or {}).get(object_id, nan),
            )
        self.classes.add(scores.classes)


def score_frame(
    pred: Mapping[int, np.ndarray],
    truth: np.ndarray,
    objects: Mapping[int, int],
    classes: Mapping[int, int] | None = None,
) -> FrameScores:
    """Score all objects of one frame.

    pred: object id -> (H, W) bool mask; an object that is missing is an empty mask.
    Ids that are not among `objects` count in the class IoUs only.
    truth: (H, W) integer map of object ids, 0 is background.
    objects: id -> class of the objects to be scored (class 0: none).
    classes: id -> class of other ids that a prediction may have. What has none counts as
    `UNKNOWN_CLASS`; without any classes, each id is a class of its own.
    """
    empty = np.zeros(truth.shape, dtype=np.bool_)
    scored: dict[int, tuple[MaskScores, bool, bool]] = {}
    for object_id in objects:
        mask, true_mask = pred.get(object_id, empty), truth == object_id
        scored[object_id] = (
            score_mask(mask, true_mask),
            bool(true_mask.any()),
            bool(mask.any()),
        )
    return FrameScores(scored, class_ious(*_class_maps(pred, truth, objects, classes or {})))


def _class_maps(
    pred: Mapping[int, np.ndarray],
    truth: np.ndarray,
    objects: Mapping[int, int],
    classes: Mapping[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Masks and id map as (H, W) maps of classes; where masks overlap the later id wins."""
    pred_map = np.zeros(truth.shape, dtype=np.int32)
    for object_id, mask in pred.items():
        other = classes.get(object_id, UNKNOWN_CLASS if classes else object_id)
        pred_map[mask] = objects.get(object_id, other)
    lookup = np.arange(int(truth.max(initial=0)) + 1, dtype=np.int32)
    for object_id, class_id in objects.items():
        if object_id < len(lookup):
            lookup[object_id] = class_id
    return pred_map, lookup[truth]
