"""Files with the secrets that allow the use of a server."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from surgsam2.errors import InputError
from surgsam2.storage.atomic_file import writing

VARIABLE = "SURGSAM2_TOKEN"
"""Environment variable that holds a client's token."""
FILE_VARIABLE = "SURGSAM2_TOKEN_FILE"
"""Environment variable that names a file with a client's token."""
_SHORTEST = 16
_MAX_BYTES = 2**16


def make_token_file(path: Path) -> bool:
    """Make a file with a new secret that only its owner can read, unless there is one.

    Returns:
        Whether it was made.

    Raises:
        OutputError: it cannot be written.
    """
    if path.exists():
        return False
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return True


def read_tokens(path: Path) -> list[str]:
    """Return the secrets of a file, one a line; empty lines and those after ``#`` do not count.

    Raises:
        InputError: the file cannot be read, has no secret, or one that is too short.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: is too large for a file of tokens")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not tokens:
        raise InputError(f"{path}: has no token; write one secret a line")
    if any(len(token) < _SHORTEST for token in tokens):
        raise InputError(f"{path}: a token must have at least {_SHORTEST} characters")
    return tokens


def client_token() -> str:
    """Return the token of the environment: `VARIABLE`, or the first one in `FILE_VARIABLE`.

    It is empty when neither is set.

    Raises:
        InputError: the file cannot be read.
    """
    token = os.environ.get(VARIABLE, "").strip()
    path = os.environ.get(FILE_VARIABLE, "").strip()
    return token or (read_tokens(Path(path))[0] if path else "")
