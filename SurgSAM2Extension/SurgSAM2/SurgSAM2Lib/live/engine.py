"""The engine process of a live session, its model, and the pictures it is segmenting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from surgsam2.engine import (
    ConnectionChanged,
    Died,
    EngineClient,
    Event,
    Failed,
    LiveTracked,
    ModelLoaded,
    Ready,
)
from surgsam2.errors import SurgSAM2Error
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.source import LivePicture

QUICK = 40.0
"""A model that needs fewer milliseconds per picture gets a second one before the first is done."""


@dataclass(frozen=True, eq=False)
class LivePrompt:
    """A prompt, and the picture that it was made on.

    Attributes:
        object_id: id of the object.
        parts: points, box or mask, name and colour, as arguments of `PromptSet.add`.
        image: the picture, (H, W, 3) uint8 RGB.
        index: number of segmented pictures before the picture; None when the picture is the
            newest one at the time of sending.
    """

    object_id: int
    parts: dict[str, Any]
    image: np.ndarray
    index: int | None

    def as_set(self, index: int) -> PromptSet:
        """Return a prompt set with this prompt on a frame."""
        return PromptSet().add(object_id=self.object_id, frame=index, **self.parts)


class LiveEngine:
    """Sends pictures and prompts to the engine process and takes the results.

    No method blocks. `has_room` says when to give a picture: a slow model gets one picture
    at a time, so that each is as new as possible; a quick model gets the next one early, so
    that it never waits.

    Args:
        make_client: makes an `EngineClient` that has not been started.
        options: the model.
        tracking: how masks are made and which memories are kept.
        on_message: called with a text when a prompt could not be used or the engine does not
            answer, and with an empty one when it answers again.
        on_end: called with a text when the session ended, and whether the process died.

    Attributes:
        size: width and height of the pictures; None before the first session.
        ready: the versions in the engine process; None before it has started.
        model: the model; None before it is loaded.
        newest: number of the picture that was segmented last; None before the first.
    """

    def __init__(
        self,
        make_client: Callable[[], EngineClient],
        options: ModelOptions,
        tracking: TrackingOptions,
        on_message: Callable[[str], None],
        on_end: Callable[[str, bool], None],
    ) -> None:
        self._client = make_client()
        self._options, self._tracking = options, tracking
        self._on_message, self._on_end = on_message, on_end
        self._load = self._session = 0  # numbers of the latest requests of these kinds
        self._pending: dict[float, LivePicture] = {}
        self._prompts: list[LivePrompt] = []
        self._prompt_requests: set[int] = set()  # numbers of the requests with prompts
        self._milliseconds = QUICK
        self.size: tuple[int, int] | None = None
        self.ready: Ready | None = None
        self.model: ModelLoaded | None = None
        self.newest: int | None = None

    def begin(self, size: tuple[int, int]) -> None:
        """Begin a session for pictures of this width and height; the model stays loaded."""
        if not self._client.alive:
            self.ready = self.model = None
            self._client.restart()
            self._load = self._client.load_model(self._options)
        self._pending.clear()
        self._prompt_requests.clear()
        self._prompts = [p for p in self._prompts if p.image.shape[1::-1] == size]
        self.newest, self.size = None, size
        self._session = self._client.start_live(*size, self._tracking)

    def close(self) -> None:
        """End the process."""
        self._client.close()

    @property
    def waiting(self) -> int:
        """Number of pictures whose results have not come yet."""
        return len(self._pending)

    @property
    def has_room(self) -> bool:
        """Whether a picture that is given now is segmented at once or soon."""
        limit = 2 if self._milliseconds < QUICK else 1
        return self.model is not None and len(self._pending) < limit

    def give(self, picture: LivePicture) -> None:
        """Segment a picture of the session's size."""
        self._pending[picture.stamp] = picture
        self._client.live_frame(picture.pixels, picture.stamp)

    def prompt(self, prompt: LivePrompt) -> None:
        """Begin or correct an object, when the first picture of the session is segmented."""
        self._prompts.append(prompt)
        self._send_prompts()

    def remove(self, object_id: int) -> None:
        """Stop following an object."""
        self._prompts = [p for p in self._prompts if p.object_id != object_id]
        if self.newest is not None:
            self._client.live_remove(object_id)

    def poll(self, timeout: float = 0.0) -> list[tuple[LivePicture, FrameResult]]:
        """Return the pictures that were segmented and their masks, in order.

        Args:
            timeout: seconds to wait at most for the first.
        """
        results = []
        for event in self._client.poll(timeout):
            if isinstance(event, LiveTracked):
                results += self._take_result(event)
            else:
                self._take(event)
        if results:
            self._send_prompts()
        return results

    def _take_result(self, event: LiveTracked) -> list[tuple[LivePicture, FrameResult]]:
        if event.request != self._session:
            return []  # it belongs to an earlier session
        picture = self._pending.get(event.stamp)
        # the engine process has dropped the pictures before this one
        self._pending = {k: v for k, v in self._pending.items() if k > event.stamp}
        self.newest = event.result.frame_index
        self._milliseconds = event.result.milliseconds
        return [] if picture is None else [(picture, event.result)]

    def _take(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.ready = event
        elif isinstance(event, ModelLoaded):
            self.model = event
        elif isinstance(event, ConnectionChanged):
            self._on_message("" if event.state == "connected" else event.message)
        elif isinstance(event, Died):
            text = _("The engine stopped unexpectedly (exit code {code}).")
            self._on_end(text.format(code=event.exit_code), True)
        elif isinstance(event, Failed):
            if event.request in (None, self._load, self._session):
                self._on_end(event.message, False)
            elif event.request in self._prompt_requests:
                self._on_message(event.message)

    def _send_prompts(self) -> None:
        if self.newest is None:
            return
        prompts, self._prompts = self._prompts, []
        for prompt in prompts:
            index = self.newest if prompt.index is None else min(prompt.index, self.newest)
            try:
                request = self._client.live_prompts(prompt.as_set(index), prompt.image)
                self._prompt_requests.add(request)
            except SurgSAM2Error as error:
                self._on_message(str(error))
