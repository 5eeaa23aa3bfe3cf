"""Memory that both processes map: a temporary file of equal slots.

Who may write when: a block belongs to the side that creates it, and only that side
writes to it. A message hands a slot over for reading; the owner writes to it again only
after a message that gives it back.

The reader deletes the file's name as soon as it has mapped it, so that on Linux and macOS
nothing is left behind whatever happens to either process. Windows refuses that; there
the application removes the folder when it closes the worker.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np

from surgsam2.engine.protocol.messages import ProtocolError
from surgsam2.storage.atomic_file import writing

FRAME_SLOTS = 8
"""Frames of a video that can be on their way; the worker says which slot each goes to."""
LIVE_SLOTS = 3
"""One live frame that is being read, one that waits, one the application writes to."""
_NAME = re.compile(r"[a-z]{1,20}-[0-9]{1,12}")


class SharedBlock:
    """Slots of equal size in a file that is mapped into memory. See `create` and `open`."""

    def __init__(self, path: Path, slots: int, size: int) -> None:
        self.name = path.name
        self.slots = slots
        self.size = size
        """Bytes per slot."""
        self._array = np.memmap(path, np.uint8, "r+", shape=(slots, size))

    @classmethod
    def create(cls, folder: Path, name: str, slots: int, size: int) -> SharedBlock:
        """A new block, to write to.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        path = folder / name
        with writing(path):
            with path.open("xb") as file:
                file.truncate(slots * size)
                if hasattr(os, "posix_fallocate"):  # a full disk shows here, not as a crash later
                    os.posix_fallocate(file.fileno(), 0, slots * size)
            return cls(path, slots, size)

    @classmethod
    def open(cls, folder: Path, name: str, slots: int, size: int) -> SharedBlock:
        """The other side's block, to read from; its file name is removed where that is possible.

        Raises:
            ProtocolError: there is no such block.
        """
        path = folder / name
        if not _NAME.fullmatch(name) or slots < 1 or size < 1:
            raise ProtocolError(f"no shared block can be {name!r:.40} with {slots} x {size} bytes")
        try:
            if path.stat().st_size != slots * size:
                raise ProtocolError(f"the shared block {name} does not have {slots * size} bytes")
            block = cls(path, slots, size)
        except OSError as error:
            raise ProtocolError(f"the shared block {name} cannot be opened: {error}") from error
        with contextlib.suppress(OSError):
            path.unlink()
        return block

    def slot(self, index: int) -> np.ndarray:
        """(size,) uint8, a view of one slot; valid as long as the block is referred to.

        Raises:
            ProtocolError: there is no such slot.
        """
        if not 0 <= index < self.slots:
            raise ProtocolError(f"{self.name} has {self.slots} slots, no slot {index}")
        return self._array[index]
