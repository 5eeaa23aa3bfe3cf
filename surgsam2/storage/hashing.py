"""SHA-256 of files: which video and which weights a result was made with."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from surgsam2.errors import InputError

_END = 1 << 20  # bytes of each end that a quick fingerprint reads


def sha256_of(path: Path | str, cancelled: threading.Event | None = None) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        InputError: the file cannot be read, or `cancelled` was set on the way.
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
    """64 hexadecimal digits that tell files apart without reading them whole.

    From the size, first and last megabyte of a single file; from the names and sizes of
    several. Says whether these are the files that were there before, not that no byte of
    them was changed.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
            digest.update(f"{size}\n".encode())
            if len(files) > 1:
                digest.update(path.name.encode(errors="surrogateescape"))
                continue
            with path.open("rb") as file:
                digest.update(file.read(_END))
                file.seek(max(0, size - _END))
                digest.update(file.read(_END))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


class Fingerprints:
    """Hashes of the inputs of a run, computed beside it.

    Args:
        inputs: name -> files; several files are hashed by name and content together.
    """

    def __init__(self, inputs: dict[str, list[Path]]) -> None:
        self._cancelled = threading.Event()
        self._done: dict[str, str | None] = dict.fromkeys(inputs)
        self._thread = threading.Thread(target=self._work, args=(inputs,), daemon=True)

    def _work(self, inputs: dict[str, list[Path]]) -> None:
        for name, files in inputs.items():
            try:
                self._done[name] = self._hash(files)
            except InputError:  # gone meanwhile, or cancelled: there is no hash
                continue

    def _hash(self, files: Iterable[Path]) -> str | None:
        digests = [(file.name, sha256_of(file, self._cancelled)) for file in files]
        if len(digests) <= 1:
            return digests[0][1] if digests else None
        text = "".join(f"{name}\0{digest}\n" for name, digest in digests)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def known(self) -> dict[str, str | None] | None:
        """The hashes once all are computed, None before; None for what has no files."""
        return None if self._thread.is_alive() else dict(self._done)

    def results(self, *, wait: bool) -> dict[str, str | None]:
        """The hashes; None where there is nothing to hash, or not when `wait` is false."""
        if not wait:
            self._cancelled.set()
        self._thread.join()
        return dict(self._done)

    def __enter__(self) -> Fingerprints:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cancelled.set()
        self._thread.join()
