"""Scores of a sequence, accumulated frame by frame.

Only numbers are kept, not masks. Memory therefore does not depend on the size of the
images; it grows by a few bytes per frame and object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from surgsam2.evaluation.metrics import ClassIoU, MaskScores, class_ious, score_mask

UNKNOWN_CLASS = 65536
"""Class of predicted ids that have no class, where objects have classes. The number is above
every value of a label PNG, so an id is never mistaken for the class of the same number."""


@dataclass
class ObjectScores:
    """Scores of one object of one sequence; each list has one entry per annotated frame."""

    sequence: str
    object_id: int
    name: str = ""
    class_id: int | None = None
    prompt_frame: int | None = None
    """Index of the frame on which the object is prompted: the first one where it appears."""
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
    on_other: list[bool] = field(default_factory=list)
    """Whether the prediction covers more pixels of another object than of this one."""

    def add(
        self,
        frame: int,
        scores: MaskScores,
        *,
        visible: bool,
        predicted: bool,
        iou_score: float = float("nan"),
        presence: float = float("nan"),
        on_other: bool = False,
    ) -> None:
        """Append the scores of one annotated frame. Frames come in ascending order."""
        self.frames.append(frame)
        self.j.append(scores.j)
        self.f.append(scores.f)
        self.dice.append(scores.dice)
        self.visible.append(visible)
        self.predicted.append(predicted)
        self.iou_scores.append(iou_score)
        self.presence.append(presence)
        self.on_other.append(on_other)


class ObjectOnFrame(NamedTuple):
    """Scores of one object on one frame."""

    scores: MaskScores
    visible: bool
    """Whether the truth has the object."""
    predicted: bool
    """Whether the prediction has the object."""
    on_other: bool
    """Whether the prediction covers more pixels of another object than of this one."""


@dataclass(frozen=True)
class FrameScores:
    """Scores of all objects of one frame, and the frame's class IoUs."""

    objects: dict[int, ObjectOnFrame]
    """Object id -> its scores."""
    classes: dict[int, tuple[float, bool]]
    """Class -> (IoU, whether it is in the truth), as `class_ious` returns it."""


@dataclass
class SequenceScores:
    """Scores of all objects of one sequence, and the sequence's class IoUs."""

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
        """Count one annotated frame. Frames come in ascending order.

        Args:
            frame: Frame index, counted from 0.
            scores: What `score_frame` returned for it.
            iou_scores: Object id -> the model's predicted IoU, where there is one.
            presence: Object id -> the model's presence probability, where there is one.
        """
        nan = float("nan")
        for object_id, one in scores.objects.items():
            self.objects[object_id].add(
                frame,
                one.scores,
                visible=one.visible,
                predicted=one.predicted,
                on_other=one.on_other,
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

    Args:
        pred: Object id -> (H, W) bool mask. A missing object counts as an empty mask. Ids
            that are not in `objects` count in the class IoUs only.
        truth: (H, W) integer map of object ids; 0 is background.
        objects: Object id -> class of the objects to score; class 0 means no class.
        classes: Id -> class of further ids that a prediction may have. An id without a
            class counts as `UNKNOWN_CLASS`. Without any classes, each id is its own class.
    """
    empty = np.zeros(truth.shape, dtype=np.bool_)
    scored: dict[int, ObjectOnFrame] = {}
    for object_id in objects:
        mask, true_mask = pred.get(object_id, empty), truth == object_id
        scored[object_id] = ObjectOnFrame(
            score_mask(mask, true_mask),
            bool(true_mask.any()),
            bool(mask.any()),
            _is_on_other(truth[mask], object_id),
        )
    return FrameScores(scored, class_ious(*_class_maps(pred, truth, objects, classes or {})))


def _is_on_other(ids: np.ndarray, object_id: int) -> bool:
    """Return whether another object has more of the pixels with the true `ids` than this one."""
    known, counts = np.unique(ids[ids != 0], return_counts=True)
    own = counts[known == object_id].sum()
    return bool(len(counts) and counts.max() > own)


def _class_maps(
    pred: Mapping[int, np.ndarray],
    truth: np.ndarray,
    objects: Mapping[int, int],
    classes: Mapping[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and truth as (H, W) class maps; where masks overlap, the later id wins."""
    pred_map = np.zeros(truth.shape, dtype=np.int32)
    for object_id, mask in pred.items():
        other = classes.get(object_id, UNKNOWN_CLASS if classes else object_id)
        pred_map[mask] = objects.get(object_id, other)
    lookup = np.arange(int(truth.max(initial=0)) + 1, dtype=np.int32)
    for object_id, class_id in objects.items():
        if object_id < len(lookup):
            lookup[object_id] = class_id
    return pred_map, lookup[truth]
