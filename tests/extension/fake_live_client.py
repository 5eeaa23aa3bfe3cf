"""`FakeLiveClient`: an engine client for live sessions that segments when a test says so.

It knows the answer: every object is the bright disc of `moving_picture`, so the place of a
mask tells which frame it belongs to.
"""

from __future__ import annotations

import numpy as np

from surgsam2.engine import Died, Event, Failed, LiveTracked, ModelLoaded, Ready
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions


def disc_in(picture: np.ndarray) -> np.ndarray:
    """Return the pixels of the disc's colour, (H, W) bool."""
    return (np.abs(picture.astype(int) - (240, 220, 60)) < 12).all(axis=2)


class FakeLiveClient:
    """Has those methods of `EngineClient` that a live session needs."""

    def __init__(self) -> None:
        self.alive = False
        self.loads = 0
        self.sessions: list[tuple[int, int]] = []
        self.options: list[TrackingOptions] = []
        self.prompts: list[tuple[PromptSet, np.ndarray]] = []
        self.removed: list[int] = []
        self.most_waiting = 0
        """Pictures that the application ever had here at once."""
        self.milliseconds = 500.0
        self._waiting: list[tuple[np.ndarray, float]] = []
        self._events: list[Event] = []
        self._number = self._session = self._index = 0
        self._objects: list[int] = []

    # methods for tests

    def segment(self) -> bool:
        """Segment the oldest picture, if there is one."""
        if not self._waiting:
            return False
        picture, stamp = self._waiting.pop(0)
        ids = tuple(self._objects)
        masks = np.repeat(disc_in(picture)[None], len(ids), axis=0)
        sure = np.full(len(ids), 0.9, np.float32)
        result = FrameResult(self._index, ids, masks, sure, sure, self.milliseconds)
        self._index += 1
        self._events.append(LiveTracked(self._session, stamp, result, 0))
        return True

    def die(self) -> None:
        self.alive = False
        self._waiting.clear()
        self._events = [Died(-9, "killed")]

    def fail(self, request: int | None, text: str) -> None:
        self._events.append(Failed(request, text, "memory"))

    def tell(self, event: Event) -> None:
        """Give an event with the next look."""
        self._events.append(event)

    @property
    def session(self) -> int:
        """Number of the request that began the session."""
        return self._session

    # methods of the client

    def restart(self) -> None:
        self.alive = True
        self._events = [Ready("3.12.0", "2.5.1", "0.1.0", 1)]

    def close(self) -> None:
        self.alive = False
        self._events.clear()

    def load_model(self, options: ModelOptions) -> int:
        self.loads += 1
        number = self._request()
        self._events.append(ModelLoaded(number, options.model, "cpu", "float32", 512, True))
        return number

    def start_live(self, width: int, height: int, options: TrackingOptions) -> int:
        self.sessions.append((width, height))
        self.options.append(options)
        self._waiting.clear()
        self._objects, self._index = [], 0
        self._session = self._request()
        return self._session

    def live_frame(self, image: np.ndarray, stamp: float) -> None:
        assert image.shape[1::-1] == self.sessions[-1]
        self._waiting.append((image, stamp))
        self.most_waiting = max(self.most_waiting, len(self._waiting))

    def live_prompts(self, prompts: PromptSet, image: np.ndarray) -> int:
        self.prompts.append((prompts, image))
        self._objects += [item.id for item in prompts if item.id not in self._objects]
        return self._request()

    def live_remove(self, object_id: int) -> int:
        number = self._request()
        self.removed.append(object_id)
        if object_id in self._objects:
            self._objects.remove(object_id)
        else:
            self.fail(number, f"object {object_id} is not tracked")
        return number

    def poll(self, timeout: float = 0.0) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _request(self) -> int:
        self._number += 1
        return self._number
