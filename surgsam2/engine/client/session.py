"""One engine from its start to its end, and the frames that it may ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from surgsam2.engine.client.frame_sources import FrameServer, LiveFeed
from surgsam2.engine.client.upload import FileUpload
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
from surgsam2.engine.protocol.requests import ChunkWanted, FrameWanted, LiveCredit
from surgsam2.engine.transport.base import Transport
from surgsam2.errors import InputError

_BUDGET_SECONDS = 0.01
"""How long `take` works on what has arrived before it leaves the rest for the next call."""


class Session:
    """An engine, what was asked of it, and the frames that the application hands out.

    Args:
        transport: the connection to the engine; the session closes it.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.unwanted = 0
        """Results of requests up to this number are dropped."""
        self.explained = False
        """Whether the engine has reported why it cannot go on."""
        self._frames: dict[int, FrameServer] = {}  # by request; some videos are not open yet
        self._live: LiveFeed | None = None
        self._upload: FileUpload | None = None
        self._ended = False

    def send(self, message: Message) -> None:
        """Send a message now or later; see `Transport.send`."""
        if not self._ended:
            self.transport.send(message)

    def serve_frames(
        self, number: int, width: int, height: int, read: Callable[[int], np.ndarray]
    ) -> None:
        """Hand out frames of the video that request `number` opens; see `FrameServer`."""
        self._frames[number] = FrameServer(number, width, height, read)

    def upload(self, number: int, path: Path) -> None:
        """Send a video file for request `number`; see `FileUpload`.

        Raises:
            InputError: the file cannot be read, or is no single file.
        """
        if self._upload is not None:
            self._upload.close()
        self._upload = FileUpload(number, path)

    def feed_live(self, number: int, width: int, height: int) -> None:
        """Send live frames for request `number` from now on; see `LiveFeed`."""
        compressed = self.transport.is_remote
        self._live = LiveFeed(number, width, height, compressed=compressed)

    def live_frame(self, image: np.ndarray, stamp: float) -> None:
        """Send the newest live frame; see `LiveFeed.give`."""
        if self._live is not None:
            self._live.give(image, stamp, self.send)

    def take(self, timeout: float, events: list[Event]) -> None:
        """Wait for messages, then work on what has arrived.

        Args:
            timeout: seconds to wait at most.
            events: a list that events are appended to.

        Raises:
            EngineError: the engine cannot be understood or reached.
            ProtocolError: a message cannot be sent.
        """
        hashing = self._upload is not None and not self._upload.hashed
        self.transport.wait(0.0 if hashing else timeout)
        if self._upload is not None and not self._upload.hashed:
            self._hash(self._upload, events)
        end = time.perf_counter() + _BUDGET_SECONDS
        while not self._ended and (message := self.transport.next_message()) is not None:
            self._take(message, events)
            if time.perf_counter() > end:
                return

    def end(self) -> None:
        """End the engine at once."""
        self._ended = True
        self._frames, self._live = {}, None
        if self._upload is not None:
            self._upload.close()
        self.transport.close()

    def _hash(self, upload: FileUpload, events: list[Event]) -> None:
        try:
            upload.step(_BUDGET_SECONDS, self.send)
        except InputError as error:
            self._upload = None
            events.append(Failed(upload.number, str(error), "input"))

    def _take(self, message: Message, events: list[Event]) -> None:
        if isinstance(message, FrameWanted):
            if server := self._frames.get(message.video):
                server.give(message, self.send)
        elif isinstance(message, ChunkWanted):
            if self._upload is not None and message.upload == self._upload.number:
                self._upload.give(message, self.send)
        elif isinstance(message, LiveCredit):
            if self._live is not None and message.live == self._live.number:
                self._live.add_credit(message.frames, self.send)
        elif isinstance(message, get_args(Event)):
            self._take_event(message, events)

    def _take_event(self, event: Event, events: list[Event]) -> None:
        if isinstance(event, Tracked | LiveTracked | FrameRead) and event.request <= self.unwanted:
            return
        if isinstance(event, VideoOpened):
            self._frames = {k: v for k, v in self._frames.items() if k >= event.request}
            event = self._named(event)
        elif isinstance(event, Failed | Finished) and event.request is not None:
            self._frames.pop(event.request, None)
        elif isinstance(event, Failed):
            self.explained = True
        if isinstance(event, LiveTracked) and self._live is not None:
            event = replace(event, dropped=event.dropped + self._live.dropped)
        events.append(event)

    def _named(self, event: VideoOpened) -> VideoOpened:
        """Return the event with the name of a file that was sent, which the engine never knew."""
        upload = self._upload
        if upload is None or upload.number != event.request:
            return event
        upload.close()
        self._upload = None
        return replace(event, source=str(upload.path))
