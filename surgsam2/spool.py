"""Named arrays kept in a temporary file until they are needed in another order."""

from __future__ import annotations

import contextlib
import io
import tempfile
from array import array
from typing import IO

import numpy as np

from surgsam2.atomic import writing


class Spool:
    """Arrays by frame index, on disk; the file disappears with the object.

    In memory there are 8 bytes per frame. The file lies in the system's folder for
    temporary files (``TMPDIR`` chooses another); arrays are not compressed, which would
    cost more time than the network needs for them.

    Raises:
        OutputError: the temporary file cannot be written.
    """

    def __init__(self) -> None:
        self._where = f"a temporary file in {tempfile.gettempdir()} (TMPDIR chooses another place)"
        self._file: IO[bytes] | None = None  # made when first needed: most runs never do
        self._places = array("q")  # where the arrays of each index begin, or -1

    def put(self, index: int, **arrays: np.ndarray) -> None:
        """Keep arrays under `index`, 0 or more, in place of what was there."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        with writing(self._where):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="surgsam2-")  # noqa: SIM115 - see close
            place = self._file.seek(0, io.SEEK_END)
            self._file.write(buffer.getbuffer().nbytes.to_bytes(8, "little"))
            self._file.write(buffer.getbuffer())
        self._places.extend([-1] * (index + 1 - len(self._places)))
        self._places[index] = place

    def get(self, index: int) -> dict[str, np.ndarray]:
        """The arrays under `index`; `KeyError` when there are none."""
        if index not in self or self._file is None:
            raise KeyError(index)
        with writing(self._where):  # reading writes out what is still buffered
            self._file.seek(self._places[index])
            size = int.from_bytes(self._file.read(8), "little")
            data = io.BytesIO(self._file.read(size))
        with np.load(data, allow_pickle=False) as arrays:
            return dict(arrays)

    def indices(self) -> list[int]:
        """Indices held, ascending."""
        return [index for index, place in enumerate(self._places) if place >= 0]

    def __contains__(self, index: int) -> bool:
        return 0 <= index < len(self._places) and self._places[index] >= 0

    def close(self) -> None:
        """Delete the file; safe to call twice."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # nothing of it is needed any more
                self._file.close()
