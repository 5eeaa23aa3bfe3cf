"""A live session: the newest frame is segmented; older ones that wait are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from surgsam2.errors import InputError, PromptError
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.prompts.prompt import prompt_rows
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.tracker import Tracker

KEPT_PROMPTED = 4
"""Prompted frames that an object keeps besides its first, however long the session is."""
LIVE_FRAMES = 2
"""Live frames that the application may have sent before the engine takes one."""

_LOOK_SECONDS = 0.02
"""Seconds between two looks at whether there are other requests."""


class NewestFrame:
    """Holds at most one frame that waits; a newer one takes its place.

    Args:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        on_room: called when the application may send one more frame.
    """

    def __init__(self, width: int, height: int, on_room: Callable[[], None]) -> None:
        self._shape = (height, width, 3)
        self._on_room = on_room
        self._waiting: tuple[np.ndarray, float] | None = None
        self._changed = threading.Condition()
        self.dropped = 0
        """Number of frames that were replaced while they waited."""

    def put(self, image: np.ndarray, stamp: float) -> None:
        """Add a frame; called by the reading thread.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: any number, which is returned with the frame.

        Raises:
            InputError: the image has another size than the session.
        """
        if image.shape != self._shape:
            raise InputError(f"a live frame must be {self._shape}, got {image.shape}")
        with self._changed:
            older, self._waiting = self._waiting, (image, stamp)
            self.dropped += older is not None
            self._changed.notify_all()
        if older is not None:
            self._on_room()

    def take(self, timeout: float) -> tuple[np.ndarray, float] | None:
        """Return the frame that waits, (H, W, 3) uint8, and its stamp.

        Args:
            timeout: seconds to wait for one; then the result is None.
        """
        with self._changed:
            if self._waiting is None:
                self._changed.wait(timeout)
            newest, self._waiting = self._waiting, None
        if newest is not None:
            self._on_room()
        return newest


class LiveSession:
    """The tracker of a live session, and the prompts that wait for its next frame.

    Args:
        model: the model to track with.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        frames: where the frames come from.
        options: how masks are made and which memories are kept; direction and range have no
            effect.

    Raises:
        InputError: the model is too small for the memory policy.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        width: int,
        height: int,
        frames: NewestFrame,
        options: TrackingOptions = TrackingOptions(),  # noqa: B008 - immutable
    ) -> None:
        self.frames = frames
        self.tracker = Tracker(model, width, height, options=options)
        """Tracker of the session."""
        self._pending: PromptSet | None = None

    def prompt(self, prompts: PromptSet, image: np.ndarray | None) -> None:
        """Begin or correct objects.

        Args:
            prompts: prompts on one frame.
            image: (H, W, 3) uint8 RGB, the frame that the user looked at; None is the next
                frame.

        Raises:
            PromptError: not exactly one frame is prompted, or a prompt does not fit it.
            InputError: the image has another size.
        """
        tracker = self.tracker
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
        """Forget an object.

        Raises:
            InputError: the object is not tracked.
        """
        if self._pending is not None and object_id in self._pending:
            self._pending.remove(object_id)
            if object_id not in self.tracker.object_ids:
                return
        self.tracker.remove_object(object_id)

    def step(self, frame: np.ndarray) -> FrameResult:
        """Segment a frame, (H, W, 3) uint8 RGB."""
        pending, self._pending = self._pending, None
        result = self.tracker.step(frame, pending or None)
        self.tracker.forget_prompted(KEPT_PROMPTED)
        return result

    def results(self, between: Callable[[], None]) -> Iterator[tuple[float, FrameResult]]:
        """Yield stamp and result of each frame that is segmented; never ends by itself.

        Args:
            between: called before each frame, and while no frame comes.
        """
        while True:
            newest = self.frames.take(_LOOK_SECONDS)
            between()  # prompts that arrived before the frame count on it
            if newest is not None:
                frame, stamp = newest
                yield stamp, self.step(frame)


def _moved(prompts: PromptSet, frame: int, onto: PromptSet | None = None) -> PromptSet:
    """Return the same prompts, all on `frame`, added to `onto`."""
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
