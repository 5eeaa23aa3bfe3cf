"""How many frames a DICOM file really holds, whatever its header declares."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

from surgsam2.errors import VideoError
from surgsam2.video.dicom_header import import_pydicom

_ITEM, _END_OF_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_TAGS = ["NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated"]


def frames_in_dicom(path: Path) -> int | None:
    """Count the frames whose pixels are complete in a DICOM file, reading no pixels.

    Args:
        path: the file.

    Returns:
        The number of frames; None if it cannot be told, as for frames in several fragments
        without a table of offsets.

    Raises:
        MissingDependencyError: pydicom is not installed.
        VideoError: the file is not DICOM, or is damaged before its pixels.
    """
    pydicom = import_pydicom(path)
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as file:
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
            return _count(file, data, path.stat().st_size)
    except (InvalidDicomError, OSError, ValueError, struct.error, EOFError) as error:
        raise VideoError(f"{path}: damaged DICOM file ({error}); export it again") from error


def _count(file: IO[bytes], data: Any, file_size: int) -> int | None:
    """Count the frames after the header; the file stands at the element with the pixels."""
    implicit, little = data.original_encoding
    head = file.read(8)
    order = "<" if little else ">"
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):
        return None
    if implicit:
        (length,) = struct.unpack(f"{order}I", head[4:])
    else:
        (length,) = struct.unpack(f"{order}I", file.read(4))
    if length == _UNDEFINED:
        return _encapsulated_frames(file, int(data.get("NumberOfFrames") or 1), file_size)
    bits = (
        int(data.get("Rows") or 0)
        * int(data.get("Columns") or 0)
        * int(data.get("SamplesPerPixel") or 1)
        * int(data.get("BitsAllocated") or 8)
    )
    available = min(length, file_size - file.tell())
    return available * 8 // bits if bits else None


def _encapsulated_frames(file: IO[bytes], declared: int, file_size: int) -> int | None:
    """Count frames that are stored as fragments of compressed data."""
    offsets, complete = 0, 0
    first_item = True
    while True:
        head = file.read(8)
        if len(head) < 8 or head[:4] == _END_OF_SEQUENCE:
            break
        if head[:4] != _ITEM:
            return None
        (length,) = struct.unpack("<I", head[4:])
        place = file.tell()
        if first_item:
            offsets = length // 4
            first_item = False
        elif place + length <= file_size:
            complete += 1
        file.seek(place + length)
    # Frames may have several fragments each, of which only a table of offsets could tell.
    several = complete > declared or (offsets and offsets != complete and complete >= declared)
    return None if several else complete
