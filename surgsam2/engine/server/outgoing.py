"""What is on its way to the application: masks and frames in shared memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine.protocol.serialization import pack
from surgsam2.engine.protocol.shared_memory import SharedBlock
from surgsam2.engine.server.job_queue import Cancelled
from surgsam2.results.frame_result import FrameResult

RESULT_SLOTS = 8
"""Results that may wait for the application; then the worker waits."""
_PATIENCE = 0.05


class OutgoingSlots:
    """The worker's block of slots, made larger when it is needed.

    The application gives a slot back when it has read it, so the worker is never more
    than `RESULT_SLOTS` pieces ahead of what the application has seen.

    Args:
        folder: of the shared files.
        what: begins the block's name; one word for each kind of content.
        interrupted: whether nobody waits any more.
    """

    def __init__(self, folder: Path, what: str, interrupted: Callable[[], bool]) -> None:
        self._folder = folder
        self._what = what
        self._interrupted = interrupted
        self._block: SharedBlock | None = None
        self._made = 0
        self._free: list[int] = []
        self._changed = threading.Condition()

    def write(self, data: np.ndarray) -> dict[str, Any]:
        """Put (N,) uint8 into a slot; returns the header fields that say where it is.

        Raises:
            Cancelled: while it waited for a slot.
            OutputError: there is no room on the disk.
        """
        with self._changed:
            block = self._with_room_for(data.size)
            while not self._free:
                if self._interrupted():
                    raise Cancelled
                self._changed.wait(_PATIENCE)
            slot = self._free.pop(0)
        block.slot(slot)[: data.size] = data
        return {"block": block.name, "slots": block.slots, "size": block.size, "slot": slot}

    def release(self, block: str, slot: int) -> None:
        """The application has read a slot. Called by the reader; other blocks' are ignored."""
        with self._changed:
            current = self._block
            if current is None or block != current.name or slot in self._free:
                return
            if 0 <= slot < current.slots:
                self._free.append(slot)
                self._changed.notify_all()

    def _with_room_for(self, size: int) -> SharedBlock:
        if self._block is None or self._block.size < size:
            self._made += 1
            name = f"{self._what}-{self._made}"
            self._block = SharedBlock.create(self._folder, name, RESULT_SLOTS, size)
            self._free = list(range(RESULT_SLOTS))
        return self._block


class MaskSlots(OutgoingSlots):
    """Bit-packed masks on their way."""

    def __init__(self, folder: Path, interrupted: Callable[[], bool]) -> None:
        super().__init__(folder, "masks", interrupted)

    def put(self, result: FrameResult) -> dict[str, Any]:
        """Write a result's masks; as `write`, with their width and height."""
        count, height, width = result.masks.shape
        where: dict[str, Any] = {"width": width, "height": height, "block": None}
        if not count:
            return where
        return where | self.write(pack(result.masks).reshape(-1))


class FrameSlots(OutgoingSlots):
    """Decoded frames on their way."""

    def __init__(self, folder: Path, interrupted: Callable[[], bool]) -> None:
        super().__init__(folder, "pictures", interrupted)

    def put(self, frame: np.ndarray) -> dict[str, Any]:
        """Write an (H, W, 3) uint8 frame; as `write`, with its width and height."""
        height, width, _ = frame.shape
        return {"width": width, "height": height} | self.write(frame.reshape(-1))
