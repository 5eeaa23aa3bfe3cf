"""Files that are either the old one or the complete new one, never half of one.

A file is written under a temporary name beside its destination and is renamed when it is
complete. `writing` turns every `OSError` into an `OutputError` that names the destination.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError, SurgSAM2Error

TEMPORARY_SUFFIX = ".part"
"""The end of the names of unfinished files. Those of a process that was killed can be deleted."""


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an `OSError` that is raised in the block into an `OutputError` that names `path`."""
    try:
        yield
    except SurgSAM2Error:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise OutputError(f"cannot write {path}: {reason}") from error


def write_bytes_atomically(
    path: Path | str, data: bytes | memoryview, *, durable: bool = False
) -> None:
    """Write a file; an earlier one is replaced when all of the new one is written.

    The file gets the permissions of an ordinary new file.

    Args:
        path: the file. Its folder must exist.
        data: the content.
        durable: wait until the content is on the disk before the file gets its name, so that
            it survives a power failure. This takes some milliseconds.

    Raises:
        OutputError: the file cannot be written; an earlier file is intact.
    """
    path = Path(path)
    with writing(path):
        temporary = temporary_beside(path)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105  (one name to replace in tests)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write a text file as `write_bytes_atomically` does, in UTF-8 with Unix line ends."""
    write_bytes_atomically(path, text.encode())


def replace(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its final name; raise `OutputError` if that fails."""
    with writing(path):
        os.replace(temporary, path)  # noqa: PTH105


def temporary_beside(path: Path) -> Path:
    """Return a hidden, unused name in the folder of `path`, for a file that is not finished."""
    return path.with_name(f".{path.name[-80:]}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
