"""`FakeClient`: an engine client without a process, which draws discs at the prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import surgsam2
from surgsam2.engine import (
    Died,
    Event,
    Failed,
    Finished,
    ModelLoaded,
    Previewed,
    Ready,
    Refined,
    Tracked,
    VideoOpened,
)
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import Prompt, PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from tests.conftest import disc

RADIUS = 10


class FakeClient:
    """Has the methods of `EngineClient`. Each `poll` gives one event, as from a slow engine."""

    def __init__(self) -> None:
        self.alive = False
        self.starts = 0
        self.sent: list[str] = []
        self.fail_next: str | None = None
        """Text with which the next request fails."""
        self.readable = 10**9
        """A track ends after so many frames, as of a file that was cut off."""
        self._number = 0
        self._events: deque[Event] = deque()
        self._running: tuple[int, str] | None = None

    def start(self) -> None:
        self.alive = True
        self.starts += 1
        self._events.append(Ready("3.12.0", "2.5.1", "0.1.0", 1))

    def restart(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        self.alive = False
        self._events.clear()

    def kill(self) -> None:
        """Behave as if the process had been killed."""
        self.alive = False
        self._events.clear()
        self._events.append(Died(-9, "killed"))

    def tell(self, event: Event) -> None:
        """Give an event with the next look."""
        self._events.appendleft(event)

    def load_model(self, options: ModelOptions) -> int:
        number = self._request("load_model")
        return self._reply(number, ModelLoaded(number, options.model, "cpu", "float32", 512, True))

    def open_frames(
        self,
        frame_count: int,
        width: int,
        height: int,
        fps: float,
        read: Callable[[int], np.ndarray],
    ) -> int:
        number = self._request("open_frames")
        self._size = (width, height)
        self._frame_count, self._read = frame_count, read
        return self._reply(
            number, VideoOpened(number, "frames", width, height, fps, frame_count, ())
        )

    def open_video(self, path: str | Path) -> int:
        number = self._request("open_video")
        with surgsam2.open_video(path) as video:
            size = video.width, video.height
            count, fps = video.frame_count, video.fps
        self._size, self._frame_count = size, count
        self._read = lambda frame: None
        return self._reply(number, VideoOpened(number, str(path), *size, fps, count, ()))

    def preview(self, frame: int, prompts: PromptSet) -> int:
        number = self._request("preview")
        masks = {i: self._mask(p) for i, p in prompts.on_frame(frame).items()}
        sure = dict.fromkeys(masks, 0.9)
        return self._reply(number, Previewed(number, frame, masks, sure, sure))

    def refine(
        self,
        frame: int,
        object_id: int,
        mask: np.ndarray,
        points: Sequence[Sequence[float]] | np.ndarray,
    ) -> int:
        number = self._request("refine")
        result = mask.copy()
        for x, y, label in np.asarray(points).tolist():
            result[disc(*self._size, int(x), int(y), RADIUS)] = bool(label)
        return self._reply(number, Refined(number, frame, object_id, result, 0.9, 0.9))

    def track(self, prompts: PromptSet, options: TrackingOptions | None = None) -> int:
        options = options or TrackingOptions()
        direction, start, stop = options.direction, options.start, options.stop
        number = self._request("track")
        first = prompts.frames[0] if start is None else start
        last = self._frame_count if stop is None else stop
        frames = list(range(first, last))
        if direction == "backward":
            first = 0 if start is None else start
            frames = list(range(first, last))[::-1]
        done = 0
        for done, frame in enumerate(frames[: self.readable], 1):
            self._read(frame)
            ids = tuple(item.id for item in prompts)
            masks = [self._at(prompts.for_object(i).prompts, frame) for i in ids]
            sure = np.full(len(ids), 0.9, np.float32)
            result = FrameResult(frame, ids, np.stack(masks), sure, sure)
            self._events.append(Tracked(number, result, done, len(frames), 10.0))
        return self._reply(number, Finished(number, "track", "complete", done, len(frames)))

    def cancel(self) -> None:
        self.sent.append("cancel")
        if self._running is not None:
            self._events.clear()
            number, kind = self._running
            self._events.append(Finished(number, kind, "cancelled"))

    def poll(self, timeout: float = 0.0) -> list[Event]:
        return [self._events.popleft()] if self._events else []

    def _request(self, kind: str) -> int:
        self._number += 1
        self.sent.append(kind)
        self._running = (self._number, kind)
        return self._number

    def _reply(self, number: int, event: Event) -> int:
        if self.fail_next is not None:
            event, self.fail_next = Failed(number, self.fail_next, "input"), None
            self._events = deque(e for e in self._events if getattr(e, "request", 0) != number)
        self._events.append(event)
        return number

    def _at(self, prompts: Sequence[Prompt], frame: int) -> np.ndarray:
        """Return the mask of the last prompt so far, moved right by two pixels per frame."""
        last = max((p for p in prompts if p.frame <= frame), key=lambda p: p.frame, default=None)
        last = last or prompts[0]
        return np.roll(self._mask(last), 2 * (frame - last.frame), axis=1)

    def _mask(self, prompt: Prompt) -> np.ndarray:
        width, height = self._size
        if prompt.mask is not None:
            return prompt.mask
        mask = np.zeros((height, width), bool)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box.round().astype(int)
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
        for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
            mask[disc(width, height, int(x), int(y), RADIUS)] = bool(label)
        return mask
