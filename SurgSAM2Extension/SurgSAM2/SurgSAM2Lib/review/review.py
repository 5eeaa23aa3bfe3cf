"""The measurements of the masks of a video, and the frames that they make doubtful."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from surgsam2.mrml import MaskNodes, ReviewNodes
from surgsam2.results.frame_result import FrameResult
from surgsam2.results.review import (
    QUANTITIES,
    Measurements,
    Reason,
    Stretch,
    doubtful_stretches,
    next_doubtful,
)
from surgsam2.results.thresholds import Thresholds


class Review:
    """Measures masks as they come and finds doubtful frames; `publish` puts both in the scene.

    Args:
        masks: the mask nodes of the video. Measurements saved with the scene are read from it.
        good: the frames that the user marked as good.
        bad: the frames that the user marked as bad.
        absent: returns the frames on which the user said that an object is not visible.
    """

    def __init__(
        self,
        masks: MaskNodes,
        good: Collection[int],
        bad: Collection[int],
        absent: Callable[[int], Collection[int]],
    ) -> None:
        self._masks = masks
        self._good, self._bad, self._absent = good, bad, absent
        self.nodes = ReviewNodes(masks)
        self.measurements: Measurements = self.nodes.load()
        self._version = 0
        self._found: tuple[object, list[Stretch]] = (None, [])
        self._published: object = self._state if self.nodes.table is not None else None

    # measuring

    def observe(self, result: FrameResult, written: Mapping[int, np.ndarray]) -> None:
        """Measure the masks of a tracked frame, and keep the model's scores of them.

        Args:
            result: what the engine gave.
            written: the masks that were written, (H, W) bool by object id. A mask that is not
                the result's, such as one that the user painted, has no scores.
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
        """Measure a frame after the user changed its masks.

        An object without a mask that was not measured before stays unknown.
        """
        for style in self._masks.objects:
            mask = self._masks.mask(frame, style.id)
            if mask.any() or self.measurements.knows(frame, style.id):
                self.measurements.measure(frame, style.id, mask)
        self._version += 1

    def measured(self, object_id: int) -> dict[str, np.ndarray]:
        """Return all that was measured of an object, (frame_count,) float32 by quantity."""
        return {name: self.measurements.of(object_id, name).copy() for name in QUANTITIES}

    def put(self, object_id: int, measured: Mapping[str, np.ndarray]) -> None:
        """Take back what `measured` returned."""
        for name, values in measured.items():
            self.measurements.put(object_id, name, values)
        self._version += 1

    def remove(self, object_id: int) -> None:
        """Drop the measurements of an object."""
        self.measurements.remove(object_id)
        self._version += 1

    # what is doubtful

    @property
    def thresholds(self) -> Thresholds:
        """The limits beyond which a frame is doubtful; they are saved with the scene."""
        return self.nodes.thresholds

    @thresholds.setter
    def thresholds(self, thresholds: Thresholds) -> None:
        self.nodes.thresholds = thresholds

    @property
    def stretches(self) -> list[Stretch]:
        """The doubtful stretches of frames, in ascending order."""
        if self._found[0] != self._state:
            found = doubtful_stretches(
                self.measurements, self.thresholds, list(self._good), list(self._bad)
            )
            self._found = (self._state, [s for s in found if not self._is_expected(s)])
        return self._found[1]

    def next_doubtful(self, step: int = 1) -> int | None:
        """Return the first frame of a doubtful stretch beside the frame that is shown.

        Args:
            step: 1 for the next stretch, -1 for the one before.

        Returns:
            The frame; None when there is no such stretch.
        """
        return next_doubtful(self.stretches, self._masks.video.current_frame, step)

    # the scene

    def publish(self) -> bool:
        """Bring the tables and charts in the scene up to date.

        Nodes that were deleted are made anew. A scene without measurements gets none.

        Returns:
            Whether anything had to be changed.
        """
        if not self.measurements.object_ids:
            return False
        if self._published == self._state and self.nodes.complete:
            return False
        self.nodes.save(self.measurements, self.stretches)
        self._published = self._state
        return True

    def _is_expected(self, stretch: Stretch) -> bool:
        """Return whether the user has said that an object disappears, or is back, there."""
        if stretch.object_id is None or Reason.BAD in stretch.reasons:
            return False
        absent = self._absent(stretch.object_id)
        return bool(absent) and all(f in absent or f - 1 in absent for f in stretch.frames)

    @property
    def _state(self) -> object:
        """A value that differs whenever there is something new to publish."""
        absent = tuple(tuple(self._absent(style.id)) for style in self._masks.objects)
        marks = (tuple(self._good), tuple(self._bad), absent)
        return self._version, self._masks.objects, marks, self.thresholds
