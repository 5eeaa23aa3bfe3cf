"""An annotated object, and what is known of it on each frame, as numbers for a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from surgsam2.prompts.object_class import ObjectClass


@dataclass(frozen=True)
class AnnotatedObject:
    """One object as the annotator sees it."""

    id: int
    """1 to 65535; the pixel value in label images."""
    name: str
    """One line of text; the class of the object, or its own name."""
    color: str
    """``#rrggbb``."""
    locked: bool = False
    """Whether nothing changes the masks of this object."""
    visible: bool = True
    """Whether the page draws the object."""
    object_class: ObjectClass | None = None
    """The class of the object; None when none was chosen."""


class FrameState(IntEnum):
    """The state of one object on one frame."""

    NONE = 0
    """The frame was not looked at for this object."""
    TRACKED = 1
    """The mask comes from tracking."""
    PROMPTED = 2
    """The mask comes from points or a box on this frame."""
    CORRECTED = 3
    """The mask was corrected by clicks or painted."""
    GOOD = 4
    """A person approved the mask; tracking does not change it."""
    ABSENT = 5
    """A person said that the object is not visible; tracking does not change it."""
    EMPTY = 6
    """Tracking found no mask on this frame."""


_STATES = frozenset(FrameState)
PROTECTED = (FrameState.GOOD, FrameState.ABSENT, FrameState.PROMPTED, FrameState.CORRECTED)
"""States that tracking leaves as they are."""

UNKNOWN_SCORE = 255
"""Stands for a predicted IoU that is not known; known ones are 0 to 254 for 0 to 1."""


class ObjectTimeline:
    """The states and predicted IoUs of one object over all frames.

    Attributes:
        states: (T,) uint8, values of `FrameState`.
        scores: (T,) uint8, the predicted IoU times 254, or `UNKNOWN_SCORE`.
    """

    def __init__(self, frame_count: int) -> None:
        self.states = np.zeros(frame_count, np.uint8)
        self.scores = np.full(frame_count, UNKNOWN_SCORE, np.uint8)

    def put(self, frame: int, state: FrameState, score: float | None = None) -> None:
        """Set the state of a frame and, if it is known, the predicted IoU (0 to 1)."""
        self.states[frame] = state
        self.scores[frame] = UNKNOWN_SCORE if score is None else round(score * 254)

    def copy(self) -> ObjectTimeline:
        """Return an independent copy."""
        other = ObjectTimeline(0)
        other.states, other.scores = self.states.copy(), self.scores.copy()
        return other

    def is_protected(self, frame: int) -> bool:
        """Whether tracking leaves this frame as it is."""
        return int(self.states[frame]) in PROTECTED


def runs_of(values: np.ndarray) -> list[list[int]]:
    """Return the runs of equal values of a one-dimensional array as ``[value, count]``."""
    if not len(values):
        return []
    starts = np.flatnonzero(np.diff(values)) + 1
    bounds = np.concatenate([[0], starts, [len(values)]])
    return [[int(values[first]), int(last - first)] for first, last in pairwise(bounds)]


def values_of(runs: list[list[int]], count: int) -> np.ndarray:
    """Return the (count,) uint8 array of which `runs_of` made these runs.

    Raises:
        ValueError: the runs are of another length, or a value is no state.
    """
    if sum(length for _, length in runs) != count or any(
        value not in _STATES or length < 1 for value, length in runs
    ):
        raise ValueError("the runs do not cover the frames")
    values = np.empty(count, np.uint8)
    at = 0
    for value, length in runs:
        values[at : at + length] = value
        at += length
    return values
