"""A track in progress: results of the engine become masks of the project."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState
from surgsam2.engine import Event, Failed, Finished, Progress, Tracked
from surgsam2.results.frame_result import FrameResult

_REPORT_SECONDS = 0.1
"""Least time between two reports of progress to the page."""


class ProjectTrack:
    """Takes the events of one track; all its masks are one step of the project's history.

    Args:
        project: the project whose masks are made.
        report: passes an event on to the page.
        ended: called when the track is over, whatever the reason.
    """

    def __init__(
        self,
        project: Project,
        report: Callable[[dict[str, Any]], None],
        ended: Callable[[], None],
    ) -> None:
        self._project = project
        self._report = report
        self._ended = ended
        self._over = False
        self._done = self._total = 0
        self._fps = 0.0
        self._frames: set[int] = set()  # whose masks the page was not told of yet
        self._reported = 0.0
        project.begin_change("track")
        report({"type": "tracking", "running": True})

    def take(self, event: Event) -> None:
        """Take an event of the engine.

        Raises:
            OutputError: a mask cannot be written.
        """
        if self._over:
            return
        if isinstance(event, Tracked | Progress):
            self._done, self._total, self._fps = event.done, event.total, event.fps
        if isinstance(event, Tracked):
            self._write(event.result)
            self._frames.add(event.result.frame_index)
        if isinstance(event, Failed):
            self.end("failed")
        elif isinstance(event, Finished):
            self.end(event.status)
        elif time.monotonic() - self._reported > _REPORT_SECONDS:
            self._report_progress()

    def end(self, status: str) -> None:
        """End the track; the masks so far are kept."""
        if self._over:
            return
        self._over = True
        self._report_progress()
        self._project.end_change()
        self._ended()  # first, so that a page that sees the end knows that masks are not yet saved
        self._report({"type": "tracking", "running": False, "status": status})

    def _write(self, result: FrameResult) -> None:
        """Write the masks of a frame, but those of objects that a person decided there."""
        frame = result.frame_index
        lines = self._project.timelines
        rows = {
            object_id: row
            for row, object_id in enumerate(result.object_ids)
            if not lines[object_id].is_protected(frame)
        }
        if not rows:
            return
        self._project.set_masks(frame, {i: result.masks[row] for i, row in rows.items()})
        for object_id, row in rows.items():
            if result.masks[row].any():
                score = float(result.iou_scores[row])
                lines[object_id].put(frame, FrameState.TRACKED, score)
            else:
                lines[object_id].put(frame, FrameState.EMPTY)

    def _report_progress(self) -> None:
        self._reported = time.monotonic()
        frames, self._frames = sorted(self._frames), set()
        self._report(
            {
                "type": "progress",
                "done": self._done,
                "total": self._total,
                "fps": self._fps,
                "frames": frames,
            }
        )
