"""The only module that reads zip archives; it takes each of them for a stranger's.

What an archive says of itself may be false. Names, kinds and sizes of all members are checked
before the first one is read, and the bytes are counted while they are unpacked. Nothing is
ever written outside the folder that is given.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from surgsam2.errors import InputError, OutputError, SurgSAM2Error, raise_if_out_of_memory
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.limits import ARCHIVE_BYTES, ARCHIVE_MEMBERS, ARCHIVE_RATIO
from surgsam2.storage.temporary import TemporaryFolder

_REMEDY = "do not use the archive, ask its author for one that is made by an ordinary program"
_CHUNK = 1 << 20  # number of bytes that are read at a time
_LIST_BYTES = 1 << 24  # bytes of the longest list of members that is read into memory
_DEPTH = 32  # largest number of names in a path
_NAME_BYTES = 255  # bytes of the longest name of a file or folder
_UNSUSPECTED_BYTES = 1 << 26  # up to this size the ratio of compression does not matter
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x2041  # the flags of encryption, strong encryption and an encrypted header


class Archive:
    """A zip archive whose members have been checked; `open_archive` makes it.

    Attributes:
        path: the archive.
        unpacked_bytes: size of all its files together, in bytes.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, most: int | None) -> None:
        self.path = path
        self._zip = archive
        self._members = archive.infolist()
        self.unpacked_bytes = sum(member.file_size for member in self._members)
        self._check(most)

    @property
    def files(self) -> list[str]:
        """The names of all files, in the order of the archive, with forward slashes."""
        return [member.filename for member in self._members if not member.is_dir()]

    def read(self, name: str, most: int) -> bytes:
        """Return the beginning of a file.

        Args:
            name: the name of the member.
            most: the largest number of bytes that is returned.

        Raises:
            InputError: there is no such file, or it is damaged.
        """
        with self._reading(name), self._zip.open(name) as source:
            return source.read(most)

    def unpack(self, folder: Path) -> None:
        """Write all members into a folder, which exists and is empty.

        Raises:
            InputError: a member is damaged, or holds more than the archive says.
            OutputError: a file cannot be written. What was written before stays.
        """
        free = shutil.disk_usage(folder).free
        if self.unpacked_bytes > free:
            raise OutputError(
                f"cannot unpack {self.path}: it needs {self.unpacked_bytes / 1e9:.1f} GB in "
                f"{folder.parent}, and {free / 1e9:.1f} GB are free there; make room, or set "
                "TMPDIR to another folder"
            )
        with writing(folder):
            for member in self._members:
                target = folder.joinpath(*member.filename.split("/"))
                parent = target if member.is_dir() else target.parent
                parent.mkdir(parents=True, exist_ok=True)
                if member.is_dir():
                    continue
                if not target.resolve().is_relative_to(folder.resolve()):  # a device of Windows
                    raise self._refusal(member.filename, "is not the name of a file")
                with target.open("xb") as file:
                    for piece in self._content(member):
                        file.write(piece)

    def _content(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the pieces of a file; they never have more bytes than the list of members says."""
        left = member.file_size
        with self._reading(member.filename), self._zip.open(member) as source:
            while piece := source.read(_CHUNK):
                left -= len(piece)
                if left < 0:
                    raise self._refusal(member.filename, "holds more than the archive says")
                yield piece

    def _check(self, most: int | None) -> None:
        """Raise `InputError` for anything that ordinary programs do not write."""
        members, size = self._members, self.path.stat().st_size
        if len(members) > ARCHIVE_MEMBERS.value:
            raise InputError(
                f"{self.path}: refused, because the archive has {len(members)} members, more than "
                f"{ARCHIVE_MEMBERS.value}; {_REMEDY}, or raise {ARCHIVE_MEMBERS.variable}"
            )
        allowed = ARCHIVE_BYTES.value if most is None else most
        if self.unpacked_bytes > allowed:
            raise InputError(
                f"{self.path}: refused, because the archive unpacks to {self.unpacked_bytes} "
                f"bytes, more than {allowed}; {_REMEDY}, or raise {ARCHIVE_BYTES.variable}"
            )
        if self.unpacked_bytes > max(_UNSUSPECTED_BYTES, size * ARCHIVE_RATIO.value):
            raise InputError(
                f"{self.path}: refused, because the archive has {size} bytes and unpacks to "
                f"{self.unpacked_bytes}, more than {ARCHIVE_RATIO.value} times as much; {_REMEDY}, "
                f"or raise {ARCHIVE_RATIO.variable}"
            )
        places: set[str] = set()
        for member in members:
            if problem := _problem(member):
                raise self._refusal(member.orig_filename, problem)
            place = _place(member.filename)
            if place in places:
                raise self._refusal(member.filename, "is in the archive twice")
            places.add(place)
        files = {_place(name) for name in self.files}
        for member in members:
            *folders, _ = _place(member.filename).split("/")
            if any("/".join(folders[:depth]) in files for depth in range(1, len(folders) + 1)):
                raise self._refusal(member.filename, "lies in a file")

    def _refusal(self, name: str, problem: str) -> InputError:
        return InputError(
            f"{self.path}: refused, because its member {name[:200]!r} {problem}; {_REMEDY}"
        )

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn any error of a damaged member into an `InputError` that names the member."""
        try:
            yield
        except SurgSAM2Error:
            raise
        except Exception as error:  # a damaged file can raise anything
            raise_if_out_of_memory(error)
            raise InputError(
                f"{self.path}: its member {name[:200]!r} cannot be read ({error}); the archive is "
                "damaged, copy it again"
            ) from error


def is_archive(path: Path) -> bool:
    """Whether a file ends as a zip archive does."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # Python recognises the archive and refuses it, say for its disks
        return True


@contextlib.contextmanager
def open_archive(path: Path, most: int | None = None) -> Iterator[Archive]:
    """Open a zip archive and check its members.

    Args:
        path: the archive.
        most: the largest number of bytes that it may unpack to; None takes `ARCHIVE_BYTES`.

    Raises:
        InputError: it cannot be read as a zip archive, or has a member that ordinary programs do
            not write: a name that leads out of the folder, a link, a device, a name that comes
            twice, encryption, an unusual compression, or far more bytes than the archive.
    """
    with contextlib.ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(opened.enter_context(_File(path))))
        except OSError as error:
            raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
        except Exception as error:  # a damaged file can raise anything
            raise_if_out_of_memory(error)
            raise InputError(
                f"{path}: cannot be read as a zip archive ({error}); is it complete? Copy it again"
            ) from error
        yield Archive(path, archive, most)


@contextlib.contextmanager
def unpacked(path: Path, most: int | None = None) -> Iterator[Path]:
    """Unpack an archive into a temporary folder that only this user may read.

    The folder is removed at the end of the block.

    Args:
        path: the archive.
        most: as for `open_archive`.

    Raises:
        InputError: as for `open_archive`, or a member is damaged.
        OutputError: the folder for temporary files has too little room.
    """
    with TemporaryFolder() as folder:
        with open_archive(path, most) as archive:
            archive.unpack(folder)
        yield folder


def pack(folder: Path, path: Path) -> None:
    """Write all files of a folder into a new archive, uncompressed.

    Raises:
        OutputError: the archive exists or cannot be written.
    """
    with writing(path), zipfile.ZipFile(path, "x") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())


class _File(io.FileIO):
    """A file that refuses to read more at once than the list of members may have.

    The length of that list is a number in the file, and `zipfile` reads all of it into memory.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LIST_BYTES:
            raise zipfile.BadZipFile("its list of members is too long")
        return super().read(-1 if size is None else size)


def _problem(member: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with a member, as the end of a sentence; None if nothing is."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is a device, a pipe or a socket"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"is compressed by method {member.compress_type}, which is not deflate"
    # an extra field can replace the name
    return _problem_of_name(member.orig_filename) or _problem_of_name(member.filename)


def _problem_of_name(name: str) -> str | None:
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        return "has an absolute name"
    if "\\" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "has a backslash or a control character in its name"
    parts = name.removesuffix("/").split("/")
    # Windows leaves out dots and spaces at the end of a name
    if any(not part.rstrip(". ") for part in parts):
        return "has a name that leads to another folder"
    if len(parts) > _DEPTH or any(len(part.encode()) > _NAME_BYTES for part in parts):
        return "has a name that is too long"
    return None


def _place(name: str) -> str:
    """Return a text that is equal for names that are the same file on some file system."""
    return unicodedata.normalize("NFC", name.removesuffix("/")).casefold()
