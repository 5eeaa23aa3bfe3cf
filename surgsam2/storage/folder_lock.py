"""A lock on a file. It ends with the process that holds it, however that process ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_HELD_BY_OTHERS = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Lock a file for the duration of the block.

    The file is created if it is missing, and is not deleted. The operating system keeps the
    lock, so that a process that is killed leaves none behind. Where the file system has no
    locks (some network folders) a warning is logged and the block runs without one.

    The package `filelock` does not serve here: it empties the file that it locks, and on file
    systems without locks it leaves a lock behind when the process is killed.

    Args:
        path: the file.

    Yields:
        Whether the file is locked; False on such a file system.

    Raises:
        BlockingIOError: another process, or another block of this process, holds the lock.
        OSError: the file cannot be opened.
    """
    with open(path, "a+b", opener=_not_through_a_link) as file:
        locked = False
        try:
            _lock(file)
            locked = True
        except OSError as error:
            if error.errno in _HELD_BY_OTHERS:
                raise BlockingIOError(errno.EWOULDBLOCK, "held by another process") from error
            logger.warning("%s cannot be locked on this file system: %s", path, error.strerror)
        yield locked  # closing the file releases the lock


def _not_through_a_link(path: str, flags: int) -> int:
    """Open a file unless it is a link, which could lead out of the folder of the lock."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def in_use(path: Path) -> IO[bytes] | None:
    """Open a file, which `remove_unused` does not remove as long as it is open, in no process.

    Returns:
        The file, for reading; None when it is not there.

    Raises:
        OSError: it cannot be opened.
    """
    while True:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        _share(file)
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:  # it was removed before it was locked
            pass
        file.close()


def remove_unused(path: Path) -> bool:
    """Remove a file unless `in_use` keeps it; return whether it is gone.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_symlink():
        path.unlink(missing_ok=True)
        return True
    try:
        with exclusive(path):
            if os.name != "nt":
                path.unlink(missing_ok=True)
        if os.name == "nt":  # it removes no file that is open
            path.unlink(missing_ok=True)
    except (BlockingIOError, PermissionError):
        return False
    return True


if os.name == "nt":
    import msvcrt

    def _share(file: IO[bytes]) -> None:
        """Do nothing: Windows removes no file that is open."""

    def _lock(file: IO[bytes]) -> None:
        file.seek(2**40)  # after the content, which others can then still read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _share(file: IO[bytes]) -> None:
        with contextlib.suppress(OSError):  # such as a file system without locks
            fcntl.flock(file.fileno(), fcntl.LOCK_SH)

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
