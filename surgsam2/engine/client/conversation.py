"""One process of the engine, and what was asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.client.frame_sources import FrameServer, LiveFeed
from surgsam2.engine.client.process import Child
from surgsam2.engine.protocol.event_parsing import Answers
from surgsam2.engine.protocol.events import (
    Event,
    Failed,
    Finished,
    FrameRead,
    LiveTracked,
    Tracked,
    VideoOpened,
)
from surgsam2.engine.protocol.messages import Message

_BUDGET = 0.01
"""Seconds that `take` works through what has arrived before it leaves the rest for the next."""


class Conversation:
    """A process from its start to its end, with the frames that it may ask for.

    Args:
        python: interpreter to start.
        environment: its environment variables; None takes this process's own.

    Raises:
        ChildError: it cannot be started.
    """

    def __init__(self, python: str, environment: Mapping[str, str] | None) -> None:
        self.child = Child(python, environment)
        self.muted = 0
        """Results of requests up to this one are not wanted any more."""
        self.explained = False
        """Whether the process has said why it cannot go on."""
        self._answers = Answers(Path(self.child.folder), self._release)
        self._frames: dict[int, FrameServer] = {}  # by request: the open one, and those to be
        self._live: LiveFeed | None = None
        self._ended = False

    def send(self, type_: str, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Send now or later; `ProtocolError` when it cannot be a message."""
        if not self._ended:
            self.child.send(type_, header, blobs)

    def serve_frames(
        self, number: int, width: int, height: int, read: Callable[[int], np.ndarray]
    ) -> dict[str, Any]:
        """Hand out frames for request `number`; the header fields that say where they will be."""
        server = FrameServer(Path(self.child.folder), number, width, height, read)
        self._frames[number] = server
        return server.description

    def feed_live(self, number: int, width: int, height: int) -> dict[str, Any]:
        """Live frames are for request `number` now; header fields as for `serve_frames`."""
        self._live = LiveFeed(Path(self.child.folder), number, width, height)
        return self._live.description

    def live_frame(self, image: np.ndarray, stamp: float) -> None:
        """Pass on the newest live frame."""
        if self._live is not None:
            self._live.give(image, stamp, self.send)

    def take(self, timeout: float, events: list[Event]) -> None:
        """Wait at most `timeout` seconds, then work on what has arrived; adds events.

        Raises:
            ChildError, ProtocolError: the process cannot be understood.
        """
        self.child.wait(timeout)
        end = time.perf_counter() + _BUDGET
        while not self._ended and (message := self.child.next_message()) is not None:
            self._take(message, events)
            if time.perf_counter() > end:
                return

    def end(self) -> None:
        """End the process at once, and remove its files."""
        self._ended = True
        self._frames, self._live = {}, None
        self.child.close()

    def _take(self, message: Message, events: list[Event]) -> None:
        if message.kind == "want":
            if server := self._frames.get(message.get("video", int)):
                server.answer(message, self.send)
        elif message.kind == "live_free":
            if self._live is not None and message.get("live", int) == self._live.number:
                self._live.freed(message, self.send)
        elif (event := self._answers.event(message)) is not None:
            if isinstance(event, Tracked | LiveTracked | FrameRead) and event.request <= self.muted:
                return
            if isinstance(event, VideoOpened):
                self._frames = {k: v for k, v in self._frames.items() if k >= event.request}
            elif isinstance(event, Failed | Finished) and event.request is not None:
                self._frames.pop(event.request, None)
            elif isinstance(event, Failed):
                self.explained = True
            if isinstance(event, LiveTracked) and self._live is not None:
                event = replace(event, dropped=event.dropped + self._live.dropped)
            events.append(event)

    def _release(self, block: str, slot: int) -> None:
        self.send("release", {"block": block, "slot": slot})
