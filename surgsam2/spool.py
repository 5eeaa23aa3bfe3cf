"""Named arrays kept in a temporary file until they are needed in another order."""

from __future__ import annotations

import io
import tempfile

import numpy as np


class Spool:
    """Arrays by frame index, on disk; the file disappears with the object.

    Memory use does not grow with the number of frames.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="surgsam2-")  # noqa: SIM115 - closed by close()
        self._places: dict[int, tuple[int, int]] = {}

    def put(self, index: int, **arrays: np.ndarray) -> None:
        """Keep arrays under `index`, in place of what was there."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        place = self._file.seek(0, io.SEEK_END)
        self._file.write(buffer.getbuffer())
        self._places[index] = (place, buffer.getbuffer().nbytes)

    def get(self, index: int) -> dict[str, np.ndarray]:
        """The arrays under `index`; `KeyError` when there are none."""
        place, size = self._places[index]
        self._file.seek(place)
        with np.load(io.BytesIO(self._file.read(size)), allow_pickle=False) as arrays:
            return dict(arrays)

    def indices(self) -> list[int]:
        """Indices held, ascending."""
        return sorted(self._places)

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def close(self) -> None:
        """Delete the file; safe to call twice."""
        self._file.close()
