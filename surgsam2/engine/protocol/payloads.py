"""How the large arrays of messages travel, and how many of them may be on their way."""

from __future__ import annotations

import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from surgsam2.engine.protocol.framing import MAX_RAW, Buffer, ProtocolError
from surgsam2.engine.protocol.shared_memory import SharedBlock

PAYLOADS = 8
"""Number of payloads that may be on their way in each direction; then the sender waits."""
_LEAST_COMPRESSED = 512
"""Pieces of fewer bytes are not compressed."""
_SAMPLE = 2**15
"""Bytes at the beginning of a piece by which its compression is judged."""
_WORTH = 0.8
"""Pieces are compressed when their beginning shrinks below this share."""
_LOOK_SECONDS = 0.05
"""Seconds between two looks at whether a payload is still wanted."""


class Window:
    """Limits the payloads on their way to `PAYLOADS`. May be used by several threads.

    Each payload has a slot, a number from 0, until the receiver says that it has read it.
    """

    def __init__(self) -> None:
        self._free = list(range(PAYLOADS))
        self._changed = threading.Condition()

    def try_acquire(self) -> int | None:
        """Return a free slot, or None when there is none."""
        with self._changed:
            return self._free.pop(0) if self._free else None

    def acquire(self, unwanted: Callable[[], bool]) -> int | None:
        """Wait for a free slot and return it, or None when `unwanted` becomes true."""
        with self._changed:
            while not self._free:
                if unwanted():
                    return None
                self._changed.wait(_LOOK_SECONDS)
            return self._free.pop(0)

    def release(self, slot: int) -> None:
        """Make a slot free again; one that is free, or does not exist, is ignored."""
        with self._changed:
            if 0 <= slot < PAYLOADS and slot not in self._free:
                self._free.append(slot)
                self._changed.notify_all()


class Payloads(ABC):
    """Writes the raw bytes of large messages for the other side, and reads those of it."""

    @abstractmethod
    def write(self, slot: int, blobs: Sequence[Buffer]) -> tuple[dict[str, Any], Sequence[Buffer]]:
        """Write the pieces of a payload.

        Args:
            slot: a number that no other payload on its way has.
            blobs: the pieces.

        Returns:
            Plain data that say where the payload is, and the raw bytes of its packet.

        Raises:
            OutputError: there is no room for it.
        """

    @abstractmethod
    def read(self, place: dict[str, Any], blobs: Sequence[Buffer]) -> Sequence[Buffer]:
        """Return copies of the pieces that the other side's `write` put at `place`.

        Raises:
            ProtocolError: there is no such payload.
        """


class InlinePayloads(Payloads):
    """Payloads are the raw bytes of their packets; this works between machines.

    Pieces that shrink by that, such as masks, are compressed without loss.
    """

    def write(self, slot: int, blobs: Sequence[Buffer]) -> tuple[dict[str, Any], Sequence[Buffer]]:
        """Return the pieces, compressed where that helps; see `Payloads.write`."""
        shrunk = [zlib.compress(blob, 1) if _shrinks(blob) else None for blob in blobs]
        sizes = [None if new is None else len(old) for old, new in zip(blobs, shrunk, strict=True)]
        raw = [old if new is None else new for old, new in zip(blobs, shrunk, strict=True)]
        return {"sizes": sizes}, raw

    def read(self, place: dict[str, Any], blobs: Sequence[Buffer]) -> Sequence[Buffer]:
        """Return the pieces as they were; see `Payloads.read`."""
        sizes = place.get("sizes")
        if not isinstance(sizes, list) or len(sizes) != len(blobs):
            raise ProtocolError("the sizes of a payload's pieces are missing")
        total, pieces = 0, []
        for size, blob in zip(sizes, blobs, strict=True):
            if size is None:
                pieces.append(blob)
                continue
            total += size if type(size) is int and size > 0 else MAX_RAW + 1
            if total > MAX_RAW:
                raise ProtocolError("the pieces of a payload are too large")
            pieces.append(_expanded(blob, size))
        return pieces


def _shrinks(blob: Buffer) -> bool:
    """Return whether compression is worth its time, from the beginning of a piece."""
    if len(blob) < _LEAST_COMPRESSED:
        return False
    sample = bytes(blob[:_SAMPLE])
    return len(zlib.compress(sample, 1)) < _WORTH * len(sample)


def _expanded(blob: Buffer, size: int) -> bytearray:
    expander = zlib.decompressobj()
    try:
        data = expander.decompress(blob, size + 1)
    except zlib.error as error:
        raise ProtocolError(f"a piece of a payload cannot be decompressed: {error}") from error
    if len(data) != size or not expander.eof:
        raise ProtocolError(f"a piece of a payload does not have {size} bytes")
    return bytearray(data)


class SharedMemoryPayloads(Payloads):
    """Payloads are written into memory that both processes of one machine map.

    Args:
        folder: the folder of the shared files.
        name: the beginning of the names of this side's files, one word of small letters.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._made = 0
        self._written: SharedBlock | None = None
        self._read: SharedBlock | None = None

    def write(self, slot: int, blobs: Sequence[Buffer]) -> tuple[dict[str, Any], Sequence[Buffer]]:
        """Copy the pieces into a slot; see `Payloads.write`."""
        block = self._with_room_for(sum(map(len, blobs)))
        memory, start = block.slot(slot).data, 0
        for blob in blobs:
            memory[start : start + len(blob)] = blob
            start += len(blob)
        place = {"block": block.name, "slots": block.slots, "size": block.size}
        return place | {"lengths": [len(blob) for blob in blobs]}, ()

    def read(self, place: dict[str, Any], blobs: Sequence[Buffer]) -> Sequence[Buffer]:
        """Copy the pieces out of a slot; see `Payloads.read`."""
        match place:
            case {
                "slot": int(slot),
                "block": str(name),
                "slots": int(slots),
                "size": int(size),
                "lengths": list(lengths),
            }:
                pass
            case _:
                raise ProtocolError(f"a place in shared memory is not complete: {place!r:.80}")
        if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) > size:
            raise ProtocolError(f"lengths in shared memory do not fit {size} bytes")
        if self._read is None or self._read.name != name:
            self._read = SharedBlock.open(self._folder, name, slots, size)
        memory, start, pieces = self._read.slot(slot).data, 0, []
        for length in lengths:
            pieces.append(bytearray(memory[start : start + length]))
            start += length
        return pieces

    def _with_room_for(self, size: int) -> SharedBlock:
        if self._written is None or self._written.size < size:
            self._made += 1
            name = f"{self._name}-{self._made}"
            self._written = SharedBlock.create(self._folder, name, PAYLOADS, size)
        return self._written
