"""A live session: the newest frame is segmented, older ones that wait are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from surgsam2.engine.protocol.shared_memory import SharedBlock
from surgsam2.errors import PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.prompts.prompt import prompt_rows
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.tracker import Tracker

KEPT_PROMPTED = 4
"""Prompted frames that an object keeps besides its first, however long the session is."""

_PATIENCE = 0.02
"""Seconds between two looks at whether there are other requests."""


class NewestFrame:
    """At most one frame that waits; a newer one takes its place.

    Args:
        give_back: tells the application that it may write to a slot again.
    """

    def __init__(self, block: SharedBlock, give_back: Callable[[int], None]) -> None:
        self._block = block
        self._give_back = give_back
        self._waiting: tuple[int, float] | None = None
        self._changed = threading.Condition()
        self.dropped = 0
        """Frames that were replaced while they waited."""

    def put(self, slot: int, stamp: float) -> None:
        """A new frame. Called by the reader. `ProtocolError` for a slot there is not."""
        self._block.slot(slot)
        with self._changed:
            older, self._waiting = self._waiting, (slot, stamp)
            self.dropped += older is not None
            self._changed.notify_all()
        if older is not None:
            self._give_back(older[0])

    def take(self, height: int, width: int, patience: float) -> tuple[np.ndarray, float] | None:
        """(H, W, 3) uint8, a copy, and its stamp; None when none comes for `patience` seconds."""
        with self._changed:
            if self._waiting is None:
                self._changed.wait(patience)
            if self._waiting is None:
                return None
            (slot, stamp), self._waiting = self._waiting, None
        frame = self._block.slot(slot).reshape(height, width, 3).copy()
        self._give_back(slot)
        return frame, stamp


class LiveSession:
    """The tracker of a live session, and the prompts that wait for its next frame."""

    def __init__(self, model: SurgSAM2Model, width: int, height: int, frames: NewestFrame) -> None:
        self.frames = frames
        self._tracker = Tracker(model, width, height)
        self._pending: PromptSet | None = None

    def prompt(self, prompts: PromptSet, image: np.ndarray | None) -> None:
        """Begin or correct objects, on the next frame, or on the `image` the user looked at.

        Raises:
            PromptError: not exactly one frame is prompted, or a prompt does not fit it.
            InputError: the image has another size.
        """
        tracker = self._tracker
        prompts.validate(tracker.width, tracker.height)
        if len(prompts.frames) != 1:
            raise PromptError(
                f"live prompts must all be on one frame, got frames {list(prompts.frames)}"
            )
        if image is None:
            together = _moved(self._pending or PromptSet(), tracker.frame_index)
            self._pending = _moved(prompts, tracker.frame_index, together)
        else:
            index = min(prompts.frames[0], tracker.frame_index)
            tracker.condition(image, index, _moved(prompts, index))
            tracker.forget_prompted(KEPT_PROMPTED)

    def remove(self, object_id: int) -> None:
        """Forget an object. `InputError` when it is not tracked."""
        if self._pending is not None and object_id in self._pending:
            self._pending.remove(object_id)
            if object_id not in self._tracker.object_ids:
                return
        self._tracker.remove_object(object_id)

    def step(self, frame: np.ndarray) -> FrameResult:
        """Segment a frame."""
        pending, self._pending = self._pending, None
        result = self._tracker.step(frame, pending or None)
        self._tracker.forget_prompted(KEPT_PROMPTED)
        return result

    def results(self, between: Callable[[], None]) -> Iterator[tuple[float, FrameResult]]:
        """Stamp and result of each frame that is segmented, for ever.

        Args:
            between: called before each frame, and while none comes.
        """
        while True:
            newest = self.frames.take(self._tracker.height, self._tracker.width, _PATIENCE)
            between()  # prompts that came before the frame count on it
            if newest is not None:
                frame, stamp = newest
                yield stamp, self.step(frame)


def _moved(prompts: PromptSet, frame: int, onto: PromptSet | None = None) -> PromptSet:
    """The same prompts, all on `frame`, added to `onto`."""
    result = PromptSet() if onto is None else onto
    for obj in prompts:
        for prompt in obj.prompts:
            result.add(
                object_id=obj.id,
                frame=frame,
                points=prompt_rows(prompt) or None,
                box=prompt.box,
                mask=prompt.mask,
                name=obj.name,
                color=obj.color,
            )
    return result
