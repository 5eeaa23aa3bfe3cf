"""The worker of a live session: its process, its model, the pictures on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from surgsam2.engine import Died, EngineClient, Event, Failed, LiveTracked, ModelLoaded, Ready
from surgsam2.errors import SurgSAM2Error
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.source import LivePicture
from SurgSAM2Lib.tracking.model_choice import ModelChoice

QUICK = 40.0
"""Milliseconds for a picture, below which a second one is sent before the first is back."""


@dataclass(frozen=True, eq=False)
class LivePrompt:
    """What the user marked, and the picture it was marked on."""

    object_id: int
    parts: dict[str, Any]
    """Points, box or mask, name and colour, for `PromptSet.add`."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    index: int | None
    """Segmented pictures before it; None: it is the newest when it is sent."""

    def as_set(self, index: int) -> PromptSet:
        return PromptSet().add(object_id=self.object_id, frame=index, **self.parts)


class LiveEngine:
    """Sends the newest picture whenever the worker has room, never one that would wait long.

    Nothing here waits. `has_room` says when to give a picture: a slow model gets one at a
    time, so each is as new as can be; a quick one gets the next before it has finished.

    Args:
        make_client: makes a `EngineClient` that has not been started.
        choice: the model.
        on_refusal: called with a text when a prompt could not be used.
        on_end: called with a text when the session ended, and whether the process died.
    """

    def __init__(
        self,
        make_client: Callable[[], EngineClient],
        choice: ModelChoice,
        on_refusal: Callable[[str], None],
        on_end: Callable[[str, bool], None],
    ) -> None:
        self._client = make_client()
        self._choice = choice
        self._on_refusal, self._on_end = on_refusal, on_end
        self._load = self._session = 0  # numbers of the requests
        self._under_way: dict[float, LivePicture] = {}
        self._prompts: list[LivePrompt] = []
        self._asked: set[int] = set()  # numbers of prompt requests
        self._milliseconds = QUICK
        self.size: tuple[int, int] | None = None
        """Width and height of the session's pictures; None before the first session."""
        self.ready: Ready | None = None
        """What runs in the worker's process."""
        self.model: ModelLoaded | None = None
        """The model, when it is loaded."""
        self.newest: int | None = None
        """Number of the picture in the session that was segmented last."""

    def begin(self, size: tuple[int, int]) -> None:
        """A new session for pictures of this width and height; the model stays loaded."""
        if not self._client.alive:
            self.ready = self.model = None
            self._client.restart()
            self._load = self._client.load_model(
                self._choice.name_or_path, **self._choice.options()
            )
        self._under_way.clear()
        self._asked.clear()
        self._prompts = [p for p in self._prompts if p.image.shape[1::-1] == size]
        self.newest, self.size = None, size
        self._session = self._client.start_live(*size)

    def close(self) -> None:
        """End the process."""
        self._client.close()

    @property
    def waiting(self) -> int:
        """Pictures that were given and are not back."""
        return len(self._under_way)

    @property
    def has_room(self) -> bool:
        """Whether a picture that is given now is segmented at once or very soon."""
        limit = 2 if self._milliseconds < QUICK else 1
        return self.model is not None and len(self._under_way) < limit

    def give(self, picture: LivePicture) -> None:
        """Segment a picture of the session's size."""
        self._under_way[picture.stamp] = picture
        self._client.live_frame(picture.pixels, picture.stamp)

    def prompt(self, prompt: LivePrompt) -> None:
        """Begin or correct an object. Waits for the session's first picture if need be."""
        self._prompts.append(prompt)
        self._send_prompts()

    def remove(self, object_id: int) -> None:
        """Follow an object no more."""
        self._prompts = [p for p in self._prompts if p.object_id != object_id]
        if self.newest is not None:
            self._client.live_remove(object_id)

    def poll(self, timeout: float = 0.0) -> list[tuple[LivePicture, FrameResult]]:
        """What was segmented since, in order; waits at most `timeout` seconds for it."""
        results = []
        for event in self._client.poll(timeout):
            if isinstance(event, LiveTracked):
                results += self._answered(event)
            else:
                self._take(event)
        if results:
            self._send_prompts()
        return results

    def _answered(self, event: LiveTracked) -> list[tuple[LivePicture, FrameResult]]:
        if event.request != self._session:
            return []  # of the session before
        picture = self._under_way.get(event.stamp)
        # those before it were passed over in the worker
        self._under_way = {k: v for k, v in self._under_way.items() if k > event.stamp}
        self.newest = event.result.frame_index
        self._milliseconds = event.result.milliseconds
        return [] if picture is None else [(picture, event.result)]

    def _take(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.ready = event
        elif isinstance(event, ModelLoaded):
            self.model = event
        elif isinstance(event, Died):
            text = _("The engine stopped unexpectedly (exit code {code}).")
            self._on_end(text.format(code=event.exit_code), True)
        elif isinstance(event, Failed):
            if event.request in (None, self._load, self._session):
                self._on_end(event.message, False)
            elif event.request in self._asked:
                self._on_refusal(event.message)

    def _send_prompts(self) -> None:
        if self.newest is None:
            return
        prompts, self._prompts = self._prompts, []
        for prompt in prompts:
            index = self.newest if prompt.index is None else min(prompt.index, self.newest)
            try:
                request = self._client.live_prompts(prompt.as_set(index), prompt.image)
                self._asked.add(request)
            except SurgSAM2Error as error:
                self._on_refusal(str(error))
