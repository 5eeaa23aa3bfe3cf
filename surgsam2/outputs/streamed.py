"""A text file that grows during a run and gets its final name when it is complete."""

from __future__ import annotations

import contextlib
from pathlib import Path

from surgsam2.storage.atomic_file import replace, temporary_beside, writing


class StreamedFile:
    """UTF-8 text in an unfinished file beside ``NAME``, which `finish` renames to ``NAME``.

    When the disk refuses a write, the unfinished file is deleted, because it can no longer
    become valid; the file of an earlier run stays.

    Args:
        path: the final name.

    Raises:
        OutputError: the disk refuses, here or in a method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = temporary_beside(path)
        self.closed = False
        with writing(path):
            self._file = self._part.open("w", encoding="utf-8", newline="\n")

    def write(self, text: str) -> None:
        """Append text."""
        try:
            with writing(self._path):
                self._file.write(text)
        except Exception:
            self.discard()
            raise

    def finish(self) -> None:
        """Close the file and give it its final name; may be called again."""
        if self.closed:
            return
        try:
            with writing(self._path):
                self._file.close()
            replace(self._part, self._path)
            self.closed = True
        except Exception:
            self.discard()
            raise

    def discard(self) -> None:
        """Close and delete the unfinished file."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()
