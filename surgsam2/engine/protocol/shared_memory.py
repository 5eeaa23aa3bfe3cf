"""A temporary file of equal slots that both processes map into their memory.

A block belongs to the side that creates it, and only that side writes to it. A message
hands a slot over for reading; the owner writes to it again only after a message that
releases it.

The reader deletes the file's name as soon as it has mapped the file, so that on Linux and
macOS nothing is left behind whatever happens to either process. Windows refuses that; there
the application removes the folder when it ends the engine process.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np

from surgsam2.engine.protocol.framing import ProtocolError
from surgsam2.storage.atomic_file import writing

_NAME = re.compile(r"[a-z]{1,20}-[0-9]{1,12}")


class SharedBlock:
    """Slots of equal size in a file that is mapped into memory; see `create` and `open`.

    Args:
        path: the file.
        slots: number of slots.
        size: bytes per slot.

    Raises:
        OSError: the file cannot be mapped.
    """

    def __init__(self, path: Path, slots: int, size: int) -> None:
        self.name = path.name
        self.slots = slots
        self.size = size
        """Bytes per slot."""
        self._array = np.memmap(path, np.uint8, "r+", shape=(slots, size))

    @classmethod
    def create(cls, folder: Path, name: str, slots: int, size: int) -> SharedBlock:
        """Create a block to write to.

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
        """Open the other side's block to read from it, and remove its name where possible.

        Raises:
            ProtocolError: there is no such block.
        """
        path = folder / name
        if not _NAME.fullmatch(name) or slots < 1 or size < 1:
            raise ProtocolError(f"no shared block can be {name!r:.40} with {slots} x {size} bytes")
        try:
            if path.is_symlink() or path.stat().st_size != slots * size:
                raise ProtocolError(f"the shared block {name} does not have {slots * size} bytes")
            block = cls(path, slots, size)
        except OSError as error:
            raise ProtocolError(f"the shared block {name} cannot be opened: {error}") from error
        with contextlib.suppress(OSError):
            path.unlink()
        return block

    def slot(self, index: int) -> np.ndarray:
        """Return a (size,) uint8 view of one slot, valid as long as the block is referred to.

        Raises:
            ProtocolError: there is no such slot.
        """
        if not 0 <= index < self.slots:
            raise ProtocolError(f"{self.name} has {self.slots} slots, no slot {index}")
        return self._array[index]
