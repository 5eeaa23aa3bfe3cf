"""Sends a video file to an engine on another machine."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.protocol.requests import Chunk, ChunkWanted, OpenUpload
from surgsam2.errors import InputError

_BLOCK = 2**22


class FileUpload:
    """Computes the hash of a file in small steps, then sends the parts that the engine wants.

    Args:
        number: number of the request.
        path: the file.

    Raises:
        InputError: the file cannot be read, or is no single file.
    """

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        """The file."""
        self._digest = hashlib.sha256()
        self._size = 0
        self.hashed = False
        """Whether the hash is known and the request was sent."""
        if path.is_dir():
            raise InputError(
                f"{path}: only single video files can be sent to an engine on another machine, "
                "not folders; give the frames one by one (open_frames)"
            )
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error

    def step(self, seconds: float, send: Callable[[Message], None]) -> None:
        """Continue with the hash; at its end send the request.

        Args:
            seconds: time that this may take.
            send: sends a message.

        Raises:
            InputError: the file cannot be read.
        """
        deadline = time.perf_counter() + seconds
        while not self.hashed and time.perf_counter() < deadline:
            try:
                block = self._file.read(_BLOCK)
            except OSError as error:
                raise InputError(f"{self.path}: cannot be read ({error.strerror})") from error
            self._digest.update(block)
            self._size += len(block)
            if not block:
                self.hashed = True
                suffix = self.path.suffix.lower()
                send(OpenUpload(self.number, self._digest.hexdigest(), self._size, suffix))

    def give(self, wanted: ChunkWanted, send: Callable[[Message], None]) -> None:
        """Send a part of the file, or the reason why it cannot be read."""
        data, problem = b"", None
        try:
            self._file.seek(max(0, wanted.offset))
            data = self._file.read(max(0, min(wanted.length, _BLOCK)))
        except (OSError, ValueError) as error:
            problem = str(getattr(error, "strerror", None) or error)
        send(Chunk(self.number, wanted.offset, data, problem))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()
