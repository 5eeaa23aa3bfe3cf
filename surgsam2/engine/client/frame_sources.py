"""Frames that the application sends to the engine: a video's on demand, a live source's."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np

from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.protocol.requests import FrameGiven, FrameWanted, LiveFrame, LivePicture
from surgsam2.errors import InputError, OutputError

JPEG_QUALITY = 90
"""Quality of live frames that go to another machine, 1 to 95; colours keep full resolution."""
Send = Callable[[Message], None]


def _shape(width: int, height: int) -> tuple[int, int, int]:
    if width < 1 or height < 1:
        raise InputError(f"frame size must be positive, got {width}x{height}")
    return (height, width, 3)


class FrameServer:
    """Hands out the frames of a video that the application has.

    Args:
        number: number of the request that opened the video.
        width: width of a frame in pixels.
        height: height of a frame in pixels.
        read: returns frame k, (H, W, 3) uint8 RGB.

    Raises:
        InputError: the size is not positive.
    """

    def __init__(
        self, number: int, width: int, height: int, read: Callable[[int], np.ndarray]
    ) -> None:
        self._number = number
        self._shape = _shape(width, height)
        self._read = read

    def give(self, wanted: FrameWanted, send: Send) -> None:
        """Send the frame that is wanted, or the reason why it cannot be read."""
        image, problem = None, None
        try:
            frame = np.asarray(self._read(wanted.index))
            if frame.shape != self._shape or frame.dtype != np.uint8:
                problem = f"it must be {self._shape} uint8, got {frame.shape} {frame.dtype}"
            else:
                image = frame
        except Exception as error:  # the application's function may raise anything
            problem = f"{type(error).__name__}: {error}"
        try:
            send(FrameGiven(self._number, wanted.ticket, image, problem))
        except OutputError as error:  # the frame has no room
            send(FrameGiven(self._number, wanted.ticket, None, str(error)))


class LiveFeed:
    """Sends the newest live frame; a frame that cannot be sent yet is replaced by a newer one.

    Args:
        number: number of the request that began the live session.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        compressed: send frames as JPEG, for a slow connection. Masks may then differ slightly.

    Raises:
        InputError: the size is not positive.
    """

    def __init__(self, number: int, width: int, height: int, *, compressed: bool = False) -> None:
        self.number = number
        self._compressed = compressed
        self._shape = _shape(width, height)
        self._credit = 0  # frames that may be sent; the engine adds to it
        self._waiting: tuple[np.ndarray, float] | None = None
        self.dropped = 0
        """Number of frames that were replaced here."""

    def give(self, image: np.ndarray, stamp: float, send: Send) -> None:
        """Send a frame, or keep a copy of it until it can be sent.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: a finite number that comes back with the result.
            send: sends a message.

        Raises:
            InputError: the image has another size or type, or the stamp is not finite.
        """
        if not math.isfinite(stamp):
            raise InputError(f"the stamp of a live frame must be a finite number, got {stamp}")
        if image.shape != self._shape or image.dtype != np.uint8:
            raise InputError(
                f"a live frame must be {self._shape} uint8 RGB, got {image.shape} {image.dtype}; "
                "start a new live session when the size changes"
            )
        self.dropped += self._waiting is not None
        self._waiting = (image, stamp)
        self._send_waiting(send)
        if self._waiting is not None:
            self._waiting = (image.copy(), stamp)

    def add_credit(self, frames: int, send: Send) -> None:
        """Allow so many more frames, and send the one that waits."""
        self._credit += frames
        self._send_waiting(send)

    def _send_waiting(self, send: Send) -> None:
        if self._waiting is None or self._credit < 1:
            return
        (image, stamp), self._waiting = self._waiting, None
        self._credit -= 1
        picture = jpeg_of(image) if self._compressed else None
        if picture is None:
            send(LiveFrame(self.number, stamp, image))
        else:
            send(LivePicture(self.number, stamp, picture))


def jpeg_of(image: np.ndarray) -> bytes | None:
    """Return an (H, W, 3) uint8 RGB image as a JPEG file; None where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return None
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
