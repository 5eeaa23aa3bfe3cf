"""The review of a session: what was measured, what is doubtful, and where to look next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from surgsam2.mrml import MaskNodes, ReviewNodes
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.review import (
    Measurements,
    Stretch,
    Thresholds,
    doubtful_stretches,
    next_doubtful,
)
from SurgSAM2Lib.session.frame_set import FrameSet


class Review:
    """Measures masks as they come; `publish` puts what was found into the scene.

    Args:
        masks: of the video. What was measured before the scene was saved is taken from it.
        good, bad: the frames that the user marked.
    """

    def __init__(self, masks: MaskNodes, good: FrameSet, bad: FrameSet) -> None:
        self._masks = masks
        self._good, self._bad = good, bad
        self.nodes = ReviewNodes(masks)
        self.measurements: Measurements = self.nodes.load()
        self._version = 0
        self._found: tuple[object, list[Stretch]] = (None, [])
        self._published: object = self._state if self.nodes.table is not None else None

    # measuring

    def observe(self, result: FrameResult, written: Mapping[int, np.ndarray]) -> None:
        """Take a frame from the engine, with the model's scores of its masks.

        Args:
            result: what the engine gave.
            written: (H, W) bool by object id, what of it was written; another mask than the
                result's, such as one kept from the user, has no scores.
        """
        frame = result.frame_index
        scores = zip(
            result.object_ids, result.masks, result.presence, result.iou_scores, strict=True
        )
        for object_id, mask, presence, iou in scores:
            if object_id not in written:
                continue
            self.measurements.measure(frame, object_id, written[object_id])
            if np.array_equal(written[object_id], mask):
                self.measurements.score(frame, object_id, float(presence), float(iou))
        self._version += 1

    def measure(self, frame: int) -> None:
        """Measure a frame after its masks were changed by the user.

        An object that is not there and was not there before stays "not known".
        """
        for style in self._masks.objects:
            mask = self._masks.mask(frame, style.id)
            if mask.any() or self.measurements.knows(frame, style.id):
                self.measurements.measure(frame, style.id, mask)
        self._version += 1

    def measure_all(self) -> None:
        """Measure all masks, such as those of a scene that was made without a review."""
        for frame in range(self._masks.video.frame_count):
            self.measure(frame)

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self.measurements.remove(object_id)
        self._version += 1

    # what is doubtful

    @property
    def thresholds(self) -> Thresholds:
        """When a frame is doubtful; saved with the scene."""
        return self.nodes.thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        self.nodes.thresholds = thresholds

    @property
    def stretches(self) -> list[Stretch]:
        """The doubtful stretches, in the order of frames."""
        if self._found[0] != self._state:
            found = doubtful_stretches(
                self.measurements, self.thresholds, list(self._good), list(self._bad)
            )
            self._found = (self._state, found)
        return self._found[1]

    def next_doubtful(self, step: int = 1) -> int | None:
        """Where the next doubtful stretch after the shown frame begins; with -1 before it."""
        return next_doubtful(self.stretches, self._masks.video.current_frame, step)

    # the scene

    def publish(self) -> bool:
        """Bring tables and charts in the scene up to date; False when they were.

        Those that were deleted are made anew. A scene in which nothing was measured gets none.
        """
        if not self.measurements.object_ids:
            return False
        if self._published == self._state and self.nodes.complete:
            return False
        self.nodes.save(self.measurements, self.stretches)
        self._published = self._state
        return True

    @property
    def _state(self) -> object:
        """Differs when something to publish does."""
        marks = (tuple(self._good), tuple(self._bad))
        return self._version, self._masks.objects, marks, self.thresholds
