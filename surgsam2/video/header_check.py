"""A check of headers that name data files: they may name only files beside them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from surgsam2.errors import VideoError

_HEADER_BYTES = 65536
# A MetaImage header ends with this entry; a NRRD header ends with an empty line.
_META = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*(.*?)[ \t]*$", re.I | re.M)
_NRRD = re.compile(rb"^data ?file:[ \t]*(.*?)[ \t]*$", re.I | re.M)


def check_data_files(path: Path) -> None:
    """Refuse a MetaImage or NRRD header whose pixels lie outside its folder.

    Without this check, a header from an unknown source could show any file of the machine as
    pixels. Lists of data files are refused as well; a folder of images serves for one file per
    frame.

    Args:
        path: the header; files of other formats pass.

    Raises:
        VideoError: the header names such a file, or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in (".mha", ".mhd", ".nrrd", ".nhdr"):
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES).replace(b"\r", b"")
    except OSError as error:
        raise VideoError(f"{path}: cannot be opened ({error.strerror})") from error
    if suffix in (".nrrd", ".nhdr"):
        header, ended, _ = head.partition(b"\n\n")
        names = _NRRD.findall(header)
    else:
        names = _META.findall(head)[:1]
        ended = b"".join(names)
    if not ended and len(head) > _HEADER_BYTES // 2:
        raise VideoError(f"{path}: its header does not end within {_HEADER_BYTES} bytes")
    for raw in names:
        name = raw.decode("utf-8", "surrogateescape")
        if suffix in (".mha", ".mhd") and name.upper() == "LOCAL":
            continue
        if "%" in name or name.upper().startswith("LIST"):
            raise VideoError(
                f"{path}: its pixels are spread over several files; save it as one file"
            )
        if not _lies_beside(path, name):
            raise VideoError(
                f"{path}: its header names the data file {name[:100]!r}, which is outside its "
                "folder; put the data file beside it, or save both as one file"
            )


def _lies_beside(header: Path, name: str) -> bool:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in (*windows.parts, *PurePosixPath(name).parts):
        return False
    try:
        folder = header.parent.resolve()
        return (folder / name).resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a loop of links
        return False
