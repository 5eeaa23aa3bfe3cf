"""The files of an unpacked scene, checked before MRML's own code reads them.

A scene description (``.mrml``) names the files that are read with it, and some of those name
further files. All of them must lie in the folder that the scene was unpacked into. A sequence
may be an archive in the archive (``.seq.mrb``), which MRML unpacks by itself: here it is
unpacked, checked, and packed again, so that MRML finds an archive that we wrote.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.parsers import expat

from surgsam2.errors import InputError, OutputError, SurgSAM2Error
from surgsam2.mrml.hdf5_check import HDF5, check_hdf5
from surgsam2.storage.archive import pack, unpacked
from surgsam2.storage.limits import ARCHIVE_BYTES
from surgsam2.video.header_check import check_header

DESCRIPTION = ".mrml"
BUNDLE = ".mrb"
_LISTS = (DESCRIPTION, ".vtm")  # XML that names other files
_MAX_XML = 1 << 27  # bytes of one of them
_HEADERS = (".nrrd", ".nhdr", ".mha", ".mhd")
_NRRD = b"NRRD"
_DRIVE_OR_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class UnpackedScene:
    """A scene in a folder, whose files name no files outside of it."""

    folder: Path
    description: Path
    """The ``.mrml`` file in it that is to be read."""
    tags: frozenset[str]
    """Names of all XML elements in it: of which kinds its nodes are."""


def check_scene(folder: Path, source: Path) -> UnpackedScene:
    """Check the files of an unpacked scene, and rewrite the archives in it.

    Args:
        folder: what `source` was unpacked into.
        source: the scene file, for messages.

    Raises:
        InputError: there is no scene, or a file names something outside of the folder.
        OutputError: the folder for temporary files has too little room.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    left = ARCHIVE_BYTES.value - sum(file.stat().st_size for file in files)
    tags: set[str] = set()
    for file in files:
        with _naming(source, folder, file):
            if file.suffix.lower() != BUNDLE:
                tags |= _check_file(file)
                continue
            with unpacked(file, left) as inner:
                for each in sorted(each for each in inner.rglob("*") if each.is_file()):
                    left -= each.stat().st_size
                    with _naming(file, inner, each):
                        if each.suffix.lower() == BUNDLE:
                            raise InputError(f"{each}: is a scene in a sequence of a scene")
                        tags |= _check_file(each)
                file.unlink()
                pack(inner, file)
    # the sequences of old scenes are described by files in further folders
    found = sorted((len(file.parts), file) for file in files if file.suffix == DESCRIPTION)
    if not found:
        raise InputError(f"{source}: is not a scene, there is no {DESCRIPTION} file in it")
    if len(found) > 1 and found[0][0] == found[1][0]:
        raise InputError(f"{source}: has several scenes ({DESCRIPTION} files); save each by itself")
    return UnpackedScene(folder, found[0][1], frozenset(tags))


@contextlib.contextmanager
def _naming(source: Path, folder: Path, file: Path) -> Iterator[None]:
    """Make errors name the scene file and the member in place of a temporary file."""
    try:
        yield
    except OutputError:
        raise
    except SurgSAM2Error as error:
        name = file.relative_to(folder).as_posix()
        text = str(error).removeprefix(f"{file}: ").replace(f"{folder}/", "")
        raise InputError(f"{source}: its member {name!r}: {text}") from error


def _check_file(file: Path) -> set[str]:
    """Check what a file names; returns the names of its elements if it is a description."""
    suffix = file.suffix.lower()
    if suffix in _LISTS:
        return _check_list(file)
    if suffix in _HEADERS:
        check_header(file)
        return set()
    with file.open("rb") as stream:
        start = stream.read(len(HDF5))
    if start.startswith(_NRRD):  # read as such whatever its name
        raise InputError(f"{file}: is an NRRD file, and its name must end in .nrrd or .nhdr")
    if start == HDF5:
        check_hdf5(file)
    return set()


def _check_list(file: Path) -> set[str]:
    if file.stat().st_size > _MAX_XML:
        raise InputError(f"{file}: has more than {_MAX_XML} bytes, too many for such a file")
    tags: set[str] = set()

    def on_element(tag: str, attributes: dict[str, str]) -> None:
        tags.add(tag)
        for name, value in attributes.items():
            kind = name.lower()
            if (kind.startswith("uri") and value.strip()) or (
                kind.startswith("file") and _leads_outside(value)
            ):
                raise InputError(
                    f"{file}: its element {tag[:50]!r} names {value[:200]!r}, and may only name "
                    "files of the scene itself; save the scene again as .mrb in 3D Slicer"
                )

    def on_document_type(*_: object) -> None:
        raise InputError(f"{file}: declares a document type, which no scene needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler = on_element
    parser.StartDoctypeDeclHandler = on_document_type  # entities in it could grow without bound
    try:
        with file.open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, SurgSAM2Error):
            raise
        raise InputError(f"{file}: cannot be read as XML ({error}); is it complete?") from error
    return tags


def _leads_outside(name: str) -> bool:
    """Return whether a file name is not relative or leaves its folder, percent-encoded or not."""
    return any(
        text.startswith(("/", "\\", "~"))
        or _DRIVE_OR_SCHEME.match(text) is not None
        or ".." in re.split(r"[/\\]", text)
        for text in (name, unquote(name))
    )
