"""Trackers that are given one frame after another by an application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surgsam2.engine.protocol.events import Finished, Stepped, TrackerChanged
from surgsam2.engine.protocol.messages import Message, Request, wire_name
from surgsam2.engine.protocol.requests import (
    ConditionTracker,
    EndTracker,
    ForgetPrompted,
    RemoveFromTracker,
    StartTracker,
    StepTracker,
)
from surgsam2.engine.server.request_queue import QueuedRequest
from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.tracker import Tracker

MAX_TRACKERS = 64
"""Trackers that one application may have at once."""


class StepTrackers:
    """The trackers of one application, by the number of the request that made each.

    Args:
        model: returns the model that is loaded.
        send: sends an event.
    """

    def __init__(
        self, model: Callable[[], SurgSAM2Model], send: Callable[[Message], object]
    ) -> None:
        self._model = model
        self._send = send
        self._trackers: dict[int, Tracker] = {}
        self.handlers: dict[type[Request], Callable[[QueuedRequest, Any], None]] = {
            StartTracker: self._start,
            StepTracker: self._step,
            ConditionTracker: self._condition,
            RemoveFromTracker: self._remove,
            ForgetPrompted: self._forget,
            EndTracker: self._end,
        }
        """What carries out each kind of request."""

    def clear(self) -> None:
        """Forget all trackers, such as those of another model."""
        self._trackers.clear()

    def _start(self, queued: QueuedRequest, request: StartTracker) -> None:
        if len(self._trackers) >= MAX_TRACKERS:
            raise InputError(f"{MAX_TRACKERS} trackers run already; give up one of them first")
        tracker = Tracker(
            self._model(),
            request.width,
            request.height,
            reverse=request.reverse,
            frame_count=request.frame_count,
            options=request.options,
        )
        self._trackers[queued.number] = tracker
        self._changed(queued, tracker)

    def _step(self, queued: QueuedRequest, request: StepTracker) -> None:
        tracker = self._tracker(request.tracker)
        tracker.frame_index = request.frame
        result = tracker.step(request.image, request.prompts)
        self._send(Stepped(queued.number, result, tracker.object_ids))

    def _condition(self, queued: QueuedRequest, request: ConditionTracker) -> None:
        tracker = self._tracker(request.tracker)
        tracker.condition(request.image, request.frame, request.prompts, request.only)
        self._changed(queued, tracker)

    def _remove(self, queued: QueuedRequest, request: RemoveFromTracker) -> None:
        tracker = self._tracker(request.tracker)
        tracker.frame_index = request.frame
        tracker.remove_object(request.object_id)
        self._changed(queued, tracker)

    def _forget(self, queued: QueuedRequest, request: ForgetPrompted) -> None:
        tracker = self._tracker(request.tracker)
        tracker.forget_prompted(request.newest)
        self._changed(queued, tracker)

    def _end(self, queued: QueuedRequest, request: EndTracker) -> None:
        self._trackers.pop(request.tracker, None)
        self._send(Finished(queued.number, wire_name(EndTracker), "complete"))

    def _changed(self, queued: QueuedRequest, tracker: Tracker) -> None:
        self._send(TrackerChanged(queued.number, tracker.object_ids))

    def _tracker(self, number: int) -> Tracker:
        if number not in self._trackers:
            raise InputError("the tracker has ended on the other machine; make a new one")
        return self._trackers[number]
