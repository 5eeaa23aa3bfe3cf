"""Arrays in a file, for results that are needed in another order or in another process."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from surgsam2.errors import OutputError
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.limits import FRAMES
from surgsam2.storage.temporary import TEMPORARY_PLACE

_HEAD = struct.Struct("<qQI")  # frame index, number of bytes of the data, their CRC-32
_CHECK = struct.Struct("<I")  # CRC-32 of the head
_RECORD_BYTES = _HEAD.size + _CHECK.size  # bytes of a record before its data


class DiskStore:
    """Arrays by frame index in a file.

    It takes 8 bytes of memory per frame. Arrays are stored without compression, because
    compressing them would take more time than the network does.

    Args:
        path: the file, which stays so that a later `DiskStore` can continue it. None takes a
            file in the system's folder for temporary files (``TMPDIR`` chooses another), which
            is deleted when the store is closed.
        length: number of bytes to keep of an existing file: the `length` of the earlier store.
            None begins an empty file.
        earlier: stores with further frames, which are read and belong to the caller.

    Raises:
        OutputError: the file cannot be written, or an existing file is damaged.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        length: int | None = None,
        earlier: Sequence[DiskStore] = (),
    ) -> None:
        self._path = path
        self._where = str(path or TEMPORARY_PLACE)
        self._earlier = tuple(earlier)
        self._file: IO[bytes] | None = (
            None  # it is made when it is first needed, and most runs never need it
        )
        self._places = array("q")  # offset of the record of each index, or -1
        self.length = 0
        """Number of bytes that are written."""
        if length is not None and path is not None:
            self._continue(path, length)

    def put(self, index: int, **arrays: np.ndarray) -> None:
        """Store the arrays of a frame; they replace earlier ones of the same frame.

        They are in the file when this returns, also if the process is killed then.

        Args:
            index: the frame index, 0 or more.
            arrays: the arrays by name.

        Raises:
            OutputError: the file cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        data = buffer.getbuffer()
        with writing(self._where):
            file = self._opened()
            file.seek(self.length)
            head = _HEAD.pack(index, data.nbytes, zlib.crc32(data))
            file.write(head + _CHECK.pack(zlib.crc32(head)))
            file.write(data)
            file.flush()
        self._note(index, self.length)
        self.length += _RECORD_BYTES + data.nbytes

    def get(self, index: int) -> dict[str, np.ndarray]:
        """Return the arrays of a frame by name.

        Raises:
            KeyError: the frame has none.
            OutputError: the file cannot be read, or is damaged.
        """
        with np.load(io.BytesIO(self._read(index)[1]), allow_pickle=False) as arrays:  # noqa: TID251
            return dict(arrays)

    def _read(self, index: int) -> tuple[bytes, bytes]:
        """Return the head and the data of a frame, after checks."""
        if not self._has(index) or self._file is None:
            for store in self._earlier:
                if index in store:
                    return store._read(index)
            raise KeyError(index)
        with writing(self._where):  # reading first writes what is buffered
            self._file.seek(self._places[index])
            start = self._file.read(_RECORD_BYTES)
            head = _read_head(start)
            data = self._file.read(head[1]) if head else b""
        if head is None or head[0] != index or zlib.crc32(data) != head[2]:
            raise OutputError(
                f"{self._where}: the data of frame {index} is damaged; start anew without resume"
            )
        return start, data

    def indices(self) -> list[int]:
        """Return the indices of all frames that have arrays, in ascending order."""
        own = {index for index, place in enumerate(self._places) if place >= 0}
        return sorted(own.union(*(store.indices() for store in self._earlier)))

    def __contains__(self, index: int) -> bool:
        return self._has(index) or any(index in store for store in self._earlier)

    def _has(self, index: int) -> bool:
        return 0 <= index < len(self._places) and self._places[index] >= 0

    def copy_to(self, path: Path) -> None:
        """Write a new file with the present arrays of all frames, in ascending order.

        Args:
            path: the new file.

        Raises:
            OutputError: the disk refuses, or the file is damaged.
        """
        with writing(path), path.open("wb") as target:
            for index in self.indices():
                target.writelines(self._read(index))

    def sync(self) -> None:
        """Wait until everything that was stored is on the disk itself."""
        if self._file is not None:
            with writing(self._where):
                self._file.flush()
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and delete it if it is temporary. A second call does nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # nothing after the last `sync` is needed
                self._file.close()

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            # `close` closes it
            if self._path is None:
                self._file = tempfile.TemporaryFile(prefix="surgsam2-")  # noqa: SIM115
            else:
                self._file = self._path.open("w+b")
        return self._file

    def _continue(self, path: Path, length: int) -> None:
        with writing(self._where):
            if not length and not path.exists():
                return
            self._file = path.open("r+b")
            size = path.stat().st_size
            whole = size >= length
            if size > length:  # otherwise the file keeps its time of modification
                self._file.truncate(length)
            while whole and self.length < length:
                self._file.seek(self.length)
                head = _read_head(self._file.read(_RECORD_BYTES))
                if head is None or not 0 <= head[0] < FRAMES.value or head[1] > length:
                    break
                self._note(head[0], self.length)
                self.length += _RECORD_BYTES + head[1]
        if self.length != length:
            self.close()
            raise OutputError(f"{self._where}: the file is damaged or not the one that was saved")

    def _note(self, index: int, place: int) -> None:
        self._places.extend([-1] * (index + 1 - len(self._places)))
        self._places[index] = place


def valid_length(path: Path) -> int:
    """Return how many bytes at the beginning of a store's file are complete records.

    A process that is killed may leave a part of a record at the end.

    Raises:
        OutputError: the file cannot be read.
    """
    length = 0
    with writing(path), path.open("rb") as file:
        size = path.stat().st_size
        while (head := _read_head(file.read(_RECORD_BYTES))) is not None:
            end = length + _RECORD_BYTES + head[1]
            if end > size or zlib.crc32(file.read(head[1])) != head[2]:
                break
            length = end
    return length


def _read_head(data: bytes) -> tuple[int, int, int] | None:
    """Return frame index, size and CRC-32 of a record; None if its head is damaged."""
    if len(data) < _RECORD_BYTES:
        return None
    head, check = data[: _HEAD.size], data[_HEAD.size :]
    return _HEAD.unpack(head) if _CHECK.unpack(check)[0] == zlib.crc32(head) else None
