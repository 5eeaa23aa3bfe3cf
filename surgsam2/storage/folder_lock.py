"""A lock on a file that one process holds, and that ends with that process however it ends."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold ``path`` (created when missing, never deleted) for the duration of the block.

    The operating system keeps the lock, so a killed process does not leave one behind.
    Where the file system has no locks (some network folders) the block runs without one,
    with a warning in the log.

    Raises:
        BlockingIOError: another process, or another block in this one, holds it.
        OSError: the file cannot be opened.
    """
    with path.open("a+b") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _HELD:
                raise BlockingIOError(errno.EWOULDBLOCK, "held by another process") from error
            logger.warning("%s cannot be locked on this file system: %s", path, error.strerror)
        yield  # closing the file frees the lock


if os.name == "nt":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(2**40)  # beyond the content, which stays readable for others
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
