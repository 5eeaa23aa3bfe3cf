"""HDF5 files of strangers, such as transforms in a scene, that could lead to other files.

An HDF5 file can hold links to other files, and data sets whose values lie in other files. ITK,
which reads transforms, follows both. What ITK writes has neither.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from surgsam2.errors import InputError

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""
_MAX_BYTES = 1 << 30
_SHARED_FORMS = re.compile(b"FRHP|BTHD|BTLF")
"""Heaps and trees in which a group may keep many links; a transform has few."""
_OLD_MESSAGE = re.compile(rb"[\x06\x07]\x00(?!\x00\x00)[\x00-\xf8].[\x00-\x0f]\x00\x00\x00", re.S)
"""A link (6) or data elsewhere (7) in a header of the form before HDF5 1.8: number, size, flags."""
_HEADER = re.compile(b"OHDR\x02")
"""The beginning of a header of the form since HDF5 1.8."""
_MOST_PARTS, _MOST_PART_BYTES = 100, 1 << 16
"""Largest number of headers, of parts of a header, and of bytes of a part; a transform has less."""
_LINK, _LAYOUT, _CONTINUATION = 6, 8, 16
_ALLOWED = {0, 1, 2, 3, 4, 5, _LINK, _LAYOUT, 10, 11, 12, 13, _CONTINUATION, 18, 21, 22}
"""Messages in a header that name nothing outside of the file; `_LINK` and `_LAYOUT` may."""


def check_hdf5(file: Path) -> None:
    """Refuse an HDF5 file that can lead to another file.

    Raises:
        InputError: it can, or it is larger than a transform is.
    """
    data = file.read_bytes() if file.stat().st_size <= _MAX_BYTES else b""
    try:
        stays_inside = _stays_inside(data)
    except IndexError:  # a header that is cut off
        stays_inside = False
    if not stays_inside:
        raise InputError(
            f"{file}: is an HDF5 file of a form in which it could name other files; save the "
            "transform again as .tfm"
        )


def _stays_inside(data: bytes) -> bool:
    if len(data) < 56 or _SHARED_FORMS.search(data) or _OLD_MESSAGE.search(data):
        return False
    if data[8] in (0, 1):  # Its description of several files must be nowhere.
        return data[48:56] == b"\xff" * 8 and not _HEADER.search(data)
    headers = list(islice(_HEADER.finditer(data), _MOST_PARTS + 1))
    return (
        data[8] in (2, 3)
        and len(headers) <= _MOST_PARTS
        and all(_messages_stay_inside(data, found.start()) for found in headers)
    )


def _messages_stay_inside(data: bytes, at: int) -> bool:
    """Check the messages of the header that begins at a position."""
    flags = data[at + 5]
    place = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(data[place : place + width], "little")
    parts = [(place + width, place + width + size)]  # first and last position
    for number, (first, end) in enumerate(parts):  # parts are added on the way
        if end > len(data) or end - first > _MOST_PART_BYTES or number > _MOST_PARTS:
            return False
        place = first
        while place + 4 <= end:
            kind, size = data[place], int.from_bytes(data[place + 1 : place + 3], "little")
            body = place + 4 + (2 if flags & 4 else 0)
            place = body + size
            if kind not in _ALLOWED or place > end:
                return False
            if kind == _LINK and data[body + 1] & 8 and data[body + 2] > 1:
                return False  # neither a hard nor a soft link
            if kind == _LAYOUT and (data[body] not in (3, 4) or data[body + 1] > 2):
                return False  # a virtual data set
            if kind == _CONTINUATION:
                start = int.from_bytes(data[body : body + 8], "little")
                length = int.from_bytes(data[body + 8 : body + 16], "little")
                if not data.startswith(b"OCHK", start):
                    return False
                parts.append((start + 4, start + length - 4))  # without name and checksum
    return True
