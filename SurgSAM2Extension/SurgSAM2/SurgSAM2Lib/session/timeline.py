"""The state of every object on every frame, for the timeline."""

from __future__ import annotations

import enum

import numpy as np

from SurgSAM2Lib.session.session import Session


class State(enum.IntEnum):
    """The state of an object on a frame. Where there is room for one only, the largest wins."""

    UNKNOWN = 0
    TRACKED = 1
    ABSENT = 2
    GOOD = 3
    DOUBTFUL = 4
    PROMPTED = 5
    CORRECTED = 6


class Timeline:
    """The states of all objects of a session.

    Args:
        session: the session of the video.

    Attributes:
        rows: the states by object id, (frame_count,) uint8 each, in the order of the objects.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.rows: dict[int, np.ndarray] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Compute all states again."""
        session = self._session
        good = np.fromiter(session.good, np.int64)
        self.rows = {style.id: self._row(style.id, good) for style in session.objects}
        for stretch in session.review.stretches:
            for object_id in self.rows if stretch.object_id is None else [stretch.object_id]:
                if object_id in self.rows:
                    frames = self.rows[object_id][stretch.first : stretch.last + 1]
                    np.maximum(frames, np.uint8(State.DOUBTFUL), out=frames)

    def update(self, frame: int) -> None:
        """Show that a frame was tracked; this takes much less time than `rebuild`."""
        measurements = self._session.review.measurements
        for object_id, row in self.rows.items():
            area = measurements.of(object_id, "area")[frame]
            if np.isfinite(area) and row[frame] <= State.ABSENT:
                row[frame] = State.TRACKED if area > 0 else State.ABSENT

    def _row(self, object_id: int, good: np.ndarray) -> np.ndarray:
        session = self._session
        area = session.review.measurements.of(object_id, "area")
        row = np.full(len(area), State.UNKNOWN, np.uint8)
        row[area > 0] = State.TRACKED
        row[area == 0] = State.ABSENT
        row[np.fromiter(session.absent(object_id), np.int64)] = State.ABSENT
        row[good] = State.GOOD
        for frame in session.prompts.frames(object_id):
            prompt = session.prompts.get(object_id, frame)
            corrected = prompt is not None and prompt.mask is not None
            row[frame] = State.CORRECTED if corrected else State.PROMPTED
        return row
