"""SHA-256 of files. They tell which video and which weights a result was made with."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from surgsam2.errors import InputError

END_BYTES = 1 << 20
"""Number of bytes that a quick fingerprint reads at each end of a file."""


def sha256_of(path: Path | str, cancelled: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits.

    Args:
        path: the file.
        cancelled: an event; once it is set, hashing stops.

    Raises:
        InputError: the file cannot be read, or `cancelled` was set.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 20):
                if cancelled is not None and cancelled.is_set():
                    raise InputError(f"hashing {path} was cancelled")
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def quick_fingerprint(files: Sequence[Path]) -> str:
    """Return 64 hexadecimal digits that tell files apart without reading all of them.

    They depend on the size and on the first and last mebibyte of a single file, and on the names
    and sizes of several files. Equal digits mean that these are most likely the same files; a
    byte in the middle may have changed.

    Args:
        files: one file, or the files of a folder in a fixed order.

    Raises:
        InputError: a file cannot be read.
    """
    return fingerprint_of(_described(path, read=len(files) == 1) for path in files)


def fingerprint_of(files: Iterable[tuple[str, int, bytes | None]]) -> str:
    """Return the quick fingerprint of files wherever they are.

    Args:
        files: name, number of bytes, and the first and last mebibyte of each file; None instead
            of the content if there are several files.
    """
    digest = hashlib.sha256()
    for name, size, ends in files:
        digest.update(f"{size}\n".encode())
        digest.update(name.encode(errors="surrogateescape") if ends is None else ends)
    return digest.hexdigest()


def _described(path: Path, read: bool) -> tuple[str, int, bytes | None]:
    try:
        size = path.stat().st_size
        if not read:
            return path.name, size, None
        with path.open("rb") as file:
            head = file.read(END_BYTES)
            file.seek(max(0, size - END_BYTES))
            return path.name, size, head + file.read(END_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


class Fingerprints:
    """The hashes of the inputs of a run, computed in a thread beside it.

    Use it in a ``with`` block; at the end of the block an unfinished computation is cancelled.

    Args:
        inputs: the files by the name of the input. Of several files, names and contents are
            hashed together.
        known: hashes that need not be computed, by the name of the input.
    """

    def __init__(
        self, inputs: dict[str, list[Path]], known: Mapping[str, str] | None = None
    ) -> None:
        self._cancelled = threading.Event()
        self._done: dict[str, str | None] = dict.fromkeys(inputs) | dict(known or {})
        unknown = {name: files for name, files in inputs.items() if not self._done[name]}
        self._thread = threading.Thread(target=self._work, args=(unknown,), daemon=True)

    def _work(self, inputs: dict[str, list[Path]]) -> None:
        for name, files in inputs.items():
            try:
                self._done[name] = self._hash(files)
            except InputError:  # the file has gone, or hashing was cancelled
                continue

    def _hash(self, files: Iterable[Path]) -> str | None:
        digests = [(file.name, sha256_of(file, self._cancelled)) for file in files]
        if len(digests) <= 1:
            return digests[0][1] if digests else None
        text = "".join(f"{name}\0{digest}\n" for name, digest in digests)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def results(self, *, wait: bool) -> dict[str, str | None]:
        """Return the hashes, None for an input without files.

        Args:
            wait: wait until all are computed; otherwise the computation is cancelled, and
                hashes that are not complete are None.
        """
        if not wait:
            self._cancelled.set()
        self._thread.join()
        return dict(self._done)

    def __enter__(self) -> Fingerprints:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._cancelled.set()
        self._thread.join()
