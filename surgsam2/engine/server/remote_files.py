"""What an application on another machine may use of this one: named models, its own uploads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from surgsam2.engine.protocol.requests import Chunk, ChunkWanted, OpenUpload
from surgsam2.errors import ImageFileError, InputError, OutputError, VideoError
from surgsam2.model.configs import config_names
from surgsam2.model.options import ModelOptions
from surgsam2.model.zoo import cache_folder, find_known
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.folder_lock import in_use, remove_unused
from surgsam2.storage.image_file import read_rgb
from surgsam2.storage.temporary import TemporaryFolder

CHUNK_BYTES = 2**20
"""Size of the parts in which a file is sent."""
_IN_FLIGHT = 6
"""Parts that are asked for at once."""
_LOOK_SECONDS = 0.05
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_KEPT = re.compile(r"[0-9a-f]{64}(?:\.[a-z0-9]{1,8}|\.[0-9a-f]+\.part)?")
"""Names of the files that this program writes into the cache."""


class RemoteFiles:
    """The files of one session with an application on another machine.

    Videos are kept in a temporary folder until the session ends; with a cache they are kept
    longer, by their hash, and the oldest that no session uses are removed when it is full.

    Args:
        models: folder with checkpoints and configurations that may be used by name; None
            allows the models that surgsam2 knows alone.
        cache: folder in which videos stay after the session; None keeps none.
        limit: bytes that the videos may take.

    Raises:
        OutputError: the folder of the videos cannot be made.
    """

    def __init__(
        self, models: Path | None = None, cache: Path | None = None, limit: int = 64 * 2**30
    ) -> None:
        self._models = models
        self._limit = limit
        self._chunks: queue.Queue[Chunk] = queue.Queue()
        self._pictures = TemporaryFolder()
        self._temporary: TemporaryFolder | None = None
        self._used: IO[bytes] | None = None
        if cache is None:
            self._temporary = TemporaryFolder()
            self._folder = self._temporary.path
        else:
            with writing(cache):
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = cache

    def close(self) -> None:
        """Delete the videos, unless there is a cache."""
        self._use(None)
        self._pictures.remove()
        if self._temporary is not None:
            self._temporary.remove()

    def without_paths(self, text: str) -> str:
        """Return a text in which this machine's folders are not named."""
        for folder in (self._folder, self._models, cache_folder()):
            if folder is not None:
                text = text.replace(f"{folder}{os.sep}", "")
        return re.sub(r"[0-9a-f]{64}\.[a-z0-9]{1,8}", "the video", text)

    def model(self, options: ModelOptions) -> ModelOptions:
        """Return options whose names are replaced by files of the folder of models.

        Raises:
            InputError: a model or configuration is no name, or is not known here.
        """
        values = options.as_mapping()
        for field in ("model", "config"):
            if values[field] is not None:
                values[field] = self._model_file(str(values[field]), field)
        return ModelOptions.from_mapping(values)

    def receive(
        self,
        request: OpenUpload,
        ask: Callable[[ChunkWanted], object],
        check: Callable[[], None],
    ) -> Path:
        """Return the file that an application sends; one that is here already is not sent.

        Args:
            request: describes the file.
            ask: sends a request for a part.
            check: called again and again; raises what is to end the transfer.

        Raises:
            InputError: the description is wrong, the file is too large, or arrives damaged.
            VideoError: the application cannot read the file.
            OutputError: there is no room for the file.
        """
        if not _SHA256.fullmatch(request.sha256) or request.size < 1:
            raise InputError("a video file must be described by its size and SHA-256")
        if request.size > self._limit:
            raise InputError(
                f"the video has {request.size / 1e9:.1f} GB, and this server takes files up to "
                f"{self._limit / 1e9:.1f} GB; send a shorter or smaller video"
            )
        suffix = request.suffix.lower() if _SUFFIX.fullmatch(request.suffix.lower()) else ""
        path = self._folder / f"{request.sha256}{suffix}"
        with writing(path):
            self._use(None if path.is_symlink() else in_use(path))
            if self._used is not None:
                os.utime(path)  # it is the newest in the cache
                return path
        self._make_room(request.size)
        part, held = self._new_part(request.sha256)
        try:
            with writing(path):
                self._write(part, request, ask, check)
                if os.name == "nt":  # it renames no file that is open
                    held.close()
                part.replace(path)
                self._use(in_use(path))
        finally:
            held.close()
            part.unlink(missing_ok=True)
        return path

    def decode(self, data: bytes) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB image of a JPEG file.

        Raises:
            InputError: it is damaged, or larger than frames may be.
        """
        path = self._pictures.path / "frame.jpg"
        try:
            path.write_bytes(data)
            return read_rgb(path, formats=("JPEG",))
        except ImageFileError as error:
            raise InputError(f"a live frame cannot be read: {error.reason}") from error
        except OSError as error:
            raise OutputError(f"a live frame has no room ({error.strerror})") from error

    def give(self, chunk: Chunk) -> None:
        """Take a part of a file; called by the reading thread."""
        self._chunks.put(chunk)

    def _use(self, file: IO[bytes] | None) -> None:
        """Keep other sessions from removing this file, and no longer the one before."""
        if self._used is not None:
            self._used.close()
        self._used = file

    def _new_part(self, sha256: str) -> tuple[Path, IO[bytes]]:
        """Return a new file for what arrives, and the same file open, which keeps it."""
        with writing(self._folder):
            while True:
                part = self._folder / f"{sha256}.{secrets.token_hex(8)}.part"
                part.touch(exist_ok=False)
                held = in_use(part)
                if held is not None:  # else another session has removed it at once
                    return part, held

    def _write(
        self,
        part: Path,
        request: OpenUpload,
        ask: Callable[[ChunkWanted], object],
        check: Callable[[], None],
    ) -> None:
        digest, asked, written = hashlib.sha256(), 0, 0
        with part.open("wb") as file:
            while written < request.size:
                while asked < request.size and asked - written < _IN_FLIGHT * CHUNK_BYTES:
                    length = min(CHUNK_BYTES, request.size - asked)
                    ask(ChunkWanted(request.request, asked, length))
                    asked += length
                chunk = self._next_chunk(check)
                if chunk.upload != request.request:  # of a transfer that was cancelled
                    continue
                length = min(CHUNK_BYTES, request.size - written)
                if chunk.problem is not None:
                    raise VideoError(f"the video cannot be sent: {chunk.problem}")
                if chunk.offset != written or len(chunk.data) != length:
                    raise InputError("the video changed while it was sent; open it again")
                file.write(chunk.data)
                digest.update(chunk.data)
                written += length
        if digest.hexdigest() != request.sha256:
            raise InputError("the video changed while it was sent; open it again")

    def _next_chunk(self, check: Callable[[], None]) -> Chunk:
        while True:
            check()
            try:
                return self._chunks.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue

    def _make_room(self, size: int) -> None:
        with writing(self._folder):
            files: list[tuple[float, int, Path]] = []
            for path in self._folder.iterdir():
                # another session may rename or remove it meanwhile
                with contextlib.suppress(FileNotFoundError):
                    if _KEPT.fullmatch(path.name):
                        status = path.lstat()
                        files.append((status.st_mtime, status.st_size, path))
            total = sum(length for _, length, _ in files)
            for _, length, path in sorted(files):
                if total + size <= self._limit:
                    return
                if remove_unused(path):
                    total -= length
        if total + size > self._limit:
            raise OutputError("the server has no room for the video")

    def _model_file(self, name: str, field: str) -> str:
        if _NAME.fullmatch(name) and self._models is not None:
            path = self._models / name
            if path.is_file():
                return str(path)
        known = name in config_names()
        if field == "model":
            known = name == "demo" or find_known(name) is not None
        if not known:
            raise InputError(
                f"this server has no {field} {name!r:.100}; choose demo or one that "
                "`surgsam2 models list` shows there"
            )
        return name
