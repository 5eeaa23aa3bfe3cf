"""Files and folders on this machine or in a store that fsspec knows, such as S3 or SFTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from surgsam2.errors import InputError, MissingDependencyError, OutputError
from surgsam2.storage.atomic_file import temporary_beside, write_bytes_atomically, writing
from surgsam2.storage.hashing import END_BYTES, fingerprint_of, quick_fingerprint

_T = TypeVar("_T")
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.2
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors that another try does not mend."""
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"}
"""Schemes of stores that have buckets but no folders."""
_PASSWORD = re.compile(r"([\w+-]+://[^:/@\s]*):[^/\s]*@")
_QUERY = re.compile(r"([\w+-]+://[^?\s]*)\?[^\s'\")]*")
"""What follows the question mark of an address is often a key to what it names."""


@dataclass(frozen=True)
class Place:
    """A file or folder, by its path or by an address such as ``s3://bucket/name``.

    Reading and writing elsewhere is tried up to four times. Every error is a `SurgSAM2Error` that
    names the place.
    """

    text: str
    """The path or the address. It may hold secrets, which ``str`` of the place hides."""

    @classmethod
    def of(cls, value: Place | str | os.PathLike[str]) -> Place:
        """Return the place that a path or an address names.

        Raises:
            InputError: the address begins with a scheme that is not known.
            MissingDependencyError: the package for the scheme is not installed.
        """
        if isinstance(value, Place):
            return value
        text = os.fspath(value)
        scheme = scheme_of(text)
        if scheme == "file":
            return cls(text[len("file://") :])
        if scheme:
            _check_scheme(scheme, text)
            return cls(text.rstrip("/"))
        return cls(str(Path(text)))

    @property
    def is_local(self) -> bool:
        """Whether the place is in the file system of this machine."""
        return not scheme_of(self.text)

    @property
    def path(self) -> Path:
        """The path of a local place."""
        if not self.is_local:
            raise InputError(f"{self}: a place in the file system of this machine is needed here")
        return Path(self.text)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.text) if not self.is_local else self.path.name

    def __truediv__(self, name: str | Place) -> Place:
        """Return a place inside a folder; a name that is a whole path or address stays."""
        if isinstance(name, Place) or scheme_of(name):
            return Place.of(name)
        if self.is_local:
            return Place(str(self.path / name))
        return Place(f"{self.text}/{name}")

    def __str__(self) -> str:
        return _without_secrets(self.text)

    @property
    def parent(self) -> Place:
        """The folder that holds the place."""
        return Place(str(self.path.parent) if self.is_local else posixpath.dirname(self.text))

    def within(self, folder: Place) -> str:
        """Return the path that leads from a folder to this place in it, with slashes."""
        if self.is_local:
            return self.path.relative_to(folder.path).as_posix()
        return self.text[len(folder.text) + 1 :]

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        if self.is_local:
            return self.path.exists()
        return self._reading(_exists)

    def names(self) -> list[str]:
        """Return the names in a folder in order; none if there is no such folder."""
        try:
            if self.is_local:
                return sorted(os.listdir(self.path))  # noqa: PTH208
            found = self._reading(lambda system, path: system.ls(path, detail=False), missing=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"cannot read {self}: {error.strerror or error}") from error
        return sorted(posixpath.basename(str(name).rstrip("/")) for name in found)

    def read_bytes(self) -> bytes | None:
        """Return the content of a file; None if there is none."""
        try:
            if self.is_local:
                return self.path.read_bytes()
            data: bytes = self._reading(lambda system, path: system.cat_file(path), missing=True)
            return data
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"cannot read {self}: {error.strerror or error}") from error

    def write_bytes(self, data: bytes) -> None:
        """Write a file as a whole: readers see the old content or the new one."""
        if self.is_local:
            write_bytes_atomically(self.path, data, durable=True)
        else:
            self._writing(lambda system, path: _put(system, path, data))

    def make_folder(self) -> None:
        """Make a folder, with its parents, where the store has folders."""
        if self.is_local:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        else:
            self._writing(_make_folder)

    def delete(self) -> None:
        """Delete a file, or a folder with all that is in it; nothing happens without one."""
        if self.is_local:
            with writing(self.path):
                if self.path.is_dir() and not self.path.is_symlink():
                    shutil.rmtree(self.path)
                else:
                    self.path.unlink(missing_ok=True)
            return
        self._writing(_remove)

    def download(self, target: Path) -> None:
        """Copy a file, or the files of a folder, to a path on this machine.

        Raises:
            InputError: it cannot be read.
            OutputError: the path cannot be written.
        """
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        part = temporary_beside(target)
        try:
            self._reading(lambda system, path: system.get(path, str(part), recursive=True))
            with writing(target):
                os.replace(part, target)  # noqa: PTH105
        finally:
            shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)

    def upload(self, source: Path) -> None:
        """Copy a file of this machine to this place."""
        self._writing(lambda system, path: _put(system, path, source))

    def fingerprint(self) -> str:
        """Return the quick fingerprint of a file, or of the files in a folder.

        Raises:
            InputError: it cannot be read.
        """
        if self.is_local:
            path = self.path
            if path.is_dir():
                return quick_fingerprint(sorted(p for p in path.iterdir() if p.is_file()))
            return quick_fingerprint([path])

        def read(system: Any, path: str) -> str:
            info = system.info(path)
            if info["type"] == "directory":
                files = sorted(system.ls(path, detail=True), key=lambda item: item["name"])
                return fingerprint_of(
                    (posixpath.basename(f["name"]), f["size"], None)
                    for f in files
                    if f["type"] == "file"
                )
            size = info["size"]
            head = system.cat_file(path, start=0, end=min(END_BYTES, size))
            tail = system.cat_file(path, start=max(0, size - END_BYTES), end=size)
            return fingerprint_of([(self.name, size, head + tail)])

        return str(self._reading(read))

    def size(self) -> int:
        """Return the number of bytes of a file, or of the files in a folder; 0 if there is none."""
        try:
            if self.is_local:
                if not self.path.is_dir():
                    return self.path.stat().st_size
                return sum(entry.stat().st_size for entry in os.scandir(self.path))
            return int(self._reading(lambda system, path: system.du(path), missing=True))
        except OSError:
            return 0

    def _reading(self, work: Callable[[Any, str], _T], missing: bool = False) -> _T:
        return self._trying(work, InputError, "read", missing)

    def _writing(self, work: Callable[[Any, str], _T]) -> _T:
        return self._trying(work, OutputError, "write", missing=False)

    def _trying(
        self,
        work: Callable[[Any, str], _T],
        kind: type[InputError | OutputError],
        verb: str,
        missing: bool,
    ) -> _T:
        """Do something in the store, again after a passing error.

        Args:
            work: what is done with the file system and the path in it.
            kind: the class of the error when it does not succeed.
            verb: what is done, for the message.
            missing: raise `FileNotFoundError` as it is.
        """
        for attempt in range(_ATTEMPTS):
            try:
                system, path = _system(self.text)
                return work(system, path)
            except FileNotFoundError as error:
                if missing:
                    raise
                what = "file" if kind is InputError else "bucket or folder"
                raise kind(f"cannot {verb} {self}: there is no such {what}") from error
            except Exception as error:  # each store has error classes of its own
                last = attempt == _ATTEMPTS - 1
                if last or isinstance(error, _FINAL):
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise kind(f"cannot {verb} {self}: {_without_secrets(reason)}") from error
                _disconnect(self.text)
                time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


class LocalCopies:
    """Copies of files from elsewhere in a folder of this machine, up to a number of bytes.

    Local files are not copied. The copies that were not used for the longest time are deleted
    first; the newest one stays, even if it alone is too large.

    Args:
        folder: the folder, which belongs to this object alone.
        limit: greatest number of bytes of all copies together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._copies: dict[tuple[str, str], Path] = {}  # the last used one comes last

    def fetch(self, place: Place) -> Path:
        """Return a path of this machine with the content of a place.

        Raises:
            InputError: the place cannot be read.
            OutputError: the folder cannot be written.
        """
        if place.is_local:
            return place.path
        key = (place.text, place.fingerprint())
        path = self._copies.pop(key, None)
        if path is None:
            token = hashlib.sha256("\n".join(key).encode()).hexdigest()[:32]
            path = self._folder / token / (place.name or "file")
            place.download(path)
        self._copies[key] = path
        self._shrink()
        return path

    def _shrink(self) -> None:
        sizes = {key: Place(str(path)).size() for key, path in self._copies.items()}
        total = sum(sizes.values())
        for key in list(self._copies)[:-1]:
            if total <= self._limit:
                break
            total -= sizes[key]
            shutil.rmtree(self._copies.pop(key).parent, ignore_errors=True)


def scheme_of(text: str) -> str:
    """Return the scheme that an address begins with, such as ``s3``; empty for a path."""
    scheme, mark, _ = text.partition("://")
    return scheme.lower() if mark and scheme.replace("+", "").replace("-", "").isalnum() else ""


def _without_secrets(text: str) -> str:
    """Return a text without the passwords and the queries of the addresses in it."""
    return _QUERY.sub(r"\1?…", _PASSWORD.sub(r"\1:…@", text))


def _check_scheme(scheme: str, text: str) -> None:
    from fsspec.registry import get_filesystem_class, known_implementations, registry

    if scheme not in known_implementations and scheme not in registry:
        raise InputError(
            f"{_without_secrets(text)}: the scheme {scheme}:// is not known; use a path, s3://, "
            "gs://, sftp:// or another scheme of fsspec"
        )
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingDependencyError(f"{_without_secrets(text)}: {error}") from error


def _system(text: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it, without cached listings."""
    import fsspec

    system, path = fsspec.core.url_to_fs(text)
    system.invalidate_cache()
    return system, path


def _disconnect(text: str) -> None:
    """Have the next operation connect anew: fsspec keeps connections, lost ones too."""
    from fsspec.registry import get_filesystem_class

    get_filesystem_class(scheme_of(text)).clear_instance_cache()


def _put(system: Any, path: str, content: bytes | Path) -> None:
    """Write a file under its final name only when all of it is there.

    Object stores do so by themselves; elsewhere the file is written beside and renamed.
    """
    _make_folder(system, posixpath.dirname(path))
    replaces = "sftp" in _protocols(system) or "ssh" in _protocols(system)
    target = f"{path}.part" if replaces else path
    if isinstance(content, bytes):
        system.pipe_file(target, content)
    else:
        system.put_file(str(content), target)
    if replaces:
        with contextlib.suppress(FileNotFoundError):
            system.rm_file(path)
        system.mv(target, path)


def _make_folder(system: Any, path: str) -> None:
    """Make a folder with its parents, but where there are none: there it would make a bucket."""
    if not _OBJECT_STORES.intersection(_protocols(system)):
        system.makedirs(path, exist_ok=True)


def _exists(system: Any, path: str) -> bool:
    """Whether there is a file or folder; `exists` of fsspec takes a lost connection for a no."""
    try:
        system.info(path)
    except FileNotFoundError:
        return False
    return True


def _remove(system: Any, path: str) -> None:
    """Delete a file or folder; an earlier attempt may have deleted a part of it."""
    for _ in range(_ATTEMPTS):
        if not _exists(system, path):
            return
        with contextlib.suppress(FileNotFoundError):
            system.rm(path, recursive=True)


def _protocols(system: Any) -> tuple[str, ...]:
    protocol = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@contextlib.contextmanager
def local_output(place: Place, scratch: Path) -> Iterator[Path]:
    """Give a folder of this machine whose files are in a place at the end of the block.

    A local place is given as it is. Otherwise the files are copied when the block ends without
    an error; ``report.json`` comes last and so says that the folder is complete.

    Args:
        place: the folder.
        scratch: a folder of this machine for the files meanwhile.
    """
    if place.is_local:
        yield place.path
        return
    yield scratch
    files = sorted(path for path in scratch.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.name == "report.json"):
        (place / path.relative_to(scratch).as_posix()).upload(path)
