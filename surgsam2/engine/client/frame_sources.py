"""The application's frames on their way to the worker: a video's on demand, a live source's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.protocol.shared_memory import FRAME_SLOTS, LIVE_SLOTS, SharedBlock
from surgsam2.errors import InputError

Send = Callable[[str, dict[str, Any]], None]


def _block(folder: Path, name: str, slots: int, width: int, height: int) -> SharedBlock:
    if width < 1 or height < 1:
        raise InputError(f"frame size must be positive, got {width}x{height}")
    return SharedBlock.create(folder, name, slots, width * height * 3)


class FrameServer:
    """Hands out the frames of a video that the application has.

    Args:
        number: of the request that opened the video.
        read: gives frame k, (H, W, 3) uint8 RGB.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        width: int,
        height: int,
        read: Callable[[int], np.ndarray],
    ) -> None:
        self.number = number
        self._shape = (height, width, 3)
        self._read = read
        self._block = _block(folder, f"frames-{number}", FRAME_SLOTS, width, height)
        self.description = {"block": self._block.name, "width": width, "height": height}
        """Header fields that tell the worker where frames will be."""

    def answer(self, message: Message, send: Send) -> None:
        """Put the frame that is wanted where it is wanted."""
        index, slot = message.get("index", int), message.get("slot", int)
        problem = None
        try:
            frame = np.asarray(self._read(index))
            if frame.shape != self._shape or frame.dtype != np.uint8:
                problem = f"it must be {self._shape} uint8, got {frame.shape} {frame.dtype}"
            else:
                self._block.slot(slot).reshape(self._shape)[:] = frame
        except Exception as error:  # whatever the application's function may raise
            problem = f"{type(error).__name__}: {error}"
        send("frame", {"video": self.number, "slot": slot, "problem": problem})


class LiveFeed:
    """Passes on the newest live frame; what has no room replaces the one that waits for it."""

    def __init__(self, folder: Path, number: int, width: int, height: int) -> None:
        self.number = number
        self._shape = (height, width, 3)
        self._block = _block(folder, f"live-{number}", LIVE_SLOTS, width, height)
        self.description = {"block": self._block.name, "width": width, "height": height}
        """Header fields that tell the worker where frames will be."""
        self._free: list[int] = []  # the worker gives them
        self._waiting: tuple[np.ndarray, float] | None = None
        self.dropped = 0
        """Frames that were replaced here."""

    def give(self, image: np.ndarray, stamp: float, send: Send) -> None:
        """A new frame, copied; `InputError` when it, or the stamp, is not what it must be."""
        if not math.isfinite(stamp):
            raise InputError(f"the stamp of a live frame must be a finite number, got {stamp}")
        if image.shape != self._shape or image.dtype != np.uint8:
            raise InputError(
                f"a live frame must be {self._shape} uint8 RGB, got {image.shape} {image.dtype}; "
                "start a new live session when the size changes"
            )
        self.dropped += self._waiting is not None
        self._waiting = (image, stamp)
        self._pass_on(send)
        if self._waiting is not None:
            self._waiting = (image.copy(), stamp)

    def freed(self, message: Message, send: Send) -> None:
        """The worker gives slots back."""
        self._free += [slot for slot in message.get("slots", list) if slot not in self._free]
        self._pass_on(send)

    def _pass_on(self, send: Send) -> None:
        if self._waiting is None or not self._free:
            return
        (image, stamp), self._waiting = self._waiting, None
        slot = self._free.pop()
        self._block.slot(slot).reshape(self._shape)[:] = image
        send("live_frame", {"live": self.number, "slot": slot, "stamp": stamp})
