"""Named arrays kept in a file until they are needed in another order, or in another process."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tempfile
import zlib
from array import array
from pathlib import Path
from typing import IO

import numpy as np

from surgsam2.errors import OutputError
from surgsam2.storage.atomic_file import writing

_HEAD = struct.Struct("<qQI")  # index, bytes of data, their CRC-32


class DiskStore:
    """Arrays by frame index, on disk.

    In memory there are 8 bytes per frame. Without a path the file lies in the system's
    folder for temporary files (``TMPDIR`` chooses another) and disappears with the object.
    With a path it stays, and a later `DiskStore` of the same path takes it up again. Arrays are
    stored as they are: compressing everything would cost more time than the network needs.

    Args:
        path: where the file lies; None for a temporary one.
        length: take up an existing file, cut to this many bytes (the `length` that the
            earlier spool had). None begins an empty file.

    Raises:
        OutputError: the file cannot be written, or what is to be taken up is damaged.
    """

    def __init__(self, path: Path | None = None, *, length: int | None = None) -> None:
        self._path = path
        self._where = str(
            path or f"a temporary file in {tempfile.gettempdir()} (TMPDIR chooses another place)"
        )
        self._file: IO[bytes] | None = None  # made when first needed: most runs never do
        self._places = array("q")  # where the record of each index begins, or -1
        self.length = 0
        """Bytes written so far."""
        if length is not None and path is not None:
            self._take_up(path, length)

    def put(self, index: int, **arrays: np.ndarray) -> None:
        """Keep arrays under `index`, 0 or more, in place of what was there."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        data = buffer.getbuffer()
        with writing(self._where):
            file = self._opened()
            file.seek(self.length)
            file.write(_HEAD.pack(index, data.nbytes, zlib.crc32(data)))
            file.write(data)
        self._note(index, self.length)
        self.length += _HEAD.size + data.nbytes

    def get(self, index: int) -> dict[str, np.ndarray]:
        """The arrays under `index`; `KeyError` when there are none."""
        if index not in self or self._file is None:
            raise KeyError(index)
        with writing(self._where):  # reading writes out what is still buffered
            self._file.seek(self._places[index])
            _, size, check = _HEAD.unpack(self._file.read(_HEAD.size))
            data = self._file.read(size)
        if len(data) != size or zlib.crc32(data) != check:
            raise OutputError(f"{self._where}: what was kept of frame {index} is damaged")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)

    def indices(self) -> list[int]:
        """Indices held, ascending."""
        return [index for index, place in enumerate(self._places) if place >= 0]

    def __contains__(self, index: int) -> bool:
        return 0 <= index < len(self._places) and self._places[index] >= 0

    def sync(self) -> None:
        """Everything put so far is on the disk itself afterwards."""
        if self._file is not None:
            with writing(self._where):
                self._file.flush()
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, and delete a temporary one; safe to call twice."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # nothing after the last `sync` is needed any more
                self._file.close()

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            # not in a with statement: see close
            if self._path is None:
                self._file = tempfile.TemporaryFile(prefix="surgsam2-")  # noqa: SIM115
            else:
                self._file = self._path.open("w+b")
        return self._file

    def _take_up(self, path: Path, length: int) -> None:
        with writing(self._where):
            if not length and not path.exists():
                return
            self._file = path.open("r+b")
            whole = path.stat().st_size >= length
            self._file.truncate(length)
            while whole and self.length < length:
                self._file.seek(self.length)
                head = self._file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    break
                index, size, _ = _HEAD.unpack(head)
                if not 0 <= index < 2**31 or size > length:
                    break
                self._note(index, self.length)
                self.length += _HEAD.size + size
        if self.length != length:
            self.close()
            raise OutputError(f"{self._where}: the file is damaged or not the one that was saved")

    def _note(self, index: int, place: int) -> None:
        self._places.extend([-1] * (index + 1 - len(self._places)))
        self._places[index] = place
