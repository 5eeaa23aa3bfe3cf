"""Files that are either the old one or the complete new one, never half of one.

A file is written under a temporary name beside its destination and renamed when it
is complete. Every `OSError` on the way becomes an `OutputError` that names the
destination; this is the one place where that happens.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from surgsam2.errors import OutputError

TEMPORARY_SUFFIX = ".part"
"""How the names of unfinished files end; what a killed process leaves behind can be deleted."""


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turns an `OSError` raised inside the block into an `OutputError` that names ``path``."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise OutputError(f"cannot write {path}: {reason}") from error


def write_bytes_atomically(
    path: Path | str, data: bytes | memoryview, *, durable: bool = False
) -> None:
    """Writes ``data`` to ``path``, replacing what is there only once all of it is written.

    The folder must exist. The file gets the permissions of an ordinary new file. With
    ``durable`` it is on the disk itself before it gets its name, which also a power failure
    cannot undo; that costs some milliseconds.
    Raises `OutputError`; the previous file, if any, is then still intact.
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
    """`write_bytes_atomically` for text, as UTF-8 with ``\\n`` line ends."""
    write_bytes_atomically(path, text.encode())


def replace(temporary: Path, path: Path) -> None:
    """Gives the finished file ``temporary`` its final name. Raises `OutputError`."""
    with writing(path):
        os.replace(temporary, path)  # noqa: PTH105


def temporary_beside(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses, for a file that is not finished."""
    return path.with_name(f".{path.name[-80:]}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
