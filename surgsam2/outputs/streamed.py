"""A text file that grows during a run and gets its name when it is complete."""

from __future__ import annotations

import contextlib
from pathlib import Path

from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, replace, writing


class StreamedFile:
    """UTF-8 text under ``NAME.part``, renamed to ``NAME`` by `finish`.

    When the disk refuses a write, the file can no longer become valid: it is deleted, and
    the file of an earlier run stays. Raises `OutputError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + TEMPORARY_SUFFIX)
        self.closed = False
        with writing(path):
            self._file = self._part.open("w", encoding="utf-8", newline="\n")

    def write(self, text: str) -> None:
        try:
            with writing(self._path):
                self._file.write(text)
        except Exception:
            self.discard()
            raise

    def finish(self) -> None:
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
        """Closes and deletes the unfinished file."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()
