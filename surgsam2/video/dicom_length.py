"""How many frames a DICOM file really holds, whatever its header declares."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import IO, Any

from surgsam2.video.dicom_header import damaged_dicom, import_pydicom, read_elements

_ITEM, _END_OF_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_PIXELS, _SYNTAX = (0x7FE0, 0x0010), (0x0002, 0x0010)
_OTHER_ORDERS = (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99")
"""Transfer syntaxes of big-endian and of deflated data sets."""
_AFTER_PIXELS = {(0xFFFC, 0xFFFC), (0xFFFA, 0xFFFA)}
"""The elements that may follow the pixels: padding and signatures."""
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
"""Kinds of values whose length has four bytes, after two that are not used."""
_EXPLICIT = re.compile(rb"[A-Z]{2}")
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
    import_pydicom(path)
    with damaged_dicom(path), path.open("rb") as file:
        data = read_elements(file, _TAGS)
        return _count(file, data, path.stat().st_size)


def check_elements(path: Path) -> None:
    """Refuse a DICOM file whose elements cannot be right, before compiled code reads it.

    That code believes every length, and searches what follows the pixels. The elements up to the
    first sequence of unknown length are looked at, in files of little-endian order.

    Args:
        path: a file with DICOM's preamble.

    Raises:
        VideoError: an element is longer than the file, or something else follows the pixels.
    """
    size = path.stat().st_size
    with damaged_dicom(path), path.open("rb") as file:
        file.seek(132)
        syntax = b""
        while (head := file.read(8)) and len(head) == 8:
            tag = struct.unpack("<HH", head[:4])
            if tag[0] > 2 and syntax in _OTHER_ORDERS:
                return
            if tag[0] > 2 and not _EXPLICIT.match(head[4:6]):
                (length,) = struct.unpack("<I", head[4:])  # the kinds are not told
            elif head[4:6] in _LONG:
                (length,) = struct.unpack("<I", file.read(4))
            else:
                (length,) = struct.unpack("<H", head[6:])
            if length == _UNDEFINED:
                return
            end = file.tell() + length
            if tag == _PIXELS:
                file.seek(end)
                after = file.read(4)
                if len(after) == 4 and struct.unpack("<HH", after) not in _AFTER_PIXELS:
                    raise ValueError(f"{size - end} bytes after its pixels are no element")
                return
            if end > size:
                raise ValueError(f"an element of {length} bytes is longer than the file")
            if tag == _SYNTAX:
                syntax = file.read(length).strip(b"\0 ")
            file.seek(end)


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
