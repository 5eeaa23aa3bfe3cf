"""Folders for temporary files; what a killed process left is removed by a later one.

They may hold masks and pictures of patients. A process that ends in any other way than SIGKILL
or the loss of power removes its own. Each folder has a file that its process keeps locked, and
the operating system ends the lock with the process: a folder whose file is not locked belongs
to nobody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from surgsam2.storage.atomic_file import writing
from surgsam2.storage.folder_lock import exclusive

TEMPORARY_PLACE = "the folder for temporary files (TMPDIR chooses another)"
"""What messages call the place of files that are removed again."""

_PREFIX = "surgsam2-"
_IN_USE = ".in-use"


class TemporaryFolder:
    """A folder that only this user may read.

    It is removed by `remove`, at the end of a ``with`` block, with the object, or at the end of
    the process. Making one removes what processes that were killed have left in the same place.

    Args:
        beside: a file that is to be written; the folder is hidden beside it. None takes the place
            for temporary files.

    Raises:
        OutputError: there is no such place, or it cannot be written.
    """

    def __init__(self, beside: Path | None = None) -> None:
        with writing(beside or TEMPORARY_PLACE), contextlib.ExitStack() as stack:
            place = beside.parent if beside else Path(tempfile.gettempdir())
            remove_abandoned(place)
            prefix = f".{_PREFIX}" if beside else _PREFIX
            while True:
                folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
                mark = folder / _IN_USE
                # another process that removes what is abandoned may come in between
                with contextlib.suppress(BlockingIOError):
                    locked = stack.enter_context(exclusive(mark))
                    if not locked:
                        mark.unlink()  # nobody could tell that it is in use
                    if not locked or mark.exists():
                        break
            self._end = weakref.finalize(self, _remove, folder, stack.pop_all(), os.getpid())
            self.path = folder / "files"
            self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder with all that is in it. A second call does nothing."""
        self._end()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.remove()


def remove_abandoned(place: Path | None = None) -> list[Path]:
    """Remove the temporary folders of this user whose processes have ended.

    Args:
        place: the folder that they are in; None takes the place for temporary files.

    Returns:
        The folders that were removed.
    """
    removed = []
    for mark in _marks(place or Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            with exclusive(mark) as locked:
                if not locked:
                    continue
                shutil.rmtree(mark.parent, ignore_errors=True)
            shutil.rmtree(mark.parent, ignore_errors=True)  # Windows keeps files that are open
            removed.append(mark.parent)
    return removed


def _marks(place: Path) -> Iterator[Path]:
    """Yield the files that processes lock, of all temporary folders of this user."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.removeprefix(".").startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    ours = not hasattr(os, "getuid") or entry.stat().st_uid == os.getuid()
                    mark = Path(entry.path, _IN_USE)
                    if ours and entry.is_dir(follow_symlinks=False) and mark.is_file():
                        yield mark


def _remove(path: Path, lock: contextlib.ExitStack, process: int) -> None:
    """Remove a folder and then its lock; a forked process leaves that of its parent."""
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)
        lock.close()
        shutil.rmtree(path, ignore_errors=True)  # Windows keeps files that are open
